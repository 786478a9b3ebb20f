//! Rotary position embedding.

/// Which columns of `[tokens, width]` are rotated, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotary {
    /// How many heads are rotated, from the first column on: of query, key and value side by side
    /// twice the heads of attention. What comes after them stays.
    pub heads: usize,
    /// Elements of a head.
    pub head_size: usize,
    /// Whether by the negative angles: the inverse, which is also the derivative.
    pub inverse: bool,
}
