// y[i] = f(a[i], b[i]), comparisons, `where`, and the in-place sums.
//
// Shapes: a and b are strided views under one shape (a stride of 0 broadcasts), y is row-major.
// One thread computes one element. Floats are computed in f32; integers wrap around; u8 lies in
// 32-bit words and is truncated to 8 bits.

@group(0) @binding(0) var<storage, read> a: array<$T>;
@group(0) @binding(1) var<storage, read> b: array<$T>;
@group(0) @binding(2) var<storage, read_write> y: array<$T>;
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
@group(0) @binding(2) var<storage, read> condition: array<u32>;
@group(0) @binding(3) var<storage, read_write> chosen: array<$T>;
@group(0) @binding(1) var<storage, read_write> sum: array<$T>;
@group(0) @binding(0) var<storage, read_write> scaled: array<$T>;

#if FLOAT
fn op_add(a: f32, b: f32) -> f32 { return a + b; }
fn op_sub(a: f32, b: f32) -> f32 { return a - b; }
fn op_mul(a: f32, b: f32) -> f32 { return a * b; }
fn op_div(a: f32, b: f32) -> f32 { return a / b; }
#if POWER
fn op_pow(a: f32, b: f32) -> f32 { return pow_(a, b); }
#end
fn op_maximum(a: f32, b: f32) -> f32 { return select(b, a, a > b || is_nan(a)); }
fn op_minimum(a: f32, b: f32) -> f32 { return select(b, a, a < b || is_nan(a)); }
fn nan(a: f32) -> bool { return is_nan(a); }
#else
fn op_add(a: u32, b: u32) -> u32 { return (a + b) & $BITS; }
fn op_sub(a: u32, b: u32) -> u32 { return (a - b) & $BITS; }
fn op_mul(a: u32, b: u32) -> u32 { return (a * b) & $BITS; }
fn op_div(a: u32, b: u32) -> u32 { return select(a / max(b, 1u), 0u, b == 0u); }
fn op_maximum(a: u32, b: u32) -> u32 { return max(a, b); }
fn op_minimum(a: u32, b: u32) -> u32 { return min(a, b); }
fn nan(a: u32) -> bool { return false; }
#end

// Comparisons with NaN are false, except `ne`.
fn ordered(a: $C, b: $C) -> bool { return !nan(a) && !nan(b); }
fn op_eq(a: $C, b: $C) -> bool { return a == b && ordered(a, b); }
fn op_ne(a: $C, b: $C) -> bool { return a != b || !ordered(a, b); }
fn op_lt(a: $C, b: $C) -> bool { return a < b && ordered(a, b); }
fn op_le(a: $C, b: $C) -> bool { return a <= b && ordered(a, b); }
fn op_gt(a: $C, b: $C) -> bool { return a > b && ordered(a, b); }
fn op_ge(a: $C, b: $C) -> bool { return a >= b && ordered(a, b); }

#if KIND == binary
@compute @workgroup_size(256)
fn binary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        y[i] = $T(op_$OP($C(a[position(0u, i)]), $C(b[position(1u, i)])));
    }
}
#end

#if KIND == compare
@compute @workgroup_size(256)
fn compare(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        mask[i] = select(0u, 1u, op_$OP($C(a[position(0u, i)]), $C(b[position(1u, i)])));
    }
}
#end

#if KIND == where
// chosen[i] = a[i] where condition[i] is not 0, else b[i].
@compute @workgroup_size(256)
fn where_(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        chosen[i] = select(b[position(1u, i)], a[position(0u, i)], condition[position(2u, i)] != 0u);
    }
}
#end

#if KIND == in_place
// sum[i] += alpha·a[i]; sum is row-major from element `word` on.
@compute @workgroup_size(256)
fn add_(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        let at = p.word + i;
        sum[at] = $T(f32(sum[at]) + p.a * f32(a[position(0u, i)]));
    }
}

// scaled[i] *= factor.
@compute @workgroup_size(256)
fn mul_scalar_(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        let at = p.word + i;
        scaled[at] = $T(f32(scaled[at]) * p.a);
    }
}
#end
