// The softmax of every row: y[j] = e^(x[j] − m) / s, with m = max x and s = Σ e^(x − m).
//
// Shapes: x and result [rows, n], row-major. A workgroup of 64 threads handles one row. Without m
// the exponential of a large x would be infinite.

const W = 64u;

struct Arguments {
    rows: u32,
    n: u32, // elements of a row
}
var<immediate> arguments: Arguments;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

var<workgroup> lanes: array<f32, W>;

// The sum of all threads' values, for each of them. All threads must come here.
fn sum_of_row(value: f32, local: u32) -> f32 {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = W / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    let total = lanes[0];
    workgroupBarrier(); // before the next use overwrites it
    return total;
}

// The largest of all threads' values, for each of them.
fn max_of_row(value: f32, local: u32) -> f32 {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = W / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] = max(lanes[local], lanes[local + half]);
        }
        workgroupBarrier();
    }
    let largest = lanes[0];
    workgroupBarrier();
    return largest;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = group.x * arguments.n; // the row's first element
    var largest = -3.4e38;
    for (var j = local; j < arguments.n; j += W) {
        largest = max(largest, x[first + j]);
    }
    let m = max_of_row(largest, local);
    var partial = 0.0;
    for (var j = local; j < arguments.n; j += W) {
        partial += exp(x[first + j] - m);
    }
    let s = sum_of_row(partial, local);
    for (var j = local; j < arguments.n; j += W) {
        result[first + j] = exp(x[first + j] - m) / s;
    }
}
