// Attention over packed sequences, forward and backward.
//
// Forward, per sequence and head, over blocks of keys (Dao et al., arXiv:2205.14135):
//   S = Q·Kᵀ·scale + B;  L = ln Σeˢ;  P = e^(S − L);  O = dropout(P)·V
// Backward, recomputing P from L:
//   dV = dropout(P)ᵀ·dO;  dP = dropout(dO·Vᵀ);  D = Σ dP·P;  dS = P·(dP − D);
//   dQ = dS·K·scale;  dK = dSᵀ·Q·scale;  dB: the sums of dS over pairs of one distance
//
// Shapes: Q, K, V, dO `[tokens, heads·d]`, any row stride, unit stride of columns; O the same, row-major; dQ, dK and
// dV in one buffer, `d_part` from one to the next, their rows `d_row` apart; L `[heads, tokens]`; offsets
// `[sequences + 1]`; B `[heads, 2·reach + 1]` (f32): element reach + key − query of the head's row, its first or last
// one for larger distances. Nothing of size tokens × tokens is stored.
// Split: a workgroup of 16×16 threads takes one head and BLOCK = 16·R adjacent tokens: their queries (`forward`,
// `backward_q`) or their keys (`backward_k`). It walks over the tokens that these see (or that see them), BLOCK at a
// time. Thread (y, x) has the rows y, y + 16, … of the workgroup's tokens, R of them: their scores with the tokens
// x, x + 16, … of the walk, and columns x, x + 16, … of their results. For R² multiplications and additions of scores
// it reads 2·R numbers from workgroup memory, which is 2/R for each; a thread with one score would read 2. For R·C/16
// of a result it reads R weights and C/16 columns. With R = 2 and C = 32, both come to one number read for each.
// Memory: d goes through workgroup memory in CHUNKS pieces of C columns. There are two tiles of BLOCK × C, for the
// rows and for the walk; Q·K and dO·V take turns in them. The queries of `forward` stay over the whole walk if they are
// one piece. A third tile, BLOCK × BLOCK, has the weights with which the walk's tokens are added up. attention.rs
// chooses R and C so that all three fit into the 16 KiB that every device has.
// A token finds its sequence by bisection of the offsets. Scores of keys that a query does not see are left out, never
// multiplied by 0.
// `backward_q` walks twice, for D and for dQ. It writes L and D to `rows [2, heads, tokens]`, and `backward_k` reads
// them there. Its workgroups also have a part of dB each, `parts [blocks, heads, 2·reach + 1]`: for each block of
// scores a thread has a diagonal, which is one distance. So there are no atomics, and every run adds the same sums in
// the same order.
// Order: products over d and over the walk ascend; Σeˢ and D are summed by each thread over its own
// tokens of the walk, then over the 16 threads of the row in ascending order.
// Numerics: all in f32; the softmax subtracts the row's maximum so far. Dropout takes the CPU's words: word
// key % 4 of counter (key / 4, query, head, 1), the key counted in its sequence, the query in the batch.

const D: u32 = $D;
const C: u32 = $C;
const R: u32 = $R;
const BLOCK: u32 = 16u * R;
// The lengths of rows in workgroup memory. They are odd, so that threads that read different rows read different banks.
const TILE_ROW: u32 = C + 1u;
const WEIGHTS_ROW: u32 = BLOCK + 1u;
// Pairs of operands, one of each product over d. `forward` needs only V of the second.
const Q_K: u32 = 0u;
const G_V: u32 = 1u;
const LOWEST: f32 = -3.0e38;

// Tokens × columns of the workgroup's own operand, and of the walk's.
var<workgroup> row_tile: array<f32, BLOCK * TILE_ROW>;
var<workgroup> walk_tile: array<f32, BLOCK * TILE_ROW>;
// Own tokens × the walk's.
var<workgroup> weights: array<f32, BLOCK * WEIGHTS_ROW>;

// Of a thread: for each of its rows, something of each of its tokens of the walk, and its columns of a result.
alias Scores = array<array<f32, R>, R>;
alias Sums = array<array<array<f32, R>, $WIDE>, $CHUNKS>;

// The part of the walk's tokens that a row sees.
fn part_of(row: Row, walk: u32) -> vec2<u32> {
    let low = max(walk, row.seen.x) - walk;
    let high = clamp(row.seen.y, walk, walk + BLOCK) - walk;
    return vec2<u32>(low, high);
}

// What reads workgroup memory ends with a barrier, so whoever comes next may write there.

// A number of the walk's operand of a pair; 0 beyond its tokens and columns.
fn of_walk(pair: u32, token: u32, head: u32, column: u32) -> f32 {
    if (token >= args.tokens || column >= D) { return 0.0; }
    if (pair == Q_K) { return at_$WALK_Q_K(token, head * D + column); }
    return at_$WALK_G_V(token, head * D + column);
}

// The same of the workgroup's own.
fn of_row(pair: u32, token: u32, head: u32, column: u32) -> f32 {
    if (token >= args.tokens || column >= D) { return 0.0; }
#if BACKWARD
    if (pair == G_V) { return at_$ROW_G_V(token, head * D + column); }
#end
    return at_$ROW_Q_K(token, head * D + column);
}

// The token and the column of the number `n` that a thread brings into a tile.
fn place_of(n: u32, local: vec3<u32>) -> vec2<u32> {
    let place = local.y * 16u + local.x + n * 256u;
    return vec2<u32>(place / C, place % C);
}

// Brings columns `start` to start + C of the walk's tokens into workgroup memory.
fn load_walk(pair: u32, start: u32, walk: u32, head: u32, local: vec3<u32>) {
#for N in 0..$LOADS
    let at$N = place_of($N, local);
    walk_tile[at$N.x * TILE_ROW + at$N.y] = of_walk(pair, walk + at$N.x, head, start + at$N.y);
#end
}

// The same of the workgroup's own tokens.
fn load_rows(pair: u32, start: u32, first: u32, head: u32, local: vec3<u32>) {
#for N in 0..$LOADS
    let at$N = place_of($N, local);
    row_tile[at$N.x * TILE_ROW + at$N.y] = of_row(pair, first + at$N.x, head, start + at$N.y);
#end
}

// The products over d of the thread's rows and its tokens of the walk.
fn products(pair: u32, first: u32, walk: u32, head: u32, local: vec3<u32>) -> Scores {
    var sums: Scores;
    for (var start = 0u; start < D; start += args.piece) {
#if RELOAD
        load_rows(pair, start, first, head, local);
#end
        load_walk(pair, start, walk, head, local);
        workgroupBarrier();
        for (var c = 0u; c < args.piece; c++) {
#for I in 0..$R
            let x$I = walk_tile[(local.x + $I * 16u) * TILE_ROW + c];
#end
#for J in 0..$R
            let y$J = row_tile[(local.y + $J * 16u) * TILE_ROW + c];
#for I in 0..$R
            sums[$J][$I] += y$J * x$I;
#end
#end
        }
        workgroupBarrier();
    }
    return sums;
}

// Adds the products of `weights` and the walk's operand. The rows see different parts of the walk.
fn add_products(
    pair: u32,
    sums: ptr<function, Sums>,
    own: array<Row, R>,
    walk: u32,
    head: u32,
    local: vec3<u32>,
) {
    var low = BLOCK;
    var high = 0u;
#for J in 0..$R
    let part$J = part_of(own[$J], walk);
    low = min(low, part$J.x);
    high = max(high, part$J.y);
#end
#for H in 0..$CHUNKS
    load_walk(pair, $H * C, walk, head, local);
    workgroupBarrier();
    for (var i = low; i < high; i++) {
#for W in 0..$WIDE
        let x$W = walk_tile[i * TILE_ROW + $W * 16u + local.x];
#end
#for J in 0..$R
        let weight$J = weights[(local.y + $J * 16u) * WEIGHTS_ROW + i];
        if (i >= part$J.x && i < part$J.y) {
#for W in 0..$WIDE
            (*sums)[$H][$W][$J] += weight$J * x$W;
#end
        }
#end
    }
    workgroupBarrier();
#end
}

fn put_weights(values: Scores, local: vec3<u32>) {
#for J in 0..$R
#for I in 0..$R
    weights[(local.y + $J * 16u) * WEIGHTS_ROW + local.x + $I * 16u] = values[$J][$I];
#end
#end
}

// The sum over the 16 threads of a row.
fn row_sum(x: f32, local: vec3<u32>) -> f32 {
    weights[local.y * WEIGHTS_ROW + local.x] = x;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < args.threads; i++) {
        sum += weights[local.y * WEIGHTS_ROW + i];
    }
    workgroupBarrier();
    return sum;
}

#if ENTRY == forward
// The largest that the 16 threads of each row have.
fn row_maxima(of_thread: array<f32, R>, local: vec3<u32>) -> array<f32, R> {
    var top = of_thread;
#for J in 0..$R
    weights[(local.y + $J * 16u) * WEIGHTS_ROW + local.x] = of_thread[$J];
#end
    workgroupBarrier();
    for (var i = 0u; i < args.threads; i++) {
#for J in 0..$R
        top[$J] = max(top[$J], weights[(local.y + $J * 16u) * WEIGHTS_ROW + i]);
#end
    }
    workgroupBarrier();
    return top;
}
#end

#if BIAS_GRADIENT
// The sum over all threads.
fn block_sum(x: f32, local: vec3<u32>) -> f32 {
    let of_row = row_sum(x, local);
    if (local.x == 0u) {
        weights[local.y] = of_row;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < args.threads; i++) {
        sum += weights[i];
    }
    workgroupBarrier();
    return sum;
}

// Adds the scores' gradients in `weights` to the workgroup's part of dB, except distances of `reach` and more. A thread
// has the places of a remainder by 2·BLOCK, so no place has two threads.
fn add_diagonals(part: u32, query: u32, key: u32, thread: u32) {
    if (thread >= 2u * BLOCK) { return; }
    let reach = i32(args.reach);
    let block = i32(BLOCK);
    // Diagonal i has the distance smallest + i.
    let smallest = i32(key) - i32(query) - (block - 1);
    let diagonal = (i32(thread) - smallest - reach) & (2 * block - 1);
    let distance = smallest + diagonal;
    if (diagonal == 2 * block - 1 || distance <= -reach || distance >= reach) {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < args.threads * R; row++) {
        let column = i32(row) + diagonal - (block - 1);
        if (column >= 0 && column < block) {
            sum += weights[row * WEIGHTS_ROW + u32(column)];
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
    let blocks = (args.tokens + BLOCK - 1u) / BLOCK;
    let head = unit / blocks;
    let first = (unit - head * blocks) * BLOCK;
    let last = args.tokens - 1u;
    var own: array<Row, R>;
#for J in 0..$R
    own[$J] = row_of(first + local.y + $J * 16u);
#end
    // The ends of what the rows see ascend with the rows.
    let begin = row_of(first).seen.x;
    let end = row_of(min(first + BLOCK - 1u, last)).seen.y;

#if ENTRY == forward
    var o: Sums;
    var top: array<f32, R>;
    var sum: array<f32, R>;
#for J in 0..$R
    top[$J] = LOWEST;
#end
#if STAY
    load_rows(Q_K, 0u, first, head, local);
#end
    for (var walk = begin; walk < end; walk += BLOCK) {
        var s = products(Q_K, first, walk, head, local);
        let before = top;
#for I in 0..$R
        let key$I = walk + local.x + $I * 16u;
#for J in 0..$R
        if (sees(own[$J], key$I)) {
            s[$J][$I] = score_of(s[$J][$I], head, own[$J].token, key$I);
            top[$J] = max(top[$J], s[$J][$I]);
        }
#end
#end
        top = row_maxima(top, local);
        var shares = Scores();
#for J in 0..$R
        let fade$J = exp_(before[$J] - top[$J]);
        sum[$J] *= fade$J;
#for I in 0..$R
        if (sees(own[$J], key$I)) {
            let p = exp_(s[$J][$I] - top[$J]);
            sum[$J] += p;
            shares[$J][$I] = dropped(p, kept(head, own[$J].token, key$I - own[$J].start));
        }
#end
#for H in 0..$CHUNKS
#for W in 0..$WIDE
        o[$H][$W][$J] *= fade$J;
#end
#end
#end
        put_weights(shares, local);
        add_products(G_V, &o, own, walk, head, local);
    }
#for J in 0..$R
    sum[$J] = row_sum(sum[$J], local);
    if (own[$J].token < args.tokens) {
        if (local.x == 0u) {
            lse[head * args.tokens + own[$J].token] = top[$J] + ln_(sum[$J]);
        }
#for H in 0..$CHUNKS
#for W in 0..$WIDE
        if ($H * C + $W * 16u + local.x < D) {
            out[(own[$J].token * args.heads + head) * D + $H * C + $W * 16u + local.x] = $T(o[$H][$W][$J] / sum[$J]);
        }
#end
#end
    }
#end
#end

#if ENTRY == backward_q
    var l: array<f32, R>;
    var dot: array<f32, R>;
#for J in 0..$R
    l[$J] = lse[args.l_start + head * args.tokens + min(own[$J].token, last)];
#end
    for (var walk = begin; walk < end; walk += BLOCK) {
        let dp = products(G_V, first, walk, head, local);
        let s = products(Q_K, first, walk, head, local);
#for I in 0..$R
        let key$I = walk + local.x + $I * 16u;
#for J in 0..$R
        if (sees(own[$J], key$I)) {
            let factor = kept(head, own[$J].token, key$I - own[$J].start);
            dot[$J] += probability(s[$J][$I], head, own[$J].token, key$I, l[$J]) * dropped(dp[$J][$I], factor);
        }
#end
#end
    }
#for J in 0..$R
    dot[$J] = row_sum(dot[$J], local);
#end
#if BIAS_GRADIENT
    let thread = local.y * 16u + local.x;
    let width = 2u * args.reach + 1u;
    let part_of_bias = ((unit - head * blocks) * args.heads + head) * width;
    if (thread < 2u * BLOCK) {
        for (var i = thread; i < width; i += 2u * BLOCK) {
            parts[part_of_bias + i] = 0.0;
        }
    }
    // Of the distances up to −reach, and from reach on.
    var below = 0.0;
    var above = 0.0;
#end

    var d: Sums;
    for (var walk = begin; walk < end; walk += BLOCK) {
        let dp = products(G_V, first, walk, head, local);
        let s = products(Q_K, first, walk, head, local);
        var ds = Scores();
#for I in 0..$R
        let key$I = walk + local.x + $I * 16u;
#for J in 0..$R
        if (sees(own[$J], key$I)) {
            let factor = kept(head, own[$J].token, key$I - own[$J].start);
            let p = probability(s[$J][$I], head, own[$J].token, key$I, l[$J]);
            ds[$J][$I] = p * (dropped(dp[$J][$I], factor) - dot[$J]);
#if BIAS_GRADIENT
            let distance = i32(key$I) - i32(own[$J].token);
            if (distance <= -i32(args.reach)) {
                below += ds[$J][$I];
            } else if (distance >= i32(args.reach)) {
                above += ds[$J][$I];
            }
#end
        }
#end
#end
        put_weights(ds, local);
#if BIAS_GRADIENT
        workgroupBarrier();
        add_diagonals(part_of_bias, first, walk, thread);
#end
        add_products(Q_K, &d, own, walk, head, local);
    }
#if BIAS_GRADIENT
    below = block_sum(below, local);
    above = block_sum(above, local);
    if (thread == 0u) { parts[part_of_bias] += below; }
    if (thread == (width - 1u) % (2u * BLOCK)) { parts[part_of_bias + width - 1u] += above; }
#end
#for J in 0..$R
    if (own[$J].token < args.tokens) {
        if (local.x == 0u) {
            let index = head * args.tokens + own[$J].token;
            rows[index] = l[$J];
            rows[args.heads * args.tokens + index] = dot[$J];
        }
#for H in 0..$CHUNKS
#for W in 0..$WIDE
        if ($H * C + $W * 16u + local.x < D) {
            let at = own[$J].token * args.d_row + head * D + $H * C + $W * 16u + local.x;
            grads[at] = $T(d[$H][$W][$J] * args.scale);
        }
#end
#end
    }
#end
#end

#if ENTRY == backward_k
    var dk: Sums;
    var dv: Sums;
    for (var walk = begin; walk < end; walk += BLOCK) {
        let s = products(Q_K, first, walk, head, local);
        let dp = products(G_V, first, walk, head, local);
        var ds = Scores();
        var shares = Scores();
#for I in 0..$R
        let query$I = walk + local.x + $I * 16u;
        let index$I = head * args.tokens + min(query$I, last);
        let l$I = rows[index$I];
        let dot$I = rows[args.heads * args.tokens + index$I];
#for J in 0..$R
        if (sees(own[$J], query$I)) {
            let factor = kept(head, query$I, own[$J].token - own[$J].start);
            let p = probability(s[$J][$I], head, query$I, own[$J].token, l$I);
            ds[$J][$I] = p * (dropped(dp[$J][$I], factor) - dot$I);
            shares[$J][$I] = dropped(p, factor);
        }
#end
#end
        put_weights(shares, local);
        add_products(G_V, &dv, own, walk, head, local);
        put_weights(ds, local);
        add_products(Q_K, &dk, own, walk, head, local);
    }
#for J in 0..$R
    if (own[$J].token < args.tokens) {
#for H in 0..$CHUNKS
#for W in 0..$WIDE
        if ($H * C + $W * 16u + local.x < D) {
            let at = args.d_part + own[$J].token * args.d_row + head * D + $H * C + $W * 16u + local.x;
            grads[at] = $T(dk[$H][$W][$J] * args.scale);
            grads[args.d_part + at] = $T(dv[$H][$W][$J]);
        }
#end
#end
    }
#end
#end
}
