// scores in memory: two matrices of n × n a head, a thread a row of them.
//
// Adds: nothing yet. `forward` writes P = softmax(Q·Kᵀ·scale) row by row, and O = P·V; `slopes`
//   writes dP = dO·Vᵀ and D = Σ dP·P; with dS = P·(dP − D)·scale, `queries` sums dQ = dS·K, and
//   `keys`, a thread a key, dV = Pᵀ·dO and dK = dSᵀ·Q.
// Why: slow, because each number of P and dP is written once and read many times, and the numbers
//   that neighbouring threads read lie a row apart. Its memory grows with the square of the length.
// Order: ascending, one sum

const TILE_ROWS = 64u; // tokens
const TILE_COLUMNS = 1u; // heads

struct Args { heads: u32, n: u32, d: u32, scale: f32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> q: array<f32>;        // [heads, n, d]
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;        // dO
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
@group(0) @binding(5) var<storage, read_write> dq: array<f32>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@group(0) @binding(8) var<storage, read_write> rows: array<f32>; // D, [heads, n]
@group(0) @binding(9) var<storage, read_write> p: array<f32>;  // [heads, n, n]
@group(0) @binding(10) var<storage, read_write> dp: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    if (i >= args.n) {
        return;
    }
    let first = group.x * args.n; // the head's first token
    let at = (first + i) * args.d;
    let row = (first + i) * args.n;
    var m = -3.0e38;
    for (var j = 0u; j < args.n; j++) {
        var score = 0.0;
        for (var c = 0u; c < args.d; c++) {
            score += q[at + c] * k[(first + j) * args.d + c];
        }
        p[row + j] = score * args.scale;
        m = max(m, p[row + j]);
    }
    var sum = 0.0;
    for (var j = 0u; j < args.n; j++) {
        p[row + j] = exp(p[row + j] - m);
        sum += p[row + j];
    }
    for (var j = 0u; j < args.n; j++) {
        p[row + j] /= sum;
    }
    for (var c = 0u; c < args.d; c++) {
        var out = 0.0;
        for (var j = 0u; j < args.n; j++) {
            out += p[row + j] * v[(first + j) * args.d + c];
        }
        o[at + c] = out;
    }
}

@compute @workgroup_size(64)
fn slopes(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    if (i >= args.n) {
        return;
    }
    let first = group.x * args.n;
    let row = (first + i) * args.n;
    var dot = 0.0;
    for (var j = 0u; j < args.n; j++) {
        var slope = 0.0;
        for (var c = 0u; c < args.d; c++) {
            slope += g[(first + i) * args.d + c] * v[(first + j) * args.d + c];
        }
        dp[row + j] = slope;
        dot += slope * p[row + j];
    }
    rows[first + i] = dot;
}

@compute @workgroup_size(64)
fn queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = group.y * TILE_ROWS + local;
    if (i >= args.n) {
        return;
    }
    let first = group.x * args.n;
    for (var c = 0u; c < args.d; c++) {
        var sum = 0.0;
        for (var j = 0u; j < args.n; j++) {
            sum += ds(first, i, j) * k[(first + j) * args.d + c];
        }
        dq[(first + i) * args.d + c] = sum;
    }
}

@compute @workgroup_size(64)
fn keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let j = group.y * TILE_ROWS + local;
    if (j >= args.n) {
        return;
    }
    let first = group.x * args.n;
    for (var c = 0u; c < args.d; c++) {
        var key = 0.0;
        var value = 0.0;
        for (var i = 0u; i < args.n; i++) {
            let query = (first + i) * args.d + c;
            key += ds(first, i, j) * q[query];
            value += p[(first + i) * args.n + j] * g[query];
        }
        dk[(first + j) * args.d + c] = key;
        dv[(first + j) * args.d + c] = value;
    }
}

// The gradient of the score of query i and key j.
fn ds(first: u32, i: u32, j: u32) -> f32 {
    let at = (first + i) * args.n + j;
    return p[at] * (dp[at] - rows[first + i]) * args.scale;
}
