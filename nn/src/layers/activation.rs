//! Activation functions, under the names that Hugging Face's `config.json` gives them
//! (`hidden_act`).

use gradus_autograd::Var;
use gradus_tensor::Result;
use serde::{Deserialize, Serialize};

/// A function of every element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Activation {
    /// `gelu`: x·Φ(x), exact (Hendrycks & Gimpel, arXiv:1606.08415).
    #[default]
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`: GELU by its tanh approximation.
    GeluTanh,
    /// `relu`: max(x, 0).
    Relu,
    /// `silu`, `swish`: x·sigmoid(x).
    Silu,
    /// `tanh`: the hyperbolic tangent.
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::Activation;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[-1f32, 1.0], &[2])?);
    /// assert_eq!(Activation::Relu.forward(&x)?.to_string(), "[0. 1.]");
    /// assert_eq!(Activation::Gelu.forward(&x)?.to_string(), "[-0.1587  0.8413]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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

impl TryFrom<String> for Activation {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        Ok(match name.as_str() {
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            "tanh" => Activation::Tanh,
            other => {
                return Err(format!(
                    "hidden_act `{other}` is not supported; use gelu, gelu_new, \
                     gelu_pytorch_tanh, relu, silu or tanh"
                ));
            }
        })
    }
}

impl From<Activation> for String {
    fn from(activation: Activation) -> String {
        match activation {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_new",
            Activation::Relu => "relu",
            Activation::Silu => "silu",
            Activation::Tanh => "tanh",
        }
        .to_string()
    }
}
