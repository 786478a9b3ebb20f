// y[i] = f(x[i]), and dx[i] = g[i]·f'(x[i]) for the functions whose derivative is fused.
//
// Shapes: any; x and g are strided views, y and dx are row-major.
// One thread computes one element, in f32 for every storage type.
// Numerics: only square roots and rounding are the driver's functions. The driver's others may be off by thousands of
// ulp, and be wrong at the ends of their domains. So exp, tanh and Φ are the CPU's polynomials
// (`tensor/cpu/src/math.rs`); `activations.wgsl` has the activations, `angle.wgsl` has sine and cosine, `power.wgsl` has powers.

@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read_write> y: array<$T>;
@group(0) @binding(1) var<storage, read_write> mask: array<u32>;
@group(0) @binding(1) var<storage, read> g: array<$T>;
@group(0) @binding(2) var<storage, read_write> dx: array<$T>;

fn op_neg(x: f32) -> f32 { return -x; }
fn op_abs(x: f32) -> f32 { return abs(x); }
fn op_sign(x: f32) -> f32 {
    // 0 and NaN stay themselves. (x·0 would not do: a driver may replace it by 0.)
    return select(select(x, -1.0, x < 0.0), 1.0, x > 0.0);
}
fn op_exp(x: f32) -> f32 { return exp_(x); }
fn op_log(x: f32) -> f32 { return ln_(x); }
fn op_log1p(x: f32) -> f32 {
    // Clears the last bit, because a driver may replace u − 1 by x.
    let u = bitcast<f32>(bitcast<u32>(1.0 + x) & 0xfffffffeu);
    // ln(u)·x/(u − 1) corrects the rounding of 1 + x (Kahan). Infinity would give ∞/∞.
    let corrected = select(ln_(u) * (x / (u - 1.0)), x, u == 1.0);
    return select(corrected, x, bitcast<u32>(x) == 0x7f800000u);
}
fn op_sqrt(x: f32) -> f32 { return select(sqrt(x), quiet_nan(), x < 0.0); }
fn op_rsqrt(x: f32) -> f32 { return 1.0 / op_sqrt(x); }
fn op_reciprocal(x: f32) -> f32 { return 1.0 / x; }
fn op_square(x: f32) -> f32 { return x * x; }
#if ANGLE
fn op_sin(x: f32) -> f32 { return sin_(x); }
fn op_cos(x: f32) -> f32 { return cos_(x); }
#end
fn op_tanh(x: f32) -> f32 { return tanh_(x); }
fn op_softplus(x: f32) -> f32 {
    // max(x, 0) + ln(1 + e^-|x|): no overflow on either side.
    return op_relu(x) + op_log1p(exp_(-abs(x)));
}
fn op_erf(x: f32) -> f32 { return erf_(x); }
fn op_floor(x: f32) -> f32 { return floor(x); }
fn op_ceil(x: f32) -> f32 { return ceil(x); }
fn op_round(x: f32) -> f32 { return round(x); }
fn op_affine(x: f32) -> f32 { return x * p.a + p.b; }
#if POWER
fn op_powf(x: f32) -> f32 { return pow_(x, p.a); }
#end
fn op_clamp(x: f32) -> f32 {
    let low = select(x, p.a, x < p.a);
    return select(low, p.b, low > p.b);
}

fn d_tanh(x: f32) -> f32 {
    let t = tanh_(x);
    return 1.0 - t * t;
}

@compute @workgroup_size(256)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        y[i] = $T(op_$OP(f32(x[position(0u, i)])));
    }
}

#if DERIVATIVE
@compute @workgroup_size(256)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        dx[i] = $T(f32(g[position(1u, i)]) * d_$OP(f32(x[position(0u, i)])));
    }
}
#end

// mask[i] = 1 where x[i] is NaN or infinite.
@compute @workgroup_size(256)
fn is_not_finite(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        let bits = bitcast<u32>(f32(x[position(0u, i)])) & 0x7fffffffu;
        mask[i] = select(0u, 1u, bits >= 0x7f800000u);
    }
}
