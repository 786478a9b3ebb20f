// Tests of the bits of floats: shared by all families that meet NaN.

// By its bits: a compiler may take it for granted that `x != x` is false.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
