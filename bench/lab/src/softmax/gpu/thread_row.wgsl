// thread a row: each thread computes one row, as on the processor.
//
// Adds: nothing yet. Three passes over the row.
// Why: slow, because neighbouring threads read numbers that lie a row apart, and because there
//   are only as many threads as rows.
// Order: ascending, one sum

const TILE_ROWS = 64u;

struct Args { rows: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> x: array<f32>;        // [rows, n]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * TILE_ROWS + local;
    if (row >= args.rows) {
        return;
    }
    let at = row * args.n;
    var m = x[at];
    for (var i = 1u; i < args.n; i++) {
        m = max(m, x[at + i]);
    }
    var sum = 0.0;
    for (var i = 0u; i < args.n; i++) {
        sum += exp(x[at + i] - m);
    }
    for (var i = 0u; i < args.n; i++) {
        y[at + i] = exp(x[at + i] - m) / sum;
    }
}
