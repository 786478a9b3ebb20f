// parts: a workgroup takes 16 rows, and leaves their part of dw and db.
//
// Adds: `backward` goes through 16 rows, one after another; then each thread goes down its columns
//   of these rows and writes their sums. `totals` adds the parts, block by block.
// Why: for 4,096 rows the sums of dw and db now have 256 times as many threads, and x and g are
//   still in the cache when they are read for them. No thread waits for another to add to a number,
//   and no order is left to chance: every run gives the same bits.
// Order: each thread's elements ascending, then the threads by a tree; dw and db row by row in a
//   block, then the blocks

const FORWARD_ROWS = 1u;
const BACKWARD_ROWS = 16u;
const TOTALS_COLUMNS = 64u;
const THREADS = 128u;

struct Args { rows: u32, n: u32, eps: f32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> dw: array<f32>;
@group(0) @binding(7) var<storage, read_write> db: array<f32>;
@group(0) @binding(8) var<storage, read_write> statistics: array<f32>; // [rows, 2]
@group(0) @binding(9) var<storage, read_write> blocks: array<f32>;     // [blocks, 2, n]

var<workgroup> lanes: array<vec2<f32>, THREADS>;

@compute @workgroup_size(128)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y;
    let at = row * args.n;
    var part = 0.0;
    for (var j = local; j < args.n; j += THREADS) {
        part += x[at + j];
    }
    let mean = sum_of_all(vec2<f32>(part, 0.0), local).x / f32(args.n);
    part = 0.0;
    for (var j = local; j < args.n; j += THREADS) {
        part += (x[at + j] - mean) * (x[at + j] - mean);
    }
    let variance = sum_of_all(vec2<f32>(part, 0.0), local).x / f32(args.n);
    let scale = 1.0 / sqrt(variance + args.eps);
    for (var j = local; j < args.n; j += THREADS) {
        y[at + j] = (x[at + j] - mean) * scale * w[j] + b[j];
    }
    if (local == 0u) {
        statistics[2u * row] = mean;
        statistics[2u * row + 1u] = scale;
    }
}

@compute @workgroup_size(128)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = group.y * BACKWARD_ROWS;
    let end = min(first + BACKWARD_ROWS, args.rows);
    for (var row = first; row < end; row++) {
        let at = row * args.n;
        let mean = statistics[2u * row];
        let scale = statistics[2u * row + 1u];
        var parts = vec2<f32>(0.0); // Σh and Σ(h·x̂)
        for (var j = local; j < args.n; j += THREADS) {
            let h = g[at + j] * w[j];
            parts += vec2<f32>(h, h * (x[at + j] - mean) * scale);
        }
        let means = sum_of_all(parts, local) / f32(args.n);
        for (var j = local; j < args.n; j += THREADS) {
            let normed = (x[at + j] - mean) * scale;
            dx[at + j] = scale * (g[at + j] * w[j] - means.x - normed * means.y);
        }
    }
    let block = 2u * group.y * args.n;
    for (var j = local; j < args.n; j += THREADS) {
        var weight = 0.0;
        var bias = 0.0;
        for (var row = first; row < end; row++) {
            let slope = g[row * args.n + j];
            let normed = (x[row * args.n + j] - statistics[2u * row]) * statistics[2u * row + 1u];
            weight += slope * normed;
            bias += slope;
        }
        blocks[block + j] = weight;
        blocks[block + args.n + j] = bias;
    }
}

@compute @workgroup_size(64)
fn totals(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let j = group.x * TOTALS_COLUMNS + local;
    if (j >= args.n) {
        return;
    }
    var weight = 0.0;
    var bias = 0.0;
    for (var row = 0u; row < args.rows; row += BACKWARD_ROWS) {
        let block = row / BACKWARD_ROWS * 2u * args.n;
        weight += blocks[block + j];
        bias += blocks[block + args.n + j];
    }
    dw[j] = weight;
    db[j] = bias;
}

fn sum_of_all(value: vec2<f32>, local: u32) -> vec2<f32> {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    let all = lanes[0];
    workgroupBarrier(); // before the next use overwrites it
    return all;
}
