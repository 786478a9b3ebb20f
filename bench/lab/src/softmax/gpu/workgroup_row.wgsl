// workgroup a row: 128 threads share a row.
//
// Adds: thread t takes elements t, t + 128, …; its maximum and its sum are joined with the
//   others' by a tree in workgroup memory: half of the threads add the other half's numbers, then a
//   quarter, and so on.
// Why: neighbouring threads read neighbouring numbers, and there are 128 times as many of them.
// Order: each thread's elements ascending, then the threads by a tree

const TILE_ROWS = 1u;
const THREADS = 128u;

struct Args { rows: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> lanes: array<f32, THREADS>;

@compute @workgroup_size(128)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group.y * args.n;
    var largest = x[at];
    for (var i = local; i < args.n; i += THREADS) {
        largest = max(largest, x[at + i]);
    }
    let m = max_of_all(largest, local);
    var part = 0.0;
    for (var i = local; i < args.n; i += THREADS) {
        part += exp(x[at + i] - m);
    }
    let scale = 1.0 / sum_of_all(part, local);
    for (var i = local; i < args.n; i += THREADS) {
        y[at + i] = exp(x[at + i] - m) * scale;
    }
}

fn sum_of_all(value: f32, local: u32) -> f32 {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    let all = lanes[0];
    workgroupBarrier(); // before the next use overwrites it
    return all;
}

fn max_of_all(value: f32, local: u32) -> f32 {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] = max(lanes[local], lanes[local + half]);
        }
        workgroupBarrier();
    }
    let all = lanes[0];
    workgroupBarrier();
    return all;
}
