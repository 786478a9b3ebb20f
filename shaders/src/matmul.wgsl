// C = A·B (+ bias), batched, over any strides.
//
// Shapes: A [batch, m, k], B [batch, k, n], C [batch, m, n] row-major; bias [n].
// A workgroup of 8×8 threads computes one 32×32 tile of one C, 4×4 elements a thread in registers: 16
// columns of A and 16 rows of B at a time go through workgroup memory. Workgroups count along n, then m,
// then the batch. Each element is summed over k in ascending order, in f32; the bias is added last.

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

// Both [k][row or column].
var<workgroup> a_tile: array<f32, 512>;
var<workgroup> b_tile: array<vec4<f32>, 128>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = group.y * groups.x + group.x;
    if (tile >= args.tiles) {
        return;
    }
    let across = (args.n + 31u) / 32u;
    let down = (args.m + 31u) / 32u;
    let matrix = tile / (across * down);
    let within = tile - matrix * across * down;
    let row = within / across * 32u;
    let col = within % across * 32u;

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

    let thread = local.y * 8u + local.x;
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var sum2 = vec4<f32>(0.0);
    var sum3 = vec4<f32>(0.0);
    for (var k0 = 0u; k0 < args.k; k0 += 16u) {
        // 8 elements of A and of B a thread.
        for (var i = 0u; i < 8u; i++) {
            let slot = i * 64u + thread;
            let k = k0 + slot / 32u;
            let r = row + slot % 32u;
            var value = 0.0;
            if (k < args.k && r < args.m) {
                value = f32(a[a_at + r * args.a_row + k * args.a_col]);
            }
            a_tile[slot] = value;
        }
        for (var i = 0u; i < 2u; i++) {
            let slot = i * 64u + thread;
            let k = k0 + slot / 8u;
            let c0 = col + slot % 8u * 4u;
            var four = vec4<f32>(0.0);
            if (k < args.k) {
                let at = b_at + k * args.b_row + c0 * args.b_col;
#for I in 0..4
                if (c0 + $I < args.n) {
                    four[$I] = f32(b[at + $I * args.b_col]);
                }
#end
            }
            b_tile[slot] = four;
        }
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            let four = b_tile[i * 8u + local.x];
            let at = i * 32u + local.y * 4u;
            sum0 += a_tile[at] * four;
            sum1 += a_tile[at + 1u] * four;
            sum2 += a_tile[at + 2u] * four;
            sum3 += a_tile[at + 3u] * four;
        }
        workgroupBarrier();
    }
    let c0 = col + local.x * 4u;
    let r0 = row + local.y * 4u;
#for J in 0..4
    if (r0 + $J < args.m) {
        let at = (matrix * args.m + r0 + $J) * args.n + c0;
#for I in 0..4
        if (c0 + $I < args.n) {
#if BIAS
            sum$J[$I] += f32(bias[args.bias_offset + c0 + $I]);
#end
            c[at + $I] = $T(sum$J[$I]);
        }
#end
    }
#end
}
