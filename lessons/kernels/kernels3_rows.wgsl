// The sum of every row of a matrix: result[r] = Σⱼ x[r·n + j].
//
// Shapes: x [rows, n], row-major; result [rows]. A workgroup of 64 threads handles one row. Thread t
// adds the elements t, t + 64, t + 128, …; then the 64 partial sums are added in pairs, in workgroup
// memory: 32 threads add one each, then 16, 8, 4, 2, 1.

const W = 64u;

struct Arguments {
    rows: u32,
    n: u32, // elements of a row
}
var<immediate> arguments: Arguments;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

// Seen by all threads of a workgroup. Its content is arbitrary at first.
var<workgroup> lanes: array<f32, W>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = group.x; // as many workgroups as rows
    // TODO 1: add this thread's elements of the row, and put the sum into lanes[local]
    lanes[local] = todo();
    // TODO 2: wait until every thread has done so: workgroupBarrier()
    // TODO 3: halve the number of partial sums, 32, 16, …, 1, and wait after each round
    // TODO 4: one thread writes result[row]
}
