//! Scaled dot-product attention over packed sequences.

use crate::random::RngKey;

/// How to attend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Number of heads; the hidden size is a multiple of it.
    pub heads: usize,
    /// Factor of the scores, usually 1/√(hidden/heads).
    pub scale: f64,
    /// Probability and key of the dropout on the attention probabilities.
    pub dropout: Option<(f64, RngKey)>,
}

/// How the gradients of query, key and value lie in one tensor.
#[derive(Clone, Copy)]
pub struct GradientLayout {
    /// Distance of the rows, in elements.
    pub row: usize,
    /// Distance of one gradient from the next.
    pub part: usize,
}
