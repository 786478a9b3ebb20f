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

/// How the three gradients lie in one tensor: distance of their rows, and of one from the next.
#[derive(Clone, Copy)]
pub(crate) struct GradientLayout {
    pub(crate) row: usize,
    pub(crate) part: usize,
}
