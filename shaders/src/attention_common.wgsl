// Shared by attention's entry points: arguments, buffers, what a token sees, the score of a pair, dropout.

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
    threads: u32,
    piece: u32,
    d_row: u32,
    d_part: u32,
    before: u32, // tokens before the row's that the walk takes, at most
    ahead: u32,  // the row's own and those after it
    bias_start: u32,
    reach: u32,
}
var<immediate> args: Args;

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

// A token of the workgroup's own.
struct Row {
    token: u32,
    start: u32, // where its sequence begins
    seen: vec2<u32>, // the tokens that the walk takes for it, from x to before y
}

// The tokens of a sequence that the walk takes for a row's token.
fn seen_of(token: u32, sequence: vec2<u32>) -> vec2<u32> {
    let before = min(token - sequence.x, args.before);
    return vec2<u32>(token - before, token + min(sequence.y - token, args.ahead));
}

// A row beyond the last token sees nothing.
fn row_of(token: u32) -> Row {
    if (token >= args.tokens) {
        return Row(token, 0u, vec2<u32>(0u));
    }
    let sequence = sequence_of(token);
    return Row(token, sequence.x, seen_of(token, sequence));
}

fn sees(row: Row, token: u32) -> bool {
    return token >= row.seen.x && token < row.seen.y;
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

// P of a query and a key, from the product and from L.
fn probability(product: f32, head: u32, query: u32, key: u32, l: f32) -> f32 {
    return exp_(score_of(product, head, query, key) - l);
}

fn dropped(x: f32, factor: f32) -> f32 {
    return select(0.0, x * factor, factor != 0.0);
}
