// Joining and padding: copies of views to their places in a larger tensor.
//
// `put`: y[place(i)] = x[i]. Operand 0 is the part x, operand 1 its place in the row-major whole y.
// `join`: several tensors without gaps, end to end. y[base + i] is element i − (the lengths before) of the
// tensor in which i falls.
// One thread moves one element. Nothing is computed.

#if ENTRY == put
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
#end

#if ENTRY == join
struct Args {
    base: u32,                 // offset in y of the first tensor
    starts: array<u32, $MANY>, // first elements
    ends: array<u32, $MANY>,   // lengths, added up
}
var<immediate> args: Args;

#for j in 0..$MANY
@group(0) @binding($j) var<storage, read> x$j: array<$T>;
#end
@group(0) @binding($MANY) var<storage, read_write> y: array<$T>;

@compute @workgroup_size(256)
fn join(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    var begin = 0u;
#for j in 0..$MANY
    if (i >= begin && i < args.ends[$j]) {
        y[args.base + i] = x$j[args.starts[$j] + i - begin];
    }
    begin = args.ends[$j];
#end
}
#end
