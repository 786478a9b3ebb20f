// online: maximum and sum in one pass, and in one tree.
//
// Adds: a thread keeps the largest of its numbers and the sum that belongs to it, and scales the
//   sum whenever a larger one turns up. Two threads' pairs join in the same way.
// Why: the row is read twice instead of three times, and there is one tree with its barriers
//   instead of two.
// Order: each thread's elements ascending, then the threads by a tree, scaled whenever m grows

const TILE_ROWS = 1u;
const THREADS = 128u;

struct Args { rows: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> pairs: array<vec2<f32>, THREADS>; // a maximum, and Σ e^(x − maximum)

// Finite, so that no infinity is subtracted from another.
const LOWEST = -3.0e38;

@compute @workgroup_size(128)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group.y * args.n;
    var mine = vec2<f32>(LOWEST, 0.0);
    for (var i = local; i < args.n; i += THREADS) {
        mine = joined(mine, vec2<f32>(x[at + i], 1.0));
    }
    pairs[local] = mine;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            pairs[local] = joined(pairs[local], pairs[local + half]);
        }
        workgroupBarrier();
    }
    let all = pairs[0];
    let scale = 1.0 / all.y;
    for (var i = local; i < args.n; i += THREADS) {
        y[at + i] = exp(x[at + i] - all.x) * scale;
    }
}

fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let m = max(a.x, b.x);
    return vec2<f32>(m, a.y * exp(a.x - m) + b.y * exp(b.x - m));
}
