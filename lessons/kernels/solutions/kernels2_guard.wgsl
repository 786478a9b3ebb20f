// result = a·x + y, element by element.
//
// A thread computes one element. Threads come in workgroups of 64, so their number is a multiple of
// 64, and n is rarely one.

struct Arguments {
    n: u32, // elements of x, y and result
    a: f32,
}
var<immediate> arguments: Arguments;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,         // number of this workgroup: group.x
    @builtin(local_invocation_index) local: u32, // number of this thread in it: 0 to 63
) {
    let i = group.x * 64u + local;
    if (i >= arguments.n) {
        return;
    }
    result[i] = arguments.a * x[i] + y[i];
}
