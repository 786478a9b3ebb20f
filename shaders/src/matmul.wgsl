// C = A·B (+ bias), batched, over any strides.
//
// Shapes: A [batch, m, k], B [batch, k, n], C [batch, m, n] row-major; bias [n].
// A workgroup of 16×16 threads computes one 16×16 tile of one C, one element a thread: 16 columns of A
// and 16 rows of B at a time go through workgroup memory. Workgroups count along n, then m, then the
// batch. Each element is summed over k in ascending order, in f32; the bias is added last.

struct Args {
    m: u32,
    k: u32,
    n: u32,
    tiles: u32,               // workgroups in use
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    bias_offset: u32,
    batch: array<u32, 3>,     // sizes, outermost first
    a_batch: array<u32, 3>,   // strides
    b_batch: array<u32, 3>,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> a: array<$T>;
@group(0) @binding(1) var<storage, read> b: array<$T>;
#if BIAS
@group(0) @binding(2) var<storage, read> bias: array<$T>;
@group(0) @binding(3) var<storage, read_write> c: array<$T>;
#else
@group(0) @binding(2) var<storage, read_write> c: array<$T>;
#end

var<workgroup> a_tile: array<f32, 256>;
var<workgroup> b_tile: array<f32, 256>;

@compute @workgroup_size(16, 16)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = group.y * groups.x + group.x;
    if (tile >= args.tiles) {
        return;
    }
    let across = (args.n + 15u) / 16u;
    let down = (args.m + 15u) / 16u;
    let matrix = tile / (across * down);
    let within = tile - matrix * across * down;
    let row = within / across * 16u + local.y;
    let col = within % across * 16u + local.x;

    var a_at = args.a_offset;
    var b_at = args.b_offset;
    var rest = matrix;
    for (var d = 3u; d > 0u; d--) {
        let q = rest / args.batch[d - 1u];
        let i = rest - q * args.batch[d - 1u];
        a_at += i * args.a_batch[d - 1u];
        b_at += i * args.b_batch[d - 1u];
        rest = q;
    }

    var sum = 0.0;
    for (var k0 = 0u; k0 < args.k; k0 += 16u) {
        let slot = local.y * 16u + local.x;
        let a_k = k0 + local.x;
        let b_k = k0 + local.y;
        a_tile[slot] = 0.0;
        b_tile[slot] = 0.0;
        if (row < args.m && a_k < args.k) {
            a_tile[slot] = f32(a[a_at + row * args.a_row + a_k * args.a_col]);
        }
        if (b_k < args.k && col < args.n) {
            b_tile[slot] = f32(b[b_at + b_k * args.b_row + col * args.b_col]);
        }
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            sum += a_tile[local.y * 16u + i] * b_tile[i * 16u + local.x];
        }
        workgroupBarrier();
    }
    if (row < args.m && col < args.n) {
#if BIAS
        sum += f32(bias[args.bias_offset + col]);
#end
        c[(matrix * args.m + row) * args.n + col] = $T(sum);
    }
}
