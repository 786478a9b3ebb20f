// C = A·B (+ bias), on request with GELU, batched, for few rows: a query of a few tokens, a vector for each text.
//
// Shapes: A [batch, m, k] of at most $ROWS rows, B [batch, k, n] that lies along k (a weight's transpose), C
// [batch, m, n] row-major; bias [n]. KEEP also writes the input of GELU, as large as C.
// A workgroup of 64 threads computes all rows of 4 columns. 16 threads share a column, and each takes every 16th four
// along k, so that neighbouring threads read neighbouring fours of B, and B is read once. A comes from the cache.
// VECTOR reads fours of A and B at once; both then lie along k, and their offsets, strides and lengths are multiples
// of 4.
// Order of summation: the four components of a thread each in ascending order; then the components, ascending; then the
// 16 threads, ascending; then the bias. It is the same with VECTOR and without. All in f32, also for f16 operands.

// [row][column][thread of the column]
var<workgroup> parts: array<f32, $ROWS * 64>;

// Elements k0 to k0 + 3 of the row of A, or of the column of B, that begins at `at`; 0 beyond k.
fn four_of_a(at: u32, k0: u32) -> vec4<f32> {
#if VECTOR
    return vec4<f32>(a[(at + k0) / 4u]);
#else
    var four = vec4<f32>(0.0);
#for I in 0..4
    if (k0 + $I < args.k) {
        four[$I] = f32(a[at + (k0 + $I) * args.a_col]);
    }
#end
    return four;
#end
}

fn four_of_b(at: u32, k0: u32) -> vec4<f32> {
#if VECTOR
    return vec4<f32>(b[(at + k0) / 4u]);
#else
    var four = vec4<f32>(0.0);
#for I in 0..4
    if (k0 + $I < args.k) {
        four[$I] = f32(b[at + (k0 + $I) * args.b_row]);
    }
#end
    return four;
#end
}

@compute @workgroup_size(64)
fn few(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if (tile >= args.tiles) {
        return;
    }
    let across = (args.n + 3u) / 4u;
    let matrix = tile / across;
    let first = (tile - matrix * across) * 4u;

    let begin = begin_of(matrix);

    // Threads beyond the last row or column compute the last one again and do not store it.
    let thread = local % 16u;
    let column_at = begin.y + min(first + local / 16u, args.n - 1u) * args.b_col;
#for R in 0..$ROWS
    let row$R = begin.x + min(u32($R), args.m - 1u) * args.a_row;
    var sum$R = vec4<f32>(0.0);
#end
    for (var k0 = thread * 4u; k0 < args.k; k0 += 64u) {
        let four = four_of_b(column_at, k0);
#for R in 0..$ROWS
        sum$R += four_of_a(row$R, k0) * four;
#end
    }
#for R in 0..$ROWS
    parts[$R * 64 + local] = ((sum$R.x + sum$R.y) + sum$R.z) + sum$R.w;
#end
    workgroupBarrier();
    let row = local / 4u;
    let column = first + local % 4u;
    if (row < min(args.m, u32($ROWS)) && column < args.n) {
        var sum = 0.0;
        for (var i = 0u; i < 16u; i++) {
            sum += parts[row * 64u + (local % 4u) * 16u + i];
        }
        store((matrix * args.m + row) * args.n, column, sum);
    }
}
