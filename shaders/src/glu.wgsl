// Gated linear units of rows (a, b): y = f(a)·b, or y = a·f(b); and backward, with the half z that f is applied to and the
// other half u: dz = g·u·f'(z), du = g·f(z).
//
// Shapes: x and dx `[rows, 2·m]`, y and g `[rows, m]`, all row-major.
// One thread computes one element of y, or the two elements of dx that belong to it, in f32.

struct Args {
    numel: u32, // of y
    m: u32,
    x_offset: u32,
    g_offset: u32,
    gate: u32,  // where the gate's half begins in a row: 0 or m
    other: u32, // where the other one does
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> x: array<$T>;
#if KIND == glu
@group(0) @binding(1) var<storage, read_write> y: array<$T>;
#else
@group(0) @binding(1) var<storage, read> g: array<$T>;
@group(0) @binding(2) var<storage, read_write> dx: array<$T>;
#end

@compute @workgroup_size(256)
fn $KIND(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= args.numel) {
        return;
    }
    let row = i / args.m;
    let at = row * 2u * args.m + (i - row * args.m);
    let z = f32(x[args.x_offset + at + args.gate]);
    let u = f32(x[args.x_offset + at + args.other]);
#if KIND == glu
    y[i] = $T(op_$GATE(z) * u);
#else
    let gradient = f32(g[args.g_offset + i]);
#if GATE == relu
    // No slope at 0, and that of the inside at NaN, as PyTorch's.
    dx[at + args.gate] = $T(select(gradient * u, 0.0, z <= 0.0 && !is_nan(z)));
#else
    dx[at + args.gate] = $T(gradient * u * d_$GATE(z));
#end
    dx[at + args.other] = $T(gradient * op_$GATE(z));
#end
}
