// thread a row: each thread computes one row of y and of dx, and one column for dw and db.
//
// Adds: nothing yet. `forward` leaves the mean and 1/√(variance + ε) of its row for the passes
//   after it. `down` goes down a column, so that no two threads add to one number.
// Why: slow, because neighbouring threads of `forward` and `backward` read numbers that lie a row
//   apart, and because there are only as many threads as rows, and in `down` as columns.
// Order: ascending, one sum; dw and db row by row

const FORWARD_ROWS = 64u;
const BACKWARD_ROWS = 64u;
const DOWN_COLUMNS = 64u;

struct Args { rows: u32, n: u32, eps: f32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> x: array<f32>;        // [rows, n]
@group(0) @binding(1) var<storage, read> w: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read> b: array<f32>;        // [n]
@group(0) @binding(3) var<storage, read> g: array<f32>;        // [rows, n], the gradient of y
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> dw: array<f32>;
@group(0) @binding(7) var<storage, read_write> db: array<f32>;
@group(0) @binding(8) var<storage, read_write> statistics: array<f32>; // [rows, 2]

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * FORWARD_ROWS + local;
    if (row >= args.rows) {
        return;
    }
    let at = row * args.n;
    var sum = 0.0;
    for (var j = 0u; j < args.n; j++) {
        sum += x[at + j];
    }
    let mean = sum / f32(args.n);
    var squares = 0.0;
    for (var j = 0u; j < args.n; j++) {
        squares += (x[at + j] - mean) * (x[at + j] - mean);
    }
    let scale = 1.0 / sqrt(squares / f32(args.n) + args.eps);
    for (var j = 0u; j < args.n; j++) {
        y[at + j] = (x[at + j] - mean) * scale * w[j] + b[j];
    }
    statistics[2u * row] = mean;
    statistics[2u * row + 1u] = scale;
}

@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * BACKWARD_ROWS + local;
    if (row >= args.rows) {
        return;
    }
    let at = row * args.n;
    let mean = statistics[2u * row];
    let scale = statistics[2u * row + 1u];
    var sum = 0.0;
    var dot = 0.0;
    for (var j = 0u; j < args.n; j++) {
        let h = g[at + j] * w[j];
        sum += h;
        dot += h * (x[at + j] - mean) * scale;
    }
    sum /= f32(args.n);
    dot /= f32(args.n);
    for (var j = 0u; j < args.n; j++) {
        dx[at + j] = scale * (g[at + j] * w[j] - sum - (x[at + j] - mean) * scale * dot);
    }
}

@compute @workgroup_size(64)
fn down(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let j = group.x * DOWN_COLUMNS + local;
    if (j >= args.n) {
        return;
    }
    var weight = 0.0;
    var bias = 0.0;
    for (var row = 0u; row < args.rows; row++) {
        let slope = g[row * args.n + j];
        let normed = (x[row * args.n + j] - statistics[2u * row]) * statistics[2u * row + 1u];
        weight += slope * normed;
        bias += slope;
    }
    dw[j] = weight;
    db[j] = bias;
}
