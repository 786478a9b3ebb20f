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

/// Query, key and value of packed sequences, as tensors or views `V` of one shape:
/// `[tokens, hidden]`.
#[derive(Clone, Copy)]
pub struct Sequences<'a, V> {
    /// What asks.
    pub q: V,
    /// What is compared with it.
    pub k: V,
    /// What is averaged.
    pub v: V,
    /// Where each sequence begins, and the last one ends: u32, ascending from 0 to the number of
    /// tokens, on the device of the others.
    pub offsets: V,
    /// The same numbers.
    pub bounds: &'a [usize],
}

/// How the gradients of query, key and value lie in one tensor.
#[derive(Clone, Copy)]
pub struct GradientLayout {
    /// Distance of the rows, in elements.
    pub row: usize,
    /// Distance of one gradient from the next.
    pub part: usize,
}
