// C = A·B by tiles: C[i, j] = Σₗ A[i, l]·B[l, j].
//
// Shapes: A [m, k], B [k, n], C [m, n], row-major. A workgroup of 8×8 threads computes one 8×8 tile
// of C, a thread one element. The workgroup walks along k in steps of 8: it copies an 8×8 tile of A
// and one of B into workgroup memory, where each number is read 8 times, instead of 8 times from
// memory that is far away.
//
// m, k and n are any numbers. Beyond the edges the tiles hold 0, which adds nothing. So every thread
// goes through the whole loop, also one that has no element of C: all must meet at each barrier.

const SIZE = 8u;

struct Arguments {
    m: u32,
    k: u32,
    n: u32,
}
var<immediate> arguments: Arguments;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

var<workgroup> a_tile: array<array<f32, SIZE>, SIZE>; // [row of C][place along k]
var<workgroup> b_tile: array<array<f32, SIZE>, SIZE>; // [place along k][column of C]

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>, // local.x: column in the tile; local.y: row
) {
    // Tiles count along n first.
    let tiles = (arguments.n + SIZE - 1u) / SIZE;
    let row = group.x / tiles * SIZE + local.y;
    let column = group.x % tiles * SIZE + local.x;
    var sum = 0.0;
    for (var k0 = 0u; k0 < arguments.k; k0 += SIZE) {
        // TODO 1: this thread's number of each tile, [local.y][local.x]; 0 beyond the edges
        a_tile[local.y][local.x] = todo();
        // TODO 2: wait, then add the 8 products of this thread's row and column
        // TODO 3: wait again: the next round overwrites the tiles
    }
    // TODO 4: a thread that has an element of C writes it
}
