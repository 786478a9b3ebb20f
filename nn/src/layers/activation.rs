//! Activation functions.

use gradus_autograd::Var;
use gradus_tensor::Result;

/// A function of every element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// x·Φ(x), exact (Hendrycks & Gimpel, arXiv:1606.08415).
    #[default]
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·sigmoid(x), also called swish.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every member.
    pub const ALL: &[Activation] = &[
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
    ];

    /// `x`, any shape → the same shape.
    pub fn forward(self, x: &Var) -> Result<Var> {
        match self {
            Activation::Gelu => x.gelu(),
            Activation::GeluTanh => x.gelu_tanh(),
            Activation::Relu => x.relu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
        }
    }
}
