// The activations of feed-forward layers and their derivatives, shared by the families `unary` and `glu`.
// They need `math.wgsl`.

fn op_sigmoid(x: f32) -> f32 {
    // e^−|x| never overflows, so small results keep their digits.
    let e = exp_(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}
fn op_gelu(x: f32) -> f32 { return gelu(x); }
fn op_gelu_tanh(x: f32) -> f32 {
    return 0.5 * x * (1.0 + tanh_(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
fn op_relu(x: f32) -> f32 { return select(0.0, x, x > 0.0 || is_nan(x)); }
fn op_silu(x: f32) -> f32 { return x * op_sigmoid(x); }

fn d_gelu(x: f32) -> f32 {
    let n = normal(x);
    return n.x + x * n.y;
}
fn d_gelu_tanh(x: f32) -> f32 {
    let t = tanh_(0.7978845608028654 * (x + 0.044715 * x * x * x));
    let du = 0.7978845608028654 * (1.0 + 0.134145 * x * x);
    // Far from 0 t is ±1, and x² may be infinite. The slope at an infinite x is NaN, as in PyTorch.
    let none = select(0.0, quiet_nan(), (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u);
    let slope = select((1.0 - t * t) * (0.5 * x * du), none, t * t == 1.0);
    return 0.5 * (1.0 + t) + slope;
}
fn d_silu(x: f32) -> f32 {
    let s = op_sigmoid(x);
    return s + x * s * (1.0 - s);
}
fn d_sigmoid(x: f32) -> f32 {
    let s = op_sigmoid(x);
    return s * (1.0 - s);
}
