// Joining and padding: copies of views to their places in a larger tensor.
//
// y[place(i)] = x[i]: operand 0 is the part x, operand 1 its place in the row-major whole y.
// One thread moves one element. Nothing is computed.

@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read_write> y: array<$T>;

@compute @workgroup_size(256)
fn put(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        y[position(1u, i)] = x[position(0u, i)];
    }
}
