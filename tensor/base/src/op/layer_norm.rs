//! Layer normalisation: what it takes together, and what it returns.

use crate::random::RngKey;

/// The rows to normalise, and what follows, as tensors or views `V`.
#[derive(Clone, Copy)]
pub struct Operands<V> {
    /// The rows, `[…, n]`.
    pub x: V,
    /// The factors of the normalised elements, `[n]`.
    pub weight: V,
    /// What is added to them, `[n]`.
    pub bias: Option<V>,
    /// ε, which is added to the variance.
    pub eps: f64,
    /// Whether the rows keep their means (RMS norm): 0 takes the place of the mean, and the mean
    /// square that of the variance.
    pub rms: bool,
}

/// What the derivative reads again, as tensors or views `V`.
#[derive(Clone, Copy)]
pub struct Saved<V> {
    /// The rows that were normalised, `[…, n]`.
    pub x: V,
    /// The factors, `[n]`.
    pub weight: V,
    /// The rows' means, `[…]`; not read for RMS norm.
    pub mean: V,
    /// The rows' 1/√(variance + ε), `[…]`.
    pub rstd: V,
    /// As [`Operands::rms`].
    pub rms: bool,
}

/// What is added to the input before it is normalised, a tensor or view `V`, and how.
#[derive(Clone, Copy)]
pub struct Residual<V> {
    /// What is added, of the input's shape.
    pub tensor: V,
    /// Probability and key of the dropout of the input.
    pub dropout: Option<(f64, RngKey)>,
    /// Whether the sum is kept.
    pub keep: bool,
}

/// What a layer norm computes, as tensors or arrays `A`: the result, and what its derivative needs
/// again.
#[derive(Clone)]
pub struct LayerNormOutput<A> {
    /// The normalised tensor, of the input's shape.
    pub output: A,
    /// The rows' means: the input's shape without the last dimension. f32 for an input in f16.
    pub mean: A,
    /// The rows' 1/√(variance + eps), of the same shape as the means.
    pub rstd: A,
    /// The sum that was normalised, where there was one and it was asked for. (A GPU writes it with
    /// dropout in any case.)
    pub sum: Option<A>,
}
