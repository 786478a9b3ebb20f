// padded rows: the rows of the pieces in workgroup memory are one element longer than they need be.
//
// Adds: one unused element at the end of each row of the pieces.
// Why: workgroup memory has 32 banks, which serve one address each at a time; words 32 apart
//   share a bank. The piece of A is stored transposed: the threads that write it together write
//   words a row apart, 64, all in one bank, one after the other. With rows of 65 they are in
//   different banks.
// Order: k ascending, one sum

const TILE_ROWS = 64u;
const TILE_COLUMNS = 64u;
const STEP = 16u;
const THREADS = 256u;
const FOURS = 16u;

struct Args { m: u32, k: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;

var<workgroup> a_tile: array<array<f32, TILE_ROWS + 1u>, STEP>;
var<workgroup> b_tile: array<array<vec4<f32>, FOURS + 1u>, STEP>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = group.y * TILE_ROWS;
    let four = group.x * FOURS;
    let fours = args.n / 4u;
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
        let p = thread / FOURS;
        let j = thread % FOURS;
        b_tile[p][j] = vec4<f32>(0.0);
        if (k0 + p < args.k && four + j < fours) {
            b_tile[p][j] = b[(k0 + p) * fours + four + j];
        }
        workgroupBarrier();
        for (var p = 0u; p < STEP; p++) {
            let i = local.y * 4u;
            let y = b_tile[p][local.x];
            sum0 += a_tile[p][i] * y;
            sum1 += a_tile[p][i + 1u] * y;
            sum2 += a_tile[p][i + 2u] * y;
            sum3 += a_tile[p][i + 3u] * y;
        }
        workgroupBarrier();
    }
    store(row + local.y * 4u, four + local.x, sum0);
    store(row + local.y * 4u + 1u, four + local.x, sum1);
    store(row + local.y * 4u + 2u, four + local.x, sum2);
    store(row + local.y * 4u + 3u, four + local.x, sum3);
}

fn store(row: u32, four: u32, sum: vec4<f32>) {
    if (row < args.m && four < args.n / 4u) {
        c[row * (args.n / 4u) + four] = sum;
    }
}
