//! Arithmetic of f16 and bf16 on the CPU.
//!
//! The CPU's kernels compute in f32 and f64. An operation on 16-bit operands widens them to f32, which
//! is exact, computes in f32, and rounds its result once to the nearest 16-bit number (ties to even), as
//! PyTorch does.

use gradus_base::op::layer_norm::LayerNormOutput;

use crate::{DType, Device, Result, Tensor};

/// The dtype of a 16-bit tensor of the CPU.
fn half_of(tensor: &Tensor) -> Option<DType> {
    let half = tensor.dtype().is_half() && tensor.device() == Device::Cpu;
    half.then(|| tensor.dtype())
}

/// Whether the CPU computes on this tensor by widening it.
pub(super) fn is_half(tensor: &Tensor) -> bool {
    half_of(tensor).is_some()
}

/// The tensor in f32, if it is a 16-bit tensor of the CPU; else itself.
pub(super) fn widened(tensor: &Tensor) -> Result<Tensor> {
    if is_half(tensor) { tensor.to_dtype(DType::F32) } else { Ok(tensor.clone()) }
}

/// Each [`widened`].
pub(super) fn all_widened(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    tensors.iter().map(|tensor| widened(tensor)).collect()
}

/// Calls `compute` with the operands. 16-bit operands of the CPU are widened to f32 before, and f32
/// results rounded to their dtype.
pub(super) fn in_f32<const N: usize, R: Round>(
    operands: [&Tensor; N],
    compute: impl FnOnce([&Tensor; N]) -> Result<R>,
) -> Result<R> {
    let Some(half) = operands.iter().find_map(|operand| half_of(operand)) else {
        return compute(operands);
    };
    let wide = all_widened(&operands)?;
    compute(std::array::from_fn(|i| &wide[i]))?.round(half)
}

/// Results that can be rounded to 16 bits.
pub(super) trait Round: Sized {
    /// f32 numbers in `dtype`; others (masks, indices) as they are.
    fn round(self, dtype: DType) -> Result<Self>;
}

impl Round for Tensor {
    fn round(self, dtype: DType) -> Result<Tensor> {
        if self.dtype() == DType::F32 { self.to_dtype(dtype) } else { Ok(self) }
    }
}

impl<R: Round> Round for Option<R> {
    fn round(self, dtype: DType) -> Result<Option<R>> {
        self.map(|result| result.round(dtype)).transpose()
    }
}

impl<A: Round, B: Round> Round for (A, B) {
    fn round(self, dtype: DType) -> Result<(A, B)> {
        Ok((self.0.round(dtype)?, self.1.round(dtype)?))
    }
}

impl<A: Round, B: Round, C: Round, D: Round> Round for (A, B, C, D) {
    fn round(self, dtype: DType) -> Result<(A, B, C, D)> {
        let (a, b, c, d) = self;
        Ok((a.round(dtype)?, b.round(dtype)?, c.round(dtype)?, d.round(dtype)?))
    }
}

impl Round for LayerNormOutput<Tensor> {
    /// The statistics of the rows stay in f32.
    fn round(self, dtype: DType) -> Result<Self> {
        Ok(LayerNormOutput {
            output: self.output.round(dtype)?,
            sum: self.sum.round(dtype)?,
            ..self
        })
    }
}
