// a thread an element: each thread computes one element of C, as the formula is written.
//
// Adds: nothing yet. Threads that are neighbours in x compute neighbouring rows.
// Why: slow, because neighbouring threads run together and read together. They read numbers of A
//   that lie k apart, and write numbers of C that lie n apart: a memory transaction for each
//   thread, of which one number in eight or sixteen is used.
// Order: k ascending, one sum

// What one workgroup computes of C: `lab` starts as many workgroups as C needs.
const TILE_ROWS = 16u;
const TILE_COLUMNS = 16u;

struct Args { m: u32, k: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> a: array<f32>;        // [m, k]
@group(0) @binding(1) var<storage, read> b: array<f32>;        // [k, n]
@group(0) @binding(2) var<storage, read_write> c: array<f32>;  // [m, n]

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * TILE_ROWS + local.x;
    let column = group.x * TILE_COLUMNS + local.y;
    if (row >= args.m || column >= args.n) {
        return;
    }
    var sum = 0.0;
    for (var p = 0u; p < args.k; p++) {
        sum += a[row * args.k + p] * b[p * args.n + column];
    }
    c[row * args.n + column] = sum;
}
