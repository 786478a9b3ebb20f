// Forward, for rows x of n elements: μ = Σx/n, v = Σ(x − μ)²/n, ρ = 1/√(v + ε), y = (x − μ)·ρ·w + b.
// Backward, with x̂ = (x − μ)·ρ and h = g·w: dx = ρ·(h − Σh/n − x̂·Σ(h·x̂)/n), dw = Σ_rows g·x̂,
// db = Σ_rows g.
//
// With a residual r (ADD), x is dropout(a) + r: written first where it is kept (KEEP), else made again each time it is
// read. Backward with dropout also writes da = dropout(dx); dr = dx.
//
// Shapes: x, a, r, y, g, dx [rows, n] row-major; w, b [n]; μ, ρ [rows]; the parts of dw, then of db [blocks, 2, n], f32.
// `forward` and `backward`: a workgroup handles a row, reading it two or three times, but for the first
// from the cache; the order of reduction is told in `rows.wgsl`.
// `parameters`: a workgroup of 64 columns × 4 lanes adds 64 rows; row r goes to lane r mod 4, the lanes
// join pairwise. The parts are added by `sum`.
// Dropout: the words are those of `dropout.wgsl`. A thread makes its elements' own, though four have one counter: so it
// reads no element that another thread wrote.
// Numerics: in f32, and w, b, μ and ρ are f32, whatever x, y, g and dx are stored as; the variance is taken in a second pass, so it never cancels.

#if DROPOUT
// `at` counts from the tensor's first element.
fn dropped(x: f32, at: u32) -> f32 {
    let words = philox(vec4<u32>(at / 4u, 0u, 0u, 0u), vec2<u32>(args.key0, args.key1));
    return select(0.0, x * args.scale, words[at % 4u] >= args.least);
}
#end

#if KIND == forward
@group(0) @binding(0) var<storage, read> x: array<$T>;
#if ADD
@group(0) @binding(1) var<storage, read> residual: array<$T>;
#end
@group(0) @binding($B_W) var<storage, read> w: array<f32>;
@group(0) @binding($B_B) var<storage, read> b: array<f32>;
@group(0) @binding($B_Y) var<storage, read_write> y: array<$T>;
@group(0) @binding($B_MEANS) var<storage, read_write> means: array<f32>;
@group(0) @binding($B_RSTDS) var<storage, read_write> rstds: array<f32>;
#if KEEP
@group(0) @binding(7) var<storage, read_write> sums: array<$T>;
#end

#if ADD
// a + r, rounded as it is stored. `at` counts from the first element.
fn added(a: f32, at: u32) -> $T { return $T(a + f32(residual[args.offsets[1] + at])); }
const W_AT: u32 = 2u;
#else
const W_AT: u32 = 1u;
#end

// The element that is normalised.
fn value(at: u32) -> f32 {
#if KEEP
    return f32(sums[at]);
#else
#if ADD
    return f32(added(f32(x[args.offsets[0] + at]), at));
#else
    return f32(x[args.offsets[0] + at]);
#end
#end
}

@compute @workgroup_size($W)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = row_of(group, groups);
    if (row >= args.rows) {
        return;
    }
    let at = row * args.n;
    let count = f32(args.n);
#if KEEP
    for (var i = local; i < args.n; i += $W) {
        let a = f32(x[args.offsets[0] + at + i]);
#if DROPOUT
        // Rounded as `dropout` alone would leave it.
        sums[at + i] = added(f32($T(dropped(a, at + i))), at + i);
#else
        sums[at + i] = added(a, at + i);
#end
    }
#end
    var sum = 0.0;
    for (var i = local; i < args.n; i += $W) {
        sum += value(at + i);
    }
    let mean = sum_of_row(sum, local) / count;
    var squares = 0.0;
    for (var i = local; i < args.n; i += $W) {
        let d = value(at + i) - mean;
        squares += d * d;
    }
    let rstd = 1.0 / sqrt(sum_of_row(squares, local) / count + args.eps);
    for (var i = local; i < args.n; i += $W) {
        let normed = (value(at + i) - mean) * rstd;
        y[at + i] = $T(normed * w[args.offsets[W_AT] + i] + b[args.offsets[W_AT + 1u] + i]);
    }
    if (local == 0u) {
        means[row] = mean;
        rstds[row] = rstd;
    }
}
#end

#if KIND == backward
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> means: array<f32>;
@group(0) @binding(3) var<storage, read> rstds: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<$T>;
@group(0) @binding(5) var<storage, read_write> dx: array<$T>;
#if DROPOUT
@group(0) @binding(6) var<storage, read_write> da: array<$T>;
#end

@compute @workgroup_size($W)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = row_of(group, groups);
    if (row >= args.rows) {
        return;
    }
    let at_x = args.offsets[0] + row * args.n;
    let at_w = args.offsets[1];
    let at_g = args.offsets[4] + row * args.n;
    let mean = means[args.offsets[2] + row];
    let rstd = rstds[args.offsets[3] + row];
    let count = f32(args.n);
    var partial_sum = 0.0;
    var partial_dot = 0.0;
    for (var i = local; i < args.n; i += $W) {
        let h = f32(g[at_g + i]) * w[at_w + i];
        partial_sum += h;
        partial_dot += h * (f32(x[at_x + i]) - mean) * rstd;
    }
    let sum = sum_of_row(partial_sum, local) / count;
    let dot = sum_of_row(partial_dot, local) / count;
    for (var i = local; i < args.n; i += $W) {
        let h = f32(g[at_g + i]) * w[at_w + i];
        let normed = (f32(x[at_x + i]) - mean) * rstd;
        let d = $T(rstd * (h - sum - normed * dot));
        dx[row * args.n + i] = d;
#if DROPOUT
        da[row * args.n + i] = $T(dropped(f32(d), row * args.n + i));
#end
    }
}
#end

#if KIND == parameters
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read> means: array<f32>;
@group(0) @binding(2) var<storage, read> rstds: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<$T>;
@group(0) @binding(4) var<storage, read_write> parts: array<f32>;

var<workgroup> dw_lanes: array<f32, 256>;
var<workgroup> db_lanes: array<f32, 256>;

// Workgroups count along the columns, then the blocks of rows.
@compute @workgroup_size(256)
fn parameters(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tiles = (args.n + 63u) / 64u;
    let id = row_of(group, groups);
    let block = id / tiles;
    let first = block * 64u;
    if (first >= args.rows) {
        return;
    }
    let column = (id - block * tiles) * 64u + local % 64u;
    let end = min(first + 64u, args.rows);
    var weight = 0.0;
    var bias = 0.0;
    if (column < args.n) {
        for (var row = first + local / 64u; row < end; row += 4u) {
            let gradient = f32(g[args.offsets[3] + row * args.n + column]);
            let mean = means[args.offsets[1] + row];
            let rstd = rstds[args.offsets[2] + row];
            weight += gradient * (f32(x[args.offsets[0] + row * args.n + column]) - mean) * rstd;
            bias += gradient;
        }
    }
    dw_lanes[local] = weight;
    db_lanes[local] = bias;
    workgroupBarrier();
    if (local < 64u && column < args.n) {
        let at = block * 2u * args.n + column;
        parts[at] = (dw_lanes[local] + dw_lanes[local + 128u])
            + (dw_lanes[local + 64u] + dw_lanes[local + 192u]);
        parts[at + args.n] = (db_lanes[local] + db_lanes[local + 128u])
            + (db_lanes[local + 64u] + db_lanes[local + 192u]);
    }
}
#end
