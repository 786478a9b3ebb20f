//! cooperative: operands of f16, multiplied as whole fragments by the GPU's matrix units.
//!
//! Adds: a subgroup holds fragments of 16×16 (or 8×8) together, and one instruction multiplies
//!   two of them.
//! Why: these units make many times the multiply-adds of ordinary ones. The operands lose bits:
//!   f16 has 11.
//! Order: fragments ascending in k; the hardware's own within one

use gradus_tensor::{DType, Result, Tensor};

pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.matmul_out_dtype(b, DType::F32)
}
