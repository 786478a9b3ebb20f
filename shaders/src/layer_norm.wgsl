// Forward, for rows x of n elements: μ = Σx/n, v = Σ(x − μ)²/n, ρ = 1/√(v + ε), y = (x − μ)·ρ·w + b.
// Backward, with x̂ = (x − μ)·ρ and h = g·w: dx = ρ·(h − Σh/n − x̂·Σ(h·x̂)/n), dw = Σ_rows g·x̂,
// db = Σ_rows g. With two gradients (MORE), g is their sum.
//
// RMS norm (RMS) has 0 for μ and for Σh. b may be missing.
//
// With a residual r (ADD), x is dropout(a) + r. It is written first where it is kept (KEEP), else computed again at
// each read. Backward with dropout also writes da = dropout(dx); dr = dx.
//
// Shapes: x, a, r, y, g, dx [rows, n] row-major; w, b [n]; μ, ρ [rows]; the parts of dw, then of db [blocks, 2, n],
// f32, and their sums [2, n].
// `forward`: a workgroup handles a row and reads it two or three times, after the first time from the cache.
// `rows.wgsl` gives the order of reduction.
// `backward`: a workgroup handles a block of eight rows, one after another in the same manner. Then each thread goes
// down its columns, which the cache still has, and sums this block's part of dw and db, row by row.
// `totals`: sums the parts of several norms, each a matrix [blocks, columns]. A workgroup of 64 columns × 4 lanes takes
// one of them; block i goes to lane i mod 4; the lanes join pairwise.
// Dropout: the words are those of `dropout.wgsl`. A thread computes the words of its own elements, although four
// elements share a counter. So the row's first element is the only one that it reads after another thread wrote it.
// Numerics: all in f32; w, b, μ and ρ are f32 for every dtype of x, y, g and dx. The mean is computed from differences
// to the first element, so that a constant row has variance 0 and a row far from 0 its true variance. The variance
// takes a second pass, so it never cancels, and is corrected for the rounding of the mean.

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
#if BIAS
@group(0) @binding($B_B) var<storage, read> b: array<f32>;
#end
@group(0) @binding($B_Y) var<storage, read_write> y: array<$T>;
@group(0) @binding($B_MEANS) var<storage, read_write> means: array<f32>;
@group(0) @binding($B_RSTDS) var<storage, read_write> rstds: array<f32>;
#if KEEP
@group(0) @binding($B_SUMS) var<storage, read_write> sums: array<$T>;
#end

#if ADD
// a + r, rounded as it is stored. `at` counts from the first element.
fn added(a: f32, at: u32) -> $T { return $T(a + f32(residual[args.offsets[1] + at])); }
const W_AT: u32 = 2u;
#else
const W_AT: u32 = 1u;
#end

// The input of the normalisation.
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
        // Rounded as `dropout` alone would round it.
        sums[at + i] = added(f32($T(dropped(a, at + i))), at + i);
#else
        sums[at + i] = added(a, at + i);
#end
    }
#end
#if KEEP
    storageBarrier(); // the first element is another thread's
#end
#if RMS
    let mean = 0.0;
    let left = 0.0;
#else
    let first = value(at);
    var distances = 0.0;
    for (var i = local; i < args.n; i += $W) {
        distances += value(at + i) - first;
    }
    let distance = sum_of_row(distances, local) / count;
    let mean = rounded(first + distance);
    let left = (first - mean) + distance;
#end
    var squares = 0.0;
    for (var i = local; i < args.n; i += $W) {
        let d = value(at + i) - mean;
        squares += d * d;
    }
    let spread = sum_of_row(squares, local) / count - left * left;
    let rstd = 1.0 / sqrt(select(spread, 0.0, spread < 0.0) + args.eps);
    for (var i = local; i < args.n; i += $W) {
        let normed = (value(at + i) - mean) * rstd;
#if BIAS
        y[at + i] = $T(normed * w[args.offsets[W_AT] + i] + b[args.offsets[W_AT + 1u] + i]);
#else
        y[at + i] = $T(normed * w[args.offsets[W_AT] + i]);
#end
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
#if MORE
@group(0) @binding(5) var<storage, read> more: array<$T>;
#end
@group(0) @binding($B_DX) var<storage, read_write> dx: array<$T>;
#if DROPOUT
@group(0) @binding($B_DA) var<storage, read_write> da: array<$T>;
#end
@group(0) @binding($B_PARTS) var<storage, read_write> parts: array<f32>;

// The gradient at `at`, counted from the first element.
fn slope(at: u32) -> f32 {
#if MORE
    return f32(g[args.offsets[4] + at]) + f32(more[args.offsets[5] + at]);
#else
    return f32(g[args.offsets[4] + at]);
#end
}

fn mean_of(row: u32) -> f32 {
#if RMS
    return 0.0;
#else
    return means[args.offsets[2] + row];
#end
}

fn normed(at: u32, mean: f32, rstd: f32) -> f32 {
    return (f32(x[args.offsets[0] + at]) - mean) * rstd;
}

@compute @workgroup_size($W)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = row_of(group, groups);
    let first = block * u32($BLOCK);
    if (first >= args.rows) {
        return;
    }
    let end = min(first + u32($BLOCK), args.rows);
    let at_w = args.offsets[1];
    let count = f32(args.n);
    for (var row = first; row < end; row++) {
        let at = row * args.n;
        let mean = mean_of(row);
        let rstd = rstds[args.offsets[3] + row];
        var partial_sum = 0.0;
        var partial_dot = 0.0;
        for (var i = local; i < args.n; i += $W) {
            let h = slope(at + i) * w[at_w + i];
            partial_sum += h;
            partial_dot += h * normed(at + i, mean, rstd);
        }
#if RMS
        let sum = 0.0;
#else
        let sum = sum_of_row(partial_sum, local) / count;
#end
        let dot = sum_of_row(partial_dot, local) / count;
        for (var i = local; i < args.n; i += $W) {
            let h = slope(at + i) * w[at_w + i];
            let d = $T(rstd * (h - sum - normed(at + i, mean, rstd) * dot));
            dx[at + i] = d;
#if DROPOUT
            da[at + i] = $T(dropped(f32(d), at + i));
#end
        }
    }
    for (var i = local; i < args.n; i += $W) {
        var weight = 0.0;
        var bias = 0.0;
        for (var row = first; row < end; row++) {
            let gradient = slope(row * args.n + i);
            let mean = mean_of(row);
            let rstd = rstds[args.offsets[3] + row];
            weight += gradient * normed(row * args.n + i, mean, rstd);
            bias += gradient;
        }
        parts[block * 2u * args.n + i] = weight;
        parts[(block * 2u + 1u) * args.n + i] = bias;
    }
}
#end

#if KIND == totals
struct Args {
    columns: array<u32, $MANY>,
    blocks: array<u32, $MANY>,
}
var<immediate> args: Args;

$BINDINGS
var<workgroup> lanes: array<f32, 256>;

@compute @workgroup_size(256)
fn totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Find the norm, and the columns of it.
    var which = u32($MANY);
    var tile = group.y * groups.x + group.x;
    for (var i = 0u; i < u32($MANY); i++) {
        let tiles = (args.columns[i] + 63u) / 64u;
        if (which == u32($MANY)) {
            if (tile < tiles) {
                which = i;
            } else {
                tile -= tiles;
            }
        }
    }
    let column = tile * 64u + local % 64u;
    var sum = 0.0;
#for i in 0..$MANY
    if (which == $i && column < args.columns[$i]) {
        for (var block = local / 64u; block < args.blocks[$i]; block += 4u) {
            sum += parts$i[block * args.columns[$i] + column];
        }
    }
#end
    lanes[local] = sum;
    workgroupBarrier();
    if (local < 64u) {
        sum = (lanes[local] + lanes[local + 128u]) + (lanes[local + 64u] + lanes[local + 192u]);
#for i in 0..$MANY
        if (which == $i && column < args.columns[$i]) {
            sums$i[column] = sum;
        }
#end
    }
}
#end
