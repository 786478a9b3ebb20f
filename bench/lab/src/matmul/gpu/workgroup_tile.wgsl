// workgroup tile: the threads of a workgroup load a piece of A and B once, for all of them.
//
// Adds: 16 columns of A and 16 rows of B at a time go to workgroup memory, one number of each by
//   each thread; after a barrier all threads read them there. What lies beyond the matrices is
//   loaded as 0.
// Why: a number of A or B is read from memory once for 16 threads, not by each of them.
// Order: k ascending, one sum

const TILE_ROWS = 16u;
const TILE_COLUMNS = 16u;
const STEP = 16u;

struct Args { m: u32, k: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

var<workgroup> a_tile: array<array<f32, STEP>, TILE_ROWS>;
var<workgroup> b_tile: array<array<f32, TILE_COLUMNS>, STEP>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * TILE_ROWS + local.y;
    let column = group.x * TILE_COLUMNS + local.x;
    var sum = 0.0;
    for (var k0 = 0u; k0 < args.k; k0 += STEP) {
        a_tile[local.y][local.x] = 0.0;
        if (row < args.m && k0 + local.x < args.k) {
            a_tile[local.y][local.x] = a[row * args.k + k0 + local.x];
        }
        b_tile[local.y][local.x] = 0.0;
        if (k0 + local.y < args.k && column < args.n) {
            b_tile[local.y][local.x] = b[(k0 + local.y) * args.n + column];
        }
        workgroupBarrier();
        for (var p = 0u; p < STEP; p++) {
            sum += a_tile[local.y][p] * b_tile[p][local.x];
        }
        workgroupBarrier(); // before the next piece overwrites this one
    }
    // Not earlier: all threads of a workgroup must come to the barriers.
    if (row < args.m && column < args.n) {
        c[row * args.n + column] = sum;
    }
}
