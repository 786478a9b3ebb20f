//! Tensors that kernels take and return together.

use gradus_base::RngKey;

use crate::tensor::Tensor;

/// What [`Tensor::layer_norm`] computes: the result, and what its derivative needs again.
#[derive(Clone)]
pub struct LayerNormOutput {
    /// The normalised tensor, of the input's shape.
    pub output: Tensor,
    /// The rows' means: the input's shape without the last dimension. f32 for an input in f16.
    pub mean: Tensor,
    /// The rows' 1/√(variance + eps), of the same shape as the means.
    pub rstd: Tensor,
    /// The sum that was normalised, where there was one and it was asked for. (A GPU writes it with
    /// dropout in any case.)
    pub sum: Option<Tensor>,
}

/// What is added to the input before it is normalised, and how.
pub(crate) struct Residual<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) dropout: Option<(f64, RngKey)>,
    /// Whether the sum is to be kept.
    pub(crate) keep: bool,
}

/// Query, key and value of packed sequences: one shape `[tokens, hidden]`, checked.
#[derive(Clone, Copy)]
pub(crate) struct Sequences<'a> {
    pub(crate) q: &'a Tensor,
    pub(crate) k: &'a Tensor,
    pub(crate) v: &'a Tensor,
    /// Where each sequence begins, and the last one ends: u32 on the operands' device.
    pub(crate) offsets: &'a Tensor,
    /// The same numbers.
    pub(crate) bounds: &'a [usize],
}
