// online softmax: a thread a query, and no score in memory (FlashAttention, arXiv:2205.14135).
//
// Adds: a query keeps the largest score so far, the sum that belongs to it, and its row of O, which
//   is scaled whenever a larger score turns up. It leaves L = ln Σ eˢ and D = Σ dO·O. The passes
//   back compute each score again: P = e^(S − L).
// Why: what goes through memory grows with n, no longer with n². Each score is computed three times
//   instead of once, which arithmetic can afford more easily than memory.
// Order: ascending, one sum, scaled whenever a larger score turns up

const TILE_ROWS = 64u;
const TILE_COLUMNS = 1u;
const MOST_D = 128u; // numbers of a token, at most: a thread keeps a row

struct Args { heads: u32, n: u32, d: u32, scale: f32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
@group(0) @binding(5) var<storage, read_write> dq: array<f32>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@group(0) @binding(8) var<storage, read_write> rows: array<f32>; // L and D, [heads, n, 2]

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    if (i >= args.n) {
        return;
    }
    let first = group.x * args.n;
    let at = (first + i) * args.d;
    var out: array<f32, MOST_D>;
    var m = -3.0e38;
    var sum = 0.0;
    for (var j = 0u; j < args.n; j++) {
        let key = (first + j) * args.d;
        let score = score_of(at, key);
        let higher = max(m, score);
        let fade = exp(m - higher);
        let p = exp(score - higher);
        m = higher;
        sum = sum * fade + p;
        for (var c = 0u; c < args.d; c++) {
            out[c] = out[c] * fade + p * v[key + c];
        }
    }
    var dot = 0.0;
    for (var c = 0u; c < args.d; c++) {
        o[at + c] = out[c] / sum;
        dot += g[at + c] * o[at + c];
    }
    rows[2u * (first + i)] = m + log(sum);
    rows[2u * (first + i) + 1u] = dot;
}

@compute @workgroup_size(64)
fn queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    if (i >= args.n) {
        return;
    }
    let first = group.x * args.n;
    let at = (first + i) * args.d;
    var sums: array<f32, MOST_D>;
    for (var j = 0u; j < args.n; j++) {
        let key = (first + j) * args.d;
        let ds = slopes(first + i, first + j).y;
        for (var c = 0u; c < args.d; c++) {
            sums[c] += ds * k[key + c];
        }
    }
    for (var c = 0u; c < args.d; c++) {
        dq[at + c] = sums[c];
    }
}

@compute @workgroup_size(64)
fn keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let j = group.y * TILE_ROWS + local;
    if (j >= args.n) {
        return;
    }
    let first = group.x * args.n;
    let at = (first + j) * args.d;
    var key: array<f32, MOST_D>;
    var value: array<f32, MOST_D>;
    for (var i = 0u; i < args.n; i++) {
        let query = (first + i) * args.d;
        let both = slopes(first + i, first + j);
        for (var c = 0u; c < args.d; c++) {
            key[c] += both.y * q[query + c];
            value[c] += both.x * g[query + c];
        }
    }
    for (var c = 0u; c < args.d; c++) {
        dk[at + c] = key[c];
        dv[at + c] = value[c];
    }
}

// The score of the query and the key whose rows begin there.
fn score_of(query: u32, key: u32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < args.d; c++) {
        sum += q[query + c] * k[key + c];
    }
    return sum * args.scale;
}

// P and dS of two tokens.
fn slopes(query: u32, key: u32) -> vec2<f32> {
    let p = exp(score_of(query * args.d, key * args.d) - rows[2u * query]);
    var dp = 0.0;
    for (var c = 0u; c < args.d; c++) {
        dp += g[query * args.d + c] * v[key * args.d + c];
    }
    return vec2<f32>(p, p * (dp - rows[2u * query + 1u]) * args.scale);
}
