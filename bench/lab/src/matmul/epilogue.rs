//! with epilogue: GELU(A·B + bias) in one pass, as a layer of BERT needs it.
//!
//! Adds: the weight Bᵀ keeps its packed form from call to call; bias and GELU are applied to a
//!   tile of C before it leaves the first cache.
//! Why: nothing is packed any more, and C does not travel to memory and back for each of the two
//!   operations. The rate counts the product's operations alone: GELU comes on top.
//! Order: that of the step before; the bias is added first

use gradus_tensor::{Result, Tensor};

pub fn product(a: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(a.linear_gelu(weight, Some(bias), false)?.0)
}
