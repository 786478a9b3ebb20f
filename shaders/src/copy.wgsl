// y[i] = x[i] in another order or another type, and y[i] = value.
//
// Shapes: x is a strided view; y is row-major from element `word` on (filling: from 0 on).
// One thread moves one element. Conversions round to nearest; to integers they truncate towards zero and
// saturate, and NaN becomes 0.

@group(0) @binding(0) var<storage, read> x: array<$FROM>;
@group(0) @binding(1) var<storage, read_write> y: array<$TO>;
@group(0) @binding(0) var<storage, read_write> filled: array<$TO>;

#if SATURATE
fn convert(x: $FROM) -> $TO {
#if FROM_FLOAT
    let v = f32(x);
    let whole = u32(clamp(v, 0.0, 4294967040.0));
    return select(min(select(whole, 0xffffffffu, v >= 4294967296.0), $LARGEST), 0u, is_nan(v));
#else
    return min(x, $LARGEST);
#end
}
#else
fn convert(x: $FROM) -> $TO { return $TO(x); }
#end

@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        y[p.word + i] = convert(x[position(0u, i)]);
    }
}

#if FILL
// The argument holds the bits of the value (for 16-bit floats, the value as f32).
@compute @workgroup_size(256)
fn fill(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
#if TO == f16
        filled[i] = f16(p.a);
#else
        filled[i] = bitcast<$TO>(p.word);
#end
    }
}
#end
