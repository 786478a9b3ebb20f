//! Gated linear units.

use super::unary::UnaryOp;

/// The function of the gate, which gives the unit its name (Shazeer, arXiv:2002.05202).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// GLU: the logistic function.
    Sigmoid,
    /// GEGLU: the exact GELU.
    Gelu,
    /// GEGLU with the GELU by tanh.
    GeluTanh,
    /// SwiGLU: the SiLU, also called swish.
    Silu,
    /// ReGLU.
    Relu,
}

impl Gate {
    /// Every member.
    pub const ALL: [Gate; 5] = [Gate::Sigmoid, Gate::Gelu, Gate::GeluTanh, Gate::Silu, Gate::Relu];

    /// The same function of one element.
    ///
    /// ```
    /// # use gradus_base::op::glu::Gate;
    /// assert_eq!(Gate::GeluTanh.unary().name(), "gelu_tanh");
    /// ```
    pub fn unary(self) -> UnaryOp {
        match self {
            Gate::Sigmoid => UnaryOp::Sigmoid,
            Gate::Gelu => UnaryOp::Gelu,
            Gate::GeluTanh => UnaryOp::GeluTanh,
            Gate::Silu => UnaryOp::Silu,
            Gate::Relu => UnaryOp::Relu,
        }
    }
}

/// A gated linear unit: its two halves of a row are multiplied, one of them after a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glu {
    /// The function.
    pub gate: Gate,
    /// Whether it is applied to the first half (ModernBERT's and Llama's `act(a)·b`), or to the
    /// second (PyTorch's `glu`).
    pub gate_first: bool,
}

impl Default for Glu {
    /// PyTorch's `glu`: the sigmoid of the second half.
    fn default() -> Self {
        Glu { gate: Gate::Sigmoid, gate_first: false }
    }
}
