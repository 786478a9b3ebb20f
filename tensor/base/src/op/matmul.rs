//! Matrix products: in what they are computed.

/// In what the products of a linear layer are computed; see `Tensor::linear_low`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowPrecision {
    /// Weights in 8 bits, inputs in 8 or 16.
    Int8,
    /// Both in bf16.
    Bf16,
}
