// coalesced: neighbouring threads compute neighbouring columns.
//
// Adds: x and y of the thread change places, nothing else.
// Why: the threads that run together now read one number of A, which the hardware hands to all of
//   them, and adjacent numbers of B, and write adjacent numbers of C: one transaction for many
//   threads.
// Order: k ascending, one sum

const TILE_ROWS = 16u;
const TILE_COLUMNS = 16u;

struct Args { m: u32, k: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * TILE_ROWS + local.y;
    let column = group.x * TILE_COLUMNS + local.x;
    if (row >= args.m || column >= args.n) {
        return;
    }
    var sum = 0.0;
    for (var p = 0u; p < args.k; p++) {
        sum += a[row * args.k + p] * b[p * args.n + column];
    }
    c[row * args.n + column] = sum;
}
