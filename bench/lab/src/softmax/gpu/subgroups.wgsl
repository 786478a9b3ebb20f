// subgroups: the tree of a subgroup is one instruction.
//
// Adds: `subgroupMax` and `subgroupAdd` join the numbers of the threads that run together; only
//   one number a subgroup goes through workgroup memory.
// Why: two barriers for each tree instead of fourteen.
// Order: each thread's elements ascending, then the subgroups, in the hardware's own order

const TILE_ROWS = 1u;
const THREADS = 128u;

struct Args { rows: u32, n: u32 }
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> lanes: array<f32, THREADS>;

@compute @workgroup_size(128)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let at = group.y * args.n;
    var largest = x[at];
    for (var i = local; i < args.n; i += THREADS) {
        largest = max(largest, x[at + i]);
    }
    largest = subgroupMax(largest);
    if (lane == 0u) {
        lanes[subgroup] = largest;
    }
    workgroupBarrier();
    var m = lanes[0];
    for (var i = 1u; i < subgroups; i++) {
        m = max(m, lanes[i]);
    }
    workgroupBarrier();
    var part = 0.0;
    for (var i = local; i < args.n; i += THREADS) {
        part += exp(x[at + i] - m);
    }
    part = subgroupAdd(part);
    if (lane == 0u) {
        lanes[subgroup] = part;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < subgroups; i++) {
        sum += lanes[i];
    }
    let scale = 1.0 / sum;
    for (var i = local; i < args.n; i += THREADS) {
        y[at + i] = exp(x[at + i] - m) * scale;
    }
}
