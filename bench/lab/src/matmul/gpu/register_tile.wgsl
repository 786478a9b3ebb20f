// register tile: each thread computes 4×4 elements of C.
//
// Adds: the workgroup's tile grows to 64×64. For each k a thread reads 4 numbers of A and 4 of B
//   from workgroup memory, and makes 16 multiply-adds of them, whose sums stay in its registers.
//   The piece of A is stored transposed, [k][row].
// Why: before, each multiply-add cost two reads of workgroup memory; now it costs half a one.
// Order: k ascending, one sum

const TILE_ROWS = 64u;
const TILE_COLUMNS = 64u;
const STEP = 16u;
const THREADS = 256u;

struct Args { m: u32, k: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

var<workgroup> a_tile: array<array<f32, TILE_ROWS>, STEP>;
var<workgroup> b_tile: array<array<f32, TILE_COLUMNS>, STEP>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = group.y * TILE_ROWS;
    let column = group.x * TILE_COLUMNS;
    // One vector for each of the thread's rows. Names instead of an array: what is indexed by a
    // variable may not stay in registers.
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var sum2 = vec4<f32>(0.0);
    var sum3 = vec4<f32>(0.0);
    for (var k0 = 0u; k0 < args.k; k0 += STEP) {
        for (var slot = thread; slot < STEP * TILE_ROWS; slot += THREADS) {
            let i = slot / STEP;
            let p = slot % STEP;
            a_tile[p][i] = 0.0;
            if (row + i < args.m && k0 + p < args.k) {
                a_tile[p][i] = a[(row + i) * args.k + k0 + p];
            }
        }
        for (var slot = thread; slot < STEP * TILE_COLUMNS; slot += THREADS) {
            let p = slot / TILE_COLUMNS;
            let j = slot % TILE_COLUMNS;
            b_tile[p][j] = 0.0;
            if (k0 + p < args.k && column + j < args.n) {
                b_tile[p][j] = b[(k0 + p) * args.n + column + j];
            }
        }
        workgroupBarrier();
        for (var p = 0u; p < STEP; p++) {
            let i = local.y * 4u;
            let j = local.x * 4u;
            let y = vec4<f32>(b_tile[p][j], b_tile[p][j + 1u], b_tile[p][j + 2u], b_tile[p][j + 3u]);
            sum0 += a_tile[p][i] * y;
            sum1 += a_tile[p][i + 1u] * y;
            sum2 += a_tile[p][i + 2u] * y;
            sum3 += a_tile[p][i + 3u] * y;
        }
        workgroupBarrier();
    }
    store(row + local.y * 4u, column + local.x * 4u, sum0);
    store(row + local.y * 4u + 1u, column + local.x * 4u, sum1);
    store(row + local.y * 4u + 2u, column + local.x * 4u, sum2);
    store(row + local.y * 4u + 3u, column + local.x * 4u, sum3);
}

// Stores four elements of a row of C, as far as they are there.
fn store(row: u32, column: u32, sum: vec4<f32>) {
    for (var l = 0u; l < 4u; l++) {
        if (row < args.m && column + l < args.n) {
            c[row * args.n + column + l] = sum[l];
        }
    }
}
