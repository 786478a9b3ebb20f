//! The linear layer.

use gradus_autograd::Var;
use gradus_tensor::Result;

use crate::{Activation, Init, Parameter, Path};

/// y = x·Wᵀ + b: `[…, in] → […, out]`.
///
/// Parameters: `weight` `[out, in]` and, unless made without, `bias` `[out]`.
pub struct Linear {
    /// The weight, `[out, in]`.
    pub weight: Parameter,
    /// The bias, `[out]`.
    pub bias: Option<Parameter>,
    name: String,
}

impl Linear {
    /// A layer at `path`; the weight begins by `init`, the bias at 0 (PyTorch's default would be
    /// `Init::KaimingUniform { a: 5f64.sqrt() }`).
    pub fn new(path: &Path, inputs: usize, outputs: usize, init: Init) -> Result<Self> {
        let bias = path.parameter("bias", &[outputs], Init::Zeros)?;
        Ok(Linear { bias: Some(bias), ..Self::no_bias(path, inputs, outputs, init)? })
    }

    /// A layer at `path` without a bias.
    pub fn no_bias(path: &Path, inputs: usize, outputs: usize, init: Init) -> Result<Self> {
        let weight = path.parameter("weight", &[outputs, inputs], init)?;
        Ok(Linear { weight, bias: None, name: path.name().to_string() })
    }

    /// `x` `[…, in]` → `[…, out]`.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(Parameter::var);
        x.linear(&self.weight.var(), bias.as_ref()).map_err(|e| e.at(&self.name))
    }

    /// Several layers of one input, all with a bias or all without, side by side in one product:
    /// `x` `[…, in]` → `[…, Σout]`.
    ///
    /// # Errors
    /// As [`forward`](Linear::forward) of each; the message names the first.
    pub fn forward_cat(layers: &[&Linear], x: &Var) -> Result<Var> {
        let weights: Vec<Var> = layers.iter().map(|layer| layer.weight.var()).collect();
        let biases: Vec<Var> =
            layers.iter().filter_map(|layer| layer.bias.as_ref().map(Parameter::var)).collect();
        let y =
            x.linear_cat(&weights.iter().collect::<Vec<_>>(), &biases.iter().collect::<Vec<_>>());
        y.map_err(|e| e.at(layers.first().map_or("", |layer| &layer.name)))
    }

    /// [`forward`](Linear::forward), then `activation`; GELU in the same pass.
    pub fn forward_then(&self, x: &Var, activation: Activation) -> Result<Var> {
        if activation != Activation::Gelu {
            return activation.forward(&self.forward(x)?);
        }
        let bias = self.bias.as_ref().map(Parameter::var);
        x.linear_gelu(&self.weight.var(), bias.as_ref()).map_err(|e| e.at(&self.name))
    }
}
