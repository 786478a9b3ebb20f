// C = A·B (+ bias), on request with GELU, batched, over any strides.
//
// Shapes: A [batch, m, k], B [batch, k, n], C [batch, m, n] row-major; bias [n]. KEEP also writes the input of GELU,
// as large as C.
// A workgroup of 8×8 threads computes one $SIZE×$SIZE tile of one C. A thread holds $ROWS×$ROWS elements in registers
// (adjacent rows; columns in fours, 32 apart). 16 columns of A and 16 rows of B at a time go through workgroup memory;
// each is read in the order in which it lies in memory. The rows of the tiles in workgroup memory are padded by one
// element (one four), so that writing them transposed does not always hit the same bank. Workgroups count along n,
// then m, then the batch.
// VECTOR reads and writes fours at once. Each operand then lies along k or across it, without gaps; n, the offsets, the
// strides and the length of the dimension along which an operand lies are multiples of 4.
// SUMS also writes the sums of the rows of A, which lies across k. Each thread adds the elements that it reads of its
// four rows, in ascending order of k; then the sums of a row's threads are added in the order of the threads.
// Each element is summed over k in ascending order, in f32, for every size of the tile; then the f32 bias is added.
// Only the result is rounded, where it is stored as f16.

const SIZE: u32 = $SIZE;
const A_ROW = SIZE + 1u;
const FOURS = SIZE / 4u;
const B_ROW = FOURS + 1u;

// Both tiles are [k][row or column].
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
    let place = place_of(tile, SIZE);
    let matrix = place.x;
    let row = place.y;
    let col = place.z;

    let begin = begin_of(matrix);
    let thread = local.y * 8u + local.x;
    let a_along_k = args.a_col < args.a_row;
    let b_along_k = args.b_row <= args.b_col;
#for J in 0..$ROWS
#for V in 0..$VECTORS
    var sum$V$J = vec4<f32>(0.0);
#end
#end
#if SUMS
    var loaded = vec4<f32>(0.0);
#end
    for (var k0 = 0u; k0 < args.k; k0 += 16u) {
#if VECTOR
        if (a_along_k) {
            // A thread reads four adjacent elements along k.
            for (var slot = thread; slot < 4u * SIZE; slot += 64u) {
                let i = slot % 4u * 4u;
                let j = slot / 4u;
                var four = vec4<f32>(0.0);
                if (k0 + i < args.k && row + j < args.m) {
                    four = vec4<f32>(a[(begin.x + (row + j) * args.a_row + k0 + i) / 4u]);
                }
#for I in 0..4
                a_tile[(i + $I) * A_ROW + j] = four[$I];
#end
            }
        } else {
            for (var slot = thread; slot < 16u * FOURS; slot += 64u) {
                let i = slot / FOURS;
                let j = slot % FOURS * 4u;
                var four = vec4<f32>(0.0);
                if (k0 + i < args.k && row + j < args.m) {
                    four = vec4<f32>(a[(begin.x + (k0 + i) * args.a_col + row + j) / 4u]);
                }
#if SUMS
                loaded += four;
#end
#for I in 0..4
                a_tile[i * A_ROW + j + $I] = four[$I];
#end
            }
        }
        if (b_along_k) {
            // A thread reads four elements along k in each of four columns and transposes them: each four of the tile
            // belongs to one row.
            for (var slot = thread; slot < 4u * FOURS; slot += 64u) {
                let i = slot % 4u * 4u;
                let j = slot / 4u;
                let column = col + j * 4u;
#for I in 0..4
                var four$I = vec4<f32>(0.0);
#end
                if (k0 + i < args.k && column < args.n) {
                    let at = begin.y + column * args.b_col + k0 + i;
#for I in 0..4
                    four$I = vec4<f32>(b[(at + $I * args.b_col) / 4u]);
#end
                }
#for I in 0..4
                b_tile[(i + $I) * B_ROW + j] = vec4<f32>(four0[$I], four1[$I], four2[$I], four3[$I]);
#end
            }
        } else {
            for (var slot = thread; slot < 16u * FOURS; slot += 64u) {
                let i = slot / FOURS;
                let j = slot % FOURS;
                var four = vec4<f32>(0.0);
                if (k0 + i < args.k && col + j * 4u < args.n) {
                    four = vec4<f32>(b[(begin.y + (k0 + i) * args.b_row + col + j * 4u) / 4u]);
                }
                b_tile[i * B_ROW + j] = four;
            }
        }
#else
        for (var slot = thread; slot < 16u * SIZE; slot += 64u) {
            let i = select(slot / SIZE, slot % 16u, a_along_k);
            let j = select(slot % SIZE, slot / 16u, a_along_k);
            var value = 0.0;
            if (k0 + i < args.k && row + j < args.m) {
                value = f32(a[begin.x + (row + j) * args.a_row + (k0 + i) * args.a_col]);
            }
            a_tile[i * A_ROW + j] = value;
        }
        for (var slot = thread; slot < 16u * FOURS; slot += 64u) {
            let i = select(slot / FOURS, slot % 16u, b_along_k);
            let j = select(slot % FOURS, slot / 16u, b_along_k);
            let c0 = col + j * 4u;
            var four = vec4<f32>(0.0);
            if (k0 + i < args.k) {
                let at = begin.y + (k0 + i) * args.b_row + c0 * args.b_col;
#for I in 0..4
                if (c0 + $I < args.n) {
                    four[$I] = f32(b[at + $I * args.b_col]);
                }
#end
            }
            b_tile[i * B_ROW + j] = four;
        }
#end
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
#if SUMS
    if (col == 0u) {
#for I in 0..4
        a_tile[thread * 4u + $I] = loaded[$I];
#end
        workgroupBarrier();
        if (thread < SIZE && row + thread < args.m) {
            var sum = 0.0;
            for (var reader = thread / 4u; reader < 64u; reader += FOURS) {
                sum += a_tile[reader * 4u + thread % 4u];
            }
            sums[row + thread] = sum;
        }
    }
#end
    let r0 = row + local.y * $ROWS;
    let c0 = col + local.x * 4u;
#for J in 0..$ROWS
    if (r0 + $J < args.m) {
        let at = (matrix * args.m + r0 + $J) * args.n;
#for V in 0..$VECTORS
#if VECTOR
        if (c0 + $V * 32 < args.n) {
            store_four(at, c0 + $V * 32, sum$V$J);
        }
#else
#for I in 0..4
        if (c0 + $V * 32 + $I < args.n) {
            store(at, c0 + $V * 32 + $I, sum$V$J[$I]);
        }
#end
#end
#end
    }
#end
}
