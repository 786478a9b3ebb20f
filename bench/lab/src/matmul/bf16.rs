//! bf16: operands of 16 bits, sums of 32.
//!
//! Adds: both operands are rounded to 8 significant bits, A in every call, the weight once.
//! Why: one instruction of AVX512-BF16 multiplies 32 pairs instead of 16, one of AMX 16 × 16 ×
//!   32; and half the bytes travel. What it costs is the difference: thousands of times that of
//!   f32.
//! Order: that of the instruction set

use gradus_tensor::{LowPrecision, Result, Tensor};

pub fn product(a: &Tensor, weight: &Tensor) -> Result<Tensor> {
    a.linear_low(weight, None, LowPrecision::Bf16)
}
