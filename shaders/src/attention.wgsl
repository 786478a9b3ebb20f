// Attention over packed sequences, forward and backward.
//
// Forward, per sequence and head, over blocks of 16 keys (Dao et al., arXiv:2205.14135):
//   S = Q·Kᵀ·scale + B;  L = ln Σeˢ;  P = e^(S − L);  O = dropout(P)·V
// Backward, recomputing P from L:
//   dV = dropout(P)ᵀ·dO;  dP = dropout(dO·Vᵀ);  D = Σ dP·P;  dS = P·(dP − D);
//   dQ = dS·K·scale;  dK = dSᵀ·Q·scale;  dB: the sums of dS over pairs of one distance
//
// Shapes: Q, K, V, dO `[tokens, heads·d]`, any row stride, unit stride of columns; O the same, row-major; dQ, dK and
// dV in one buffer, `d_part` from one to the next, their rows `d_row` apart; L `[heads, tokens]`; offsets
// `[sequences + 1]`; B `[heads, 2·reach + 1]` (f32): element reach + key − query of the head's row, its first or last
// one for larger distances. Nothing of size tokens × tokens is stored.
// A workgroup of 16×16 threads takes one head and 16 adjacent tokens: their queries (`forward`, `backward_q`) or their
// keys (`backward_k`). It walks over the tokens that these 16 see (or that see them), 16 at a time. Thread (y, x) computes the
// score of its row's token y with the walk's token x, and columns x, x + 16, … of row y of every result. A token finds
// its sequence by bisection of the offsets. Scores of keys that a query does not see are left out, never multiplied
// by 0. d goes through workgroup memory in CHUNKS pieces of C columns.
// `backward_q` walks twice, for D and for dQ. It writes L and D to `rows [2, heads, tokens]`, and `backward_k` reads
// them there. Its workgroups also have a part of dB each, `parts [blocks, heads, 2·reach + 1]`: for each 16 × 16 scores
// a thread has a diagonal, which is one distance. So there are no atomics, and every run adds the same sums in the
// same order.
// Order: products over d and over the walk ascend; Σeˢ and D are summed by each thread over its own
// tokens of the walk, then over the 16 threads of the row in ascending order.
// Numerics: all in f32; the softmax subtracts the row's maximum so far. Dropout takes the CPU's words: word
// key % 4 of counter (key / 4, query, head, 1), the key counted in its sequence, the query in the batch.

struct Args {
    tokens: u32,
    heads: u32,
    sequences: u32,
    units: u32, // workgroups in use
    q_offset: u32,
    q_row: u32,
    k_offset: u32,
    k_row: u32,
    v_offset: u32,
    v_row: u32,
    g_offset: u32,
    g_row: u32,
    offsets_start: u32,
    l_start: u32,
    scale: f32,
    least: u32, // random words below it are dropped
    keep: f32,  // factor of the probabilities that are kept
    key0: u32,
    key1: u32,
    // 16 and C, hidden from the compiler: software Vulkan would unroll the loops and then need minutes to
    // split the kernel at its barriers.
    block: u32,
    piece: u32,
    d_row: u32,
    d_part: u32,
    before: u32, // tokens before the row's that the walk takes, at most
    ahead: u32,  // the row's own and those after it
    bias_start: u32,
    reach: u32,
}
var<immediate> args: Args;

const D: u32 = $D;
const C: u32 = $C;
const PAD: u32 = C + 1u; // so that no two threads of a row read the same bank
const LOWEST: f32 = -3.0e38;

@group(0) @binding(0) var<storage, read> q: array<$T>;
@group(0) @binding(1) var<storage, read> k: array<$T>;
@group(0) @binding(2) var<storage, read> v: array<$T>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
#if BIAS
@group(0) @binding($B_BIAS) var<storage, read> bias: array<f32>;
#end
#if ENTRY == forward
@group(0) @binding($B_FIRST) var<storage, read_write> out: array<$T>;
@group(0) @binding($B_SECOND) var<storage, read_write> lse: array<f32>;
#end
#if ENTRY == backward_q
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> g: array<$T>;
@group(0) @binding($B_FIRST) var<storage, read_write> grads: array<$T>;
@group(0) @binding($B_SECOND) var<storage, read_write> rows: array<f32>;
#if BIAS_GRADIENT
@group(0) @binding($B_THIRD) var<storage, read_write> parts: array<f32>;
#end
#end
#if ENTRY == backward_k
@group(0) @binding(4) var<storage, read> rows: array<f32>;
@group(0) @binding(5) var<storage, read> g: array<$T>;
@group(0) @binding($B_FIRST) var<storage, read_write> grads: array<$T>;
#end

// Rows: the workgroup's own 16 tokens. Columns: the walk's 16 tokens.
var<workgroup> row_a: array<f32, 16u * PAD>;
var<workgroup> col_a: array<f32, 16u * PAD>;
var<workgroup> weights: array<f32, 272>;
#if BACKWARD
var<workgroup> row_b: array<f32, 16u * PAD>;
var<workgroup> col_b: array<f32, 16u * PAD>;
#end
#if ENTRY == backward_k
var<workgroup> weights_b: array<f32, 272>;
#end

fn at_q(token: u32, column: u32) -> f32 { return f32(q[args.q_offset + token * args.q_row + column]); }
fn at_k(token: u32, column: u32) -> f32 { return f32(k[args.k_offset + token * args.k_row + column]); }
fn at_v(token: u32, column: u32) -> f32 { return f32(v[args.v_offset + token * args.v_row + column]); }
#if BACKWARD
fn at_g(token: u32, column: u32) -> f32 { return f32(g[args.g_offset + token * args.g_row + column]); }
#end

// The begin and end of a token's sequence.
fn sequence_of(token: u32) -> vec2<u32> {
    // The first offset beyond the token.
    var low = 1u;
    var high = args.sequences;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (offsets[args.offsets_start + middle] > token) {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    return vec2<u32>(offsets[args.offsets_start + low - 1u], offsets[args.offsets_start + low]);
}

// The tokens of a sequence that the walk takes for a row's token.
fn seen_of(token: u32, sequence: vec2<u32>) -> vec2<u32> {
    let before = min(token - sequence.x, args.before);
    return vec2<u32>(token - before, token + min(sequence.y - token, args.ahead));
}

// The score of a query and a key with the product `product`.
fn score_of(product: f32, head: u32, query: u32, key: u32) -> f32 {
#if BIAS
    let reach = i32(args.reach);
    let place = clamp(i32(key) - i32(query), -reach, reach) + reach;
    return product * args.scale + bias[args.bias_start + head * (2u * args.reach + 1u) + u32(place)];
#else
    return product * args.scale;
#end
}

// The factor of a probability, 0 where it is dropped. `key` counts within the sequence.
fn kept(head: u32, query: u32, key: u32) -> f32 {
#if DROPOUT
    let words = philox(vec4<u32>(key / 4u, query, head, 1u), vec2<u32>(args.key0, args.key1));
    return select(0.0, args.keep, words[key % 4u] >= args.least);
#else
    return 1.0;
#end
}

fn dropped(x: f32, factor: f32) -> f32 {
    return select(0.0, x * factor, factor != 0.0);
}

fn load_rows(piece: u32, token: u32, head: u32, local: vec3<u32>) {
    for (var c = local.x; c < args.piece; c += 16u) {
        let channel = piece * C + c;
        let slot = local.y * PAD + c;
        row_a[slot] = 0.0;
#if BACKWARD
        row_b[slot] = 0.0;
#end
        if (token < args.tokens && channel < D) {
            row_a[slot] = at_$ROW_A(token, head * D + channel);
#if BACKWARD
            row_b[slot] = at_$ROW_B(token, head * D + channel);
#end
        }
    }
}

fn load_columns(piece: u32, token: u32, head: u32, local: vec3<u32>) {
    for (var c = local.x; c < args.piece; c += 16u) {
        let channel = piece * C + c;
        let slot = local.y * PAD + c;
        col_a[slot] = 0.0;
#if BACKWARD
        col_b[slot] = 0.0;
#end
        if (token < args.tokens && channel < D) {
            col_a[slot] = at_$COL_A(token, head * D + channel);
#if BACKWARD
            col_b[slot] = at_$COL_B(token, head * D + channel);
#end
        }
    }
}

// The products of the thread's two tokens over d: Q·K, and dO·V. Leaves the last piece in workgroup
// memory. Where a row is one piece, it is in workgroup memory already.
fn products(row: u32, walk: u32, head: u32, local: vec3<u32>) -> vec2<f32> {
    var sums = vec2<f32>(0.0);
#for h in 0..$CHUNKS
    workgroupBarrier();
#if MANY
    load_rows($h, row, head, local);
#end
    load_columns($h, walk + local.y, head, local);
    workgroupBarrier();
    for (var c = 0u; c < args.piece; c++) {
        sums.x += row_a[local.y * PAD + c] * col_a[local.x * PAD + c];
#if BACKWARD
        sums.y += row_b[local.y * PAD + c] * col_b[local.x * PAD + c];
#end
    }
#end
    return sums;
}

// The sum over the 16 threads of a row.
fn row_sum(x: f32, local: vec3<u32>) -> f32 {
    workgroupBarrier();
    weights[local.y * 17u + local.x] = x;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < args.block; i++) {
        sum += weights[local.y * 17u + i];
    }
    return sum;
}

// The part of the walk's 16 tokens that a row sees.
fn inside(walk: u32, seen: vec2<u32>) -> vec2<u32> {
    let low = max(walk, seen.x) - walk;
    let high = clamp(seen.y, walk, walk + 16u) - walk;
    return vec2<u32>(low, high);
}

#if BIAS_GRADIENT
// The sum over all threads.
fn block_sum(x: f32, local: vec3<u32>) -> f32 {
    let of_row = row_sum(x, local);
    workgroupBarrier();
    if (local.x == 0u) {
        weights[local.y] = of_row;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < args.block; i++) {
        sum += weights[i];
    }
    return sum;
}

// Adds the scores' gradients in `weights`, of 16 queries and 16 keys, to the workgroup's part of dB, except distances of
// `reach` and more. A thread has the places of a remainder by 32, so no place has two threads.
fn add_diagonals(part: u32, query: u32, key: u32, thread: u32) {
    if (thread >= 32u) { return; }
    let reach = i32(args.reach);
    // Diagonal i has the distance smallest + i.
    let smallest = i32(key) - i32(query) - 15;
    let diagonal = (i32(thread) - smallest - reach) & 31;
    let distance = smallest + diagonal;
    if (diagonal == 31 || distance <= -reach || distance >= reach) {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < args.block; row++) {
        let column = i32(row) + diagonal - 15;
        if (column >= 0 && column < 16) {
            sum += weights[row * 17u + u32(column)];
        }
    }
    parts[part + u32(distance + reach)] += sum;
}
#end

@compute @workgroup_size(16, 16)
fn $ENTRY(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let unit = group.y * groups.x + group.x;
    if (unit >= args.units) {
        return;
    }
    let blocks = (args.tokens + 15u) / 16u;
    let head = unit / blocks;
    let first = (unit - head * blocks) * 16u;
    let row = first + local.y;
    let last = args.tokens - 1u;
    let sequence = sequence_of(min(row, last));
    let seen = seen_of(min(row, last), sequence);
    // The ends of what the rows see ascend with the rows.
    let begin = seen_of(first, sequence_of(first)).x;
    let end_row = min(first + 15u, last);
    let end = seen_of(end_row, sequence_of(end_row)).y;
    let cell = local.y * 17u + local.x;
#if MANY
#else
    load_rows(0u, row, head, local);
#end

#if ENTRY == forward
    var o: array<array<f32, $WIDE>, $CHUNKS>;
    var top = LOWEST;
    var sum = 0.0;
    for (var walk = begin; walk < end; walk += 16u) {
        let key = walk + local.x;
        let counts = key >= seen.x && key < seen.y;
        let s = score_of(products(row, walk, head, local).x, head, row, key);
        weights[cell] = select(LOWEST, s, counts);
        workgroupBarrier();
        var higher = top;
        for (var i = 0u; i < args.block; i++) {
            higher = max(higher, weights[local.y * 17u + i]);
        }
        var p = 0.0;
        var share = 0.0;
        if (counts) {
            p = exp_(s - higher);
            share = dropped(p, kept(head, row, key - sequence.x));
        }
        let fade = exp_(top - higher);
        top = higher;
        sum = sum * fade + p;
        workgroupBarrier();
        weights[cell] = share;
        let part = inside(walk, seen);
#for h in 0..$CHUNKS
        for (var c = local.x; c < args.piece; c += 16u) {
            col_a[local.y * PAD + c] = 0.0;
            if (walk + local.y < args.tokens && $h * C + c < D) {
                col_a[local.y * PAD + c] = at_v(walk + local.y, head * D + $h * C + c);
            }
        }
        workgroupBarrier();
#for w in 0..$WIDE
        o[$h][$w] *= fade;
#end
        for (var i = part.x; i < part.y; i++) {
            let p = weights[local.y * 17u + i];
#for w in 0..$WIDE
            o[$h][$w] += p * col_a[i * PAD + $w * 16u + local.x];
#end
        }
        workgroupBarrier();
#end
    }
    sum = row_sum(sum, local);
    if (row < args.tokens) {
        if (local.x == 0u) {
            lse[head * args.tokens + row] = top + ln_(sum);
        }
#for h in 0..$CHUNKS
#for w in 0..$WIDE
        if ($h * C + $w * 16u + local.x < D) {
            out[(row * args.heads + head) * D + $h * C + $w * 16u + local.x] = $T(o[$h][$w] / sum);
        }
#end
#end
    }
#end

#if ENTRY == backward_q
    let index = head * args.tokens + min(row, last);
    let l = lse[args.l_start + index];
    var dot = 0.0;
    for (var walk = begin; walk < end; walk += 16u) {
        let key = walk + local.x;
        let both = products(row, walk, head, local);
        if (key >= seen.x && key < seen.y) {
            let factor = kept(head, row, key - sequence.x);
            dot += exp_(score_of(both.x, head, row, key) - l) * dropped(both.y, factor);
        }
    }
    dot = row_sum(dot, local);
#if BIAS_GRADIENT
    let thread = local.y * 16u + local.x;
    let width = 2u * args.reach + 1u;
    let part_of_bias = ((unit - head * blocks) * args.heads + head) * width;
    if (thread < 32u) {
        for (var i = thread; i < width; i += 32u) {
            parts[part_of_bias + i] = 0.0;
        }
    }
    // Of the distances up to −reach, and from reach on.
    var below = 0.0;
    var above = 0.0;
#end

    var d: array<array<f32, $WIDE>, $CHUNKS>;
    for (var walk = begin; walk < end; walk += 16u) {
        let key = walk + local.x;
        let both = products(row, walk, head, local);
        var ds = 0.0;
#if BIAS_GRADIENT
        if (row < args.tokens && key >= seen.x && key < seen.y) {
            let factor = kept(head, row, key - sequence.x);
            ds = exp_(score_of(both.x, head, row, key) - l) * (dropped(both.y, factor) - dot);
            let distance = i32(key) - i32(row);
            if (distance <= -i32(args.reach)) {
                below += ds;
            } else if (distance >= i32(args.reach)) {
                above += ds;
            }
        }
#else
        if (key >= seen.x && key < seen.y) {
            let factor = kept(head, row, key - sequence.x);
            ds = exp_(score_of(both.x, head, row, key) - l) * (dropped(both.y, factor) - dot) * args.scale;
        }
#end
        weights[cell] = ds;
        let part = inside(walk, seen);
#for h in 0..$CHUNKS
        workgroupBarrier();
#if MANY
        load_columns($h, walk + local.y, head, local);
        workgroupBarrier();
#end
        for (var i = part.x; i < part.y; i++) {
            let ds = weights[local.y * 17u + i];
#for w in 0..$WIDE
            d[$h][$w] += ds * col_a[i * PAD + $w * 16u + local.x];
#end
        }
#end
#if BIAS_GRADIENT
        add_diagonals(part_of_bias, first, walk, thread);
#end
    }
#if BIAS_GRADIENT
#for h in 0..$CHUNKS
#for w in 0..$WIDE
    d[$h][$w] *= args.scale;
#end
#end
    below = block_sum(below, local);
    above = block_sum(above, local);
    if (thread == 0u) { parts[part_of_bias] += below; }
    if (thread == (width - 1u) % 32u) { parts[part_of_bias + width - 1u] += above; }
#end
    if (row < args.tokens) {
        if (local.x == 0u) {
            rows[index] = l;
            rows[args.heads * args.tokens + index] = dot;
        }
#for h in 0..$CHUNKS
#for w in 0..$WIDE
        if ($h * C + $w * 16u + local.x < D) {
            grads[row * args.d_row + head * D + $h * C + $w * 16u + local.x] = $T(d[$h][$w]);
        }
#end
#end
    }
#end

#if ENTRY == backward_k
    var a: array<array<f32, $WIDE>, $CHUNKS>; // of dK
    var b: array<array<f32, $WIDE>, $CHUNKS>; // of dV
    for (var walk = begin; walk < end; walk += 16u) {
        let query = walk + local.x;
        let both = products(row, walk, head, local);
        var ds = 0.0;
        var share = 0.0;
        if (row < args.tokens && query >= seen.x && query < seen.y) {
            let index = head * args.tokens + query;
            let p = exp_(score_of(both.x, head, query, row) - rows[index]);
            let dot = rows[args.heads * args.tokens + index];
            let factor = kept(head, query, row - sequence.x);
            ds = p * (dropped(both.y, factor) - dot) * args.scale;
            share = dropped(p, factor);
        }
        weights[cell] = ds;
        weights_b[cell] = share;
        let part = inside(walk, seen);
#for h in 0..$CHUNKS
        workgroupBarrier();
#if MANY
        load_columns($h, walk + local.y, head, local);
        workgroupBarrier();
#end
        for (var i = part.x; i < part.y; i++) {
            let ds = weights[local.y * 17u + i];
            let share = weights_b[local.y * 17u + i];
#for w in 0..$WIDE
            a[$h][$w] += ds * col_a[i * PAD + $w * 16u + local.x];
            b[$h][$w] += share * col_b[i * PAD + $w * 16u + local.x];
#end
        }
#end
    }
    if (row < args.tokens) {
#for h in 0..$CHUNKS
#for w in 0..$WIDE
        if ($h * C + $w * 16u + local.x < D) {
            let at = args.d_part + row * args.d_row + head * D + $h * C + $w * 16u + local.x;
            grads[at] = $T(a[$h][$w]);
            grads[args.d_part + at] = $T(b[$h][$w]);
        }
#end
#end
    }
#end
}
