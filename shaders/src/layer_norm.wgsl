// Forward, for rows x of n elements: μ = Σx/n, v = Σ(x − μ)²/n, ρ = 1/√(v + ε), y = (x − μ)·ρ·w + b.
// Backward, with x̂ = (x − μ)·ρ and h = g·w: dx = ρ·(h − Σh/n − x̂·Σ(h·x̂)/n), dw = Σ_rows g·x̂,
// db = Σ_rows g.
//
// Shapes: x, y, g, dx [rows, n] row-major; w, b [n]; μ, ρ [rows]; the parts of dw and db [blocks, n], f32.
// `forward` and `backward`: a workgroup handles a row, reading it two or three times, but for the first
// from the cache; the order of reduction is told in `rows.wgsl`.
// `parameters`: a workgroup of 64 columns × 4 lanes adds 64 rows; row r goes to lane r mod 4, the lanes
// join pairwise. The parts are added by `sum`.
// Numerics: in f32, and w, b, μ and ρ are f32, whatever x, y, g and dx are stored as; the variance is taken in a second pass, so it never cancels.

#if KIND == forward
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<$T>;
@group(0) @binding(4) var<storage, read_write> means: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstds: array<f32>;

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
    let at = args.offsets[0] + row * args.n;
    let count = f32(args.n);
    var sum = 0.0;
    for (var i = local; i < args.n; i += $W) {
        sum += f32(x[at + i]);
    }
    let mean = sum_of_row(sum, local) / count;
    var squares = 0.0;
    for (var i = local; i < args.n; i += $W) {
        let d = f32(x[at + i]) - mean;
        squares += d * d;
    }
    let rstd = 1.0 / sqrt(sum_of_row(squares, local) / count + args.eps);
    for (var i = local; i < args.n; i += $W) {
        let normed = (f32(x[at + i]) - mean) * rstd;
        y[row * args.n + i] = $T(normed * w[args.offsets[1] + i] + b[args.offsets[2] + i]);
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
        dx[row * args.n + i] = $T(rstd * (h - sum - normed * dot));
    }
}
#end

#if KIND == parameters
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read> means: array<f32>;
@group(0) @binding(2) var<storage, read> rstds: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<$T>;
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;
@group(0) @binding(5) var<storage, read_write> db: array<f32>;

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
        let at = block * args.n + column;
        dw[at] = (dw_lanes[local] + dw_lanes[local + 128u])
            + (dw_lanes[local + 64u] + dw_lanes[local + 192u]);
        db[at] = (db_lanes[local] + db_lanes[local + 128u])
            + (db_lanes[local + 64u] + db_lanes[local + 192u]);
    }
}
#end
