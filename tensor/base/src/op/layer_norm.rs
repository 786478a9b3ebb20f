//! Layer normalisation: what its kernels take. `T` is a tensor, or a view of one.

use crate::random::RngKey;

/// The rows to normalise, and what follows.
#[derive(Clone, Copy)]
pub struct Operands<T> {
    /// The rows, `[…, n]`.
    pub x: T,
    /// The factors of the normalised elements, `[n]`.
    pub weight: T,
    /// What is added to them, `[n]`.
    pub bias: T,
    /// ε, added to the variance.
    pub eps: f64,
}

/// What is added to the input before it is normalised, and how.
#[derive(Clone, Copy)]
pub struct Residual<T> {
    /// What is added, of the input's shape.
    pub tensor: T,
    /// Probability and key of the dropout of the input.
    pub dropout: Option<(f64, RngKey)>,
    /// Whether the derivative will need the sum.
    pub keep: bool,
}

/// What the derivative reads again.
#[derive(Clone, Copy)]
pub struct Saved<T> {
    /// The rows that were normalised, `[…, n]`.
    pub x: T,
    /// The factors, `[n]`.
    pub weight: T,
    /// The rows' means, `[…]`.
    pub mean: T,
    /// The rows' 1/√(variance + ε), `[…]`.
    pub rstd: T,
}
