// C = A·B (+ bias), on request with GELU, batched, with cooperative matrices: tensor cores, simdgroup matrices.
//
// Not run on hardware yet. naga validates it. Before the launcher chooses it on a device, the launcher compares one
// product on that device with the product of `matmul.wgsl`, bit for bit.
//
// Shapes: A [batch, m, k], B [batch, k, n], C [batch, m, n] row-major; bias [n]. KEEP also writes the input of GELU,
// as large as C. A and B are read in fours: each lies along k or across it, without gaps.
// A workgroup of $SUBGROUPS subgroups computes a $SIZE×$SIZE tile of one C. Each subgroup computes $ROWS×$COLUMNS
// fragments of $FRAGMENT×$FRAGMENT, whose sums stay in registers. 32 columns of A and 32 rows of B at a time go
// through workgroup memory, both row-major; their rows are padded by 8 elements, so that the rows of a fragment begin
// in different banks. Workgroups count along n, then m, then the batch.
// The results go through workgroup memory, one fragment of each subgroup at a time, because bias, GELU, bounds and the
// conversion to f16 need the position of each element.
// Order of summation: blocks of $FRAGMENT ascending in k; the hardware decides the order within a block. Products of
// f16 are exact in f32, in which they are summed.

const SIZE: u32 = $SIZE;
const FRAGMENT: u32 = $FRAGMENT;
const STEP: u32 = 32u;
const A_ROW: u32 = STEP + 8u;
const B_ROW: u32 = SIZE + 8u;
const THREADS: u32 = $THREADS;

var<workgroup> a_tile: array<$T, SIZE * A_ROW>; // [row][k]
var<workgroup> b_tile: array<$T, STEP * B_ROW>; // [k][column]
var<workgroup> staged: array<f32, $SUBGROUPS * FRAGMENT * FRAGMENT>;

@compute @workgroup_size($THREADS)
fn cooperative(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
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
    let a_along_k = args.a_col < args.a_row;
    let b_along_k = args.b_row <= args.b_col;

    // The subgroup's part of the tile.
    let part_row = subgroup / $ACROSS * ($ROWS * FRAGMENT);
    let part_col = subgroup % $ACROSS * ($COLUMNS * FRAGMENT);
#for I in 0..$ROWS
#for J in 0..$COLUMNS
    var sum$I$J = $MATRIX<f32, C>();
#end
#end
    for (var k0 = 0u; k0 < args.k; k0 += STEP) {
        for (var slot = local; slot < SIZE * STEP / 4u; slot += THREADS) {
            var four = vec4<$T>();
            if (a_along_k) {
                let i = slot % (STEP / 4u) * 4u;
                let j = slot / (STEP / 4u);
                if (k0 + i < args.k && row + j < args.m) {
                    four = a[(begin.x + (row + j) * args.a_row + k0 + i) / 4u];
                }
#for I in 0..4
                a_tile[j * A_ROW + i + $I] = four[$I];
#end
            } else {
                let i = slot / (SIZE / 4u);
                let j = slot % (SIZE / 4u) * 4u;
                if (k0 + i < args.k && row + j < args.m) {
                    four = a[(begin.x + (k0 + i) * args.a_col + row + j) / 4u];
                }
#for I in 0..4
                a_tile[(j + $I) * A_ROW + i] = four[$I];
#end
            }
        }
        for (var slot = local; slot < SIZE * STEP / 4u; slot += THREADS) {
            var four = vec4<$T>();
            if (b_along_k) {
                let i = slot % (STEP / 4u) * 4u;
                let j = slot / (STEP / 4u);
                if (k0 + i < args.k && col + j < args.n) {
                    four = b[(begin.y + (col + j) * args.b_col + k0 + i) / 4u];
                }
#for I in 0..4
                b_tile[(i + $I) * B_ROW + j] = four[$I];
#end
            } else {
                let i = slot / (SIZE / 4u);
                let j = slot % (SIZE / 4u) * 4u;
                if (k0 + i < args.k && col + j < args.n) {
                    four = b[(begin.y + (k0 + i) * args.b_row + col + j) / 4u];
                }
#for I in 0..4
                b_tile[i * B_ROW + j + $I] = four[$I];
#end
            }
        }
        workgroupBarrier();
#for S in 0..$STEPS
        {
            let k_at = $S * FRAGMENT;
#for I in 0..$ROWS
            let a_at$I = (part_row + $I * FRAGMENT) * A_ROW + k_at;
            let x$I = coopLoadT<$MATRIX<$T, A>>(&a_tile[a_at$I], A_ROW);
#end
#for J in 0..$COLUMNS
            let b_at$J = k_at * B_ROW + part_col + $J * FRAGMENT;
            let y$J = coopLoadT<$MATRIX<$T, B>>(&b_tile[b_at$J], B_ROW);
#end
#for I in 0..$ROWS
#for J in 0..$COLUMNS
            sum$I$J = coopMultiplyAdd(x$I, y$J, sum$I$J);
#end
#end
        }
#end
        workgroupBarrier();
    }

    let mine = subgroup * (FRAGMENT * FRAGMENT);
#for I in 0..$ROWS
#for J in 0..$COLUMNS
    {
        // naga writes an argument's expression in place, so every argument must be bound to a name before.
        let fragment = sum$I$J;
        let stride = FRAGMENT;
        coopStoreT(fragment, &staged[mine], stride);
        workgroupBarrier();
        let first_row = row + part_row + $I * FRAGMENT;
        let first_col = col + part_col + $J * FRAGMENT;
        for (var e = lane; e < FRAGMENT * FRAGMENT; e += $LANES) {
            let r = first_row + e / FRAGMENT;
            let column = first_col + e % FRAGMENT;
            if (r < args.m && column < args.n) {
                store((matrix * args.m + r) * args.n, column, staged[mine + e]);
            }
        }
        workgroupBarrier();
    }
#end
#end
}
