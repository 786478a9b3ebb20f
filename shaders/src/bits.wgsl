// Tests on the bits of floats, shared by all families that handle NaN.

// Tests the bits, because a compiler may assume that `x != x` is false.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
