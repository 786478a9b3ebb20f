//! The linear layer.

use gradus_autograd::Var;
use gradus_tensor::Result;

use crate::{Activation, Init, Parameter, Path};

/// y = x·Wᵀ + b: `[…, in] → […, out]`.
///
/// Parameters: `weight` `[out, in]` and `bias` `[out]`, if the layer has one.
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
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// let store = Store::new(0);
    /// let layer = Linear::new(&store.root().join("classifier"), 3, 2, Init::XavierUniform)?;
    /// assert_eq!(layer.weight.shape(), [2, 3]);
    /// assert_eq!(store.get("classifier.bias").unwrap().shape(), [2]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn new(path: &Path, inputs: usize, outputs: usize, init: Init) -> Result<Self> {
        let bias = path.parameter("bias", &[outputs], Init::Zeros)?;
        Ok(Linear { bias: Some(bias), ..Self::no_bias(path, inputs, outputs, init)? })
    }

    /// A layer at `path` without a bias.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// let layer = Linear::no_bias(&Store::new(0).root(), 3, 2, Init::XavierUniform)?;
    /// assert!(layer.bias.is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn no_bias(path: &Path, inputs: usize, outputs: usize, init: Init) -> Result<Self> {
        let weight = path.parameter("weight", &[outputs, inputs], init)?;
        Ok(Linear { weight, bias: None, name: path.name().to_string() })
    }

    /// `x` `[…, in]` → `[…, out]`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let layer = Linear::new(&Store::new(0).root(), 2, 1, Init::Ones)?;
    /// layer.bias.as_ref().unwrap().set(Tensor::from_slice(&[10f32], &[1])?)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(layer.forward(&x)?.to_string(), "[[13.]\n [17.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(Parameter::var);
        x.linear(&self.weight.var(), bias.as_ref()).map_err(|e| e.at(&self.name))
    }

    /// Several layers of one input, all with a bias or all without, side by side in one product:
    /// `x` `[…, in]` → `[…, Σout]`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let root = Store::new(0).root();
    /// let sum = Linear::new(&root.join("sum"), 2, 1, Init::Ones)?;
    /// let none = Linear::new(&root.join("none"), 2, 1, Init::Zeros)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// assert_eq!(Linear::forward_cat(&[&sum, &none], &x)?.to_string(), "[[3. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Activation, Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let layer = Linear::no_bias(&Store::new(0).root(), 2, 1, Init::Ones)?;
    /// let x = Var::constant(Tensor::from_slice(&[-1f32, -2.0], &[1, 2])?);
    /// assert_eq!(layer.forward_then(&x, Activation::Relu)?.to_string(), "[[0.]]"); // of −3
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward_then(&self, x: &Var, activation: Activation) -> Result<Var> {
        if activation != Activation::Gelu {
            return activation.forward(&self.forward(x)?);
        }
        let bias = self.bias.as_ref().map(Parameter::var);
        x.linear_gelu(&self.weight.var(), bias.as_ref()).map_err(|e| e.at(&self.name))
    }
}
