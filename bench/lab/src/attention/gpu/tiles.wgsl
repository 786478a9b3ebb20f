// tiles in workgroup memory: 64 threads read 16 tokens together.
//
// Adds: the rows of 16 keys and their values (in `keys`: of 16 queries and their gradients) are
//   loaded into workgroup memory, each number by one thread, and serve all 64. A thread's own rows
//   stay with it for the whole walk.
// Why: a number of K comes from memory once for 64 queries instead of for each of them, and
//   neighbouring threads load neighbouring numbers.
// Order: ascending, one sum, scaled whenever a larger score turns up

const TILE_ROWS = 64u;
const TILE_COLUMNS = 1u;
const MOST_D = 128u;
const TOKENS = 16u;

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

// [TOKENS, d]: keys and values, or queries and their gradients.
var<workgroup> tile_a: array<f32, TOKENS * MOST_D>;
var<workgroup> tile_b: array<f32, TOKENS * MOST_D>;

// The thread's own rows: a query and its gradient, or a key and its value.
var<private> own_a: array<f32, MOST_D>;
var<private> own_b: array<f32, MOST_D>;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    let first = group.x * args.n;
    let at = (first + min(i, args.n - 1u)) * args.d; // all threads load and wait, also those beyond
    own_queries(at);
    var out: array<f32, MOST_D>;
    var m = -3.0e38;
    var sum = 0.0;
    for (var j = 0u; j < args.n; j += TOKENS) {
        load_keys(first, j, local);
        for (var t = 0u; t < min(TOKENS, args.n - j); t++) {
            let score = product(t) * args.scale;
            let higher = max(m, score);
            let fade = exp(m - higher);
            let p = exp(score - higher);
            m = higher;
            sum = sum * fade + p;
            for (var c = 0u; c < args.d; c++) {
                out[c] = out[c] * fade + p * tile_b[t * args.d + c];
            }
        }
    }
    if (i < args.n) {
        var dot = 0.0;
        for (var c = 0u; c < args.d; c++) {
            o[at + c] = out[c] / sum;
            dot += own_b[c] * o[at + c];
        }
        rows[2u * (first + i)] = m + log(sum);
        rows[2u * (first + i) + 1u] = dot;
    }
}

@compute @workgroup_size(64)
fn queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    let first = group.x * args.n;
    let token = first + min(i, args.n - 1u);
    own_queries(token * args.d);
    var sums: array<f32, MOST_D>;
    for (var j = 0u; j < args.n; j += TOKENS) {
        load_keys(first, j, local);
        for (var t = 0u; t < min(TOKENS, args.n - j); t++) {
            let ds = slopes(products(t), token).y;
            for (var c = 0u; c < args.d; c++) {
                sums[c] += ds * tile_a[t * args.d + c];
            }
        }
    }
    if (i < args.n) {
        for (var c = 0u; c < args.d; c++) {
            dq[token * args.d + c] = sums[c];
        }
    }
}

@compute @workgroup_size(64)
fn keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let j = group.y * TILE_ROWS + local;
    let first = group.x * args.n;
    let at = (first + min(j, args.n - 1u)) * args.d;
    for (var c = 0u; c < args.d; c++) {
        own_a[c] = k[at + c];
        own_b[c] = v[at + c];
    }
    var key: array<f32, MOST_D>;
    var value: array<f32, MOST_D>;
    for (var i = 0u; i < args.n; i += TOKENS) {
        load_queries(first, i, local);
        for (var t = 0u; t < min(TOKENS, args.n - i); t++) {
            let both = slopes(products(t), first + i + t);
            for (var c = 0u; c < args.d; c++) {
                key[c] += both.y * tile_a[t * args.d + c];
                value[c] += both.x * tile_b[t * args.d + c];
            }
        }
    }
    if (j < args.n) {
        for (var c = 0u; c < args.d; c++) {
            dk[at + c] = key[c];
            dv[at + c] = value[c];
        }
    }
}

fn own_queries(at: u32) {
    for (var c = 0u; c < args.d; c++) {
        own_a[c] = q[at + c];
        own_b[c] = g[at + c];
    }
}

// Loads the keys and values of up to 16 tokens of a head, when all threads are done with the last.
fn load_keys(first: u32, token: u32, local: u32) {
    workgroupBarrier();
    for (var c = local; c < min(TOKENS, args.n - token) * args.d; c += TILE_ROWS) {
        tile_a[c] = k[(first + token) * args.d + c];
        tile_b[c] = v[(first + token) * args.d + c];
    }
    workgroupBarrier();
}

// The same of queries and their gradients.
fn load_queries(first: u32, token: u32, local: u32) {
    workgroupBarrier();
    for (var c = local; c < min(TOKENS, args.n - token) * args.d; c += TILE_ROWS) {
        tile_a[c] = q[(first + token) * args.d + c];
        tile_b[c] = g[(first + token) * args.d + c];
    }
    workgroupBarrier();
}

// Q·K of the thread's own token and token t of the tile.
fn product(t: u32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < args.d; c++) {
        sum += own_a[c] * tile_a[t * args.d + c];
    }
    return sum;
}

// Q·K and dO·V of these two.
fn products(t: u32) -> vec2<f32> {
    var sum = 0.0;
    for (var c = 0u; c < args.d; c++) {
        sum += own_b[c] * tile_b[t * args.d + c];
    }
    return vec2<f32>(product(t), sum);
}

// P and dS from these products.
fn slopes(products: vec2<f32>, query: u32) -> vec2<f32> {
    let p = exp(products.x * args.scale - rows[2u * query]);
    return vec2<f32>(p, p * (products.y - rows[2u * query + 1u]) * args.scale);
}
