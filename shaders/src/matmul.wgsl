// C = A·B (+ bias), on request with GELU, batched, over any strides.
//
// Shapes: A [batch, m, k], B [batch, k, n], C [batch, m, n] row-major; bias [n]. KEEP also writes what GELU
// is applied to, as large as C.
// A workgroup of 8×8 threads computes one $SIZE×$SIZE tile of one C, $ROWS×$ROWS elements a thread in registers (rows
// side by side, columns in fours 32 apart): 16 columns of A and 16 rows of B at a time go through workgroup memory, each
// read from memory in the order in which it lies there. Rows of the tiles in workgroup memory are one element (one four)
// longer than they need, so that writing them the other way round does not meet one bank. Workgroups count along n,
// then m, then the batch.
// Each element is summed over k in ascending order, in f32, whatever the size of the tile; then the bias, f32 whatever
// the operands are, is added. Only the result is rounded, where it is stored as f16.

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
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<$C>;
#if KEEP
@group(0) @binding(4) var<storage, read_write> kept: array<$C>;
#end
#else
@group(0) @binding(2) var<storage, read_write> c: array<$C>;
#if KEEP
@group(0) @binding(3) var<storage, read_write> kept: array<$C>;
#end
#end

const SIZE: u32 = $SIZE;
const A_ROW = SIZE + 1u;
const FOURS = SIZE / 4u;
const B_ROW = FOURS + 1u;

// Both [k][row or column].
var<workgroup> a_tile: array<f32, 16u * A_ROW>;
var<workgroup> b_tile: array<vec4<f32>, 16u * B_ROW>;

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
    let across = (args.n + SIZE - 1u) / SIZE;
    let down = (args.m + SIZE - 1u) / SIZE;
    let matrix = tile / (across * down);
    let within = tile - matrix * across * down;
    let row = within / across * SIZE;
    let col = within % across * SIZE;

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
    let a_along_k = args.a_col < args.a_row;
    let b_along_k = args.b_row < args.b_col;
#for J in 0..$ROWS
#for V in 0..$VECTORS
    var sum$V$J = vec4<f32>(0.0);
#end
#end
    for (var k0 = 0u; k0 < args.k; k0 += 16u) {
        for (var slot = thread; slot < 16u * SIZE; slot += 64u) {
            let i = select(slot / SIZE, slot % 16u, a_along_k);
            let j = select(slot % SIZE, slot / 16u, a_along_k);
            var value = 0.0;
            if (k0 + i < args.k && row + j < args.m) {
                value = f32(a[a_at + (row + j) * args.a_row + (k0 + i) * args.a_col]);
            }
            a_tile[i * A_ROW + j] = value;
        }
        for (var slot = thread; slot < 16u * FOURS; slot += 64u) {
            let i = select(slot / FOURS, slot % 16u, b_along_k);
            let j = select(slot % FOURS, slot / 16u, b_along_k);
            let c0 = col + j * 4u;
            var four = vec4<f32>(0.0);
            if (k0 + i < args.k) {
                let at = b_at + (k0 + i) * args.b_row + c0 * args.b_col;
#for I in 0..4
                if (c0 + $I < args.n) {
                    four[$I] = f32(b[at + $I * args.b_col]);
                }
#end
            }
            b_tile[i * B_ROW + j] = four;
        }
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            let b_first = i * B_ROW + local.x;
            let a_first = i * A_ROW + local.y * $ROWS;
#for V in 0..$VECTORS
            let four$V = b_tile[b_first + $V * 8];
#end
#for J in 0..$ROWS
            let x$J = a_tile[a_first + $J];
#for V in 0..$VECTORS
            sum$V$J += x$J * four$V;
#end
#end
        }
        workgroupBarrier();
    }
    let r0 = row + local.y * $ROWS;
    let c0 = col + local.x * 4u;
#for J in 0..$ROWS
    if (r0 + $J < args.m) {
        let at = (matrix * args.m + r0 + $J) * args.n;
#for V in 0..$VECTORS
#for I in 0..4
        if (c0 + $V * 32 + $I < args.n) {
            let column = c0 + $V * 32 + $I;
#if BIAS
            sum$V$J[$I] += bias[args.bias_offset + column];
#end
#if KEEP
            kept[at + column] = $C(sum$V$J[$I]);
#end
#if GELU
            c[at + column] = $C(gelu(sum$V$J[$I]));
#else
            c[at + column] = $C(sum$V$J[$I]);
#end
        }
#end
#end
    }
#end
}
