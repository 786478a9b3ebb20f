//! The linear layer.

use gradus_autograd::Var;
use gradus_tensor::{DType, Result, Tensor};

use super::low_rank::LowRank;
use crate::{Activation, Forward, Init, Parameter, Path};

/// y = x·Wᵀ + b: `[…, in] → […, out]`.
///
/// Parameters: `weight` `[out, in]` and `bias` `[out]`, if the layer has one. Below a path with
/// [`Lora`](crate::Lora) the layer may have a low-rank part, and its weight and bias are frozen.
pub struct Linear {
    /// The weight, `[out, in]`.
    pub weight: Parameter,
    /// The bias, `[out]`.
    pub bias: Option<Parameter>,
    low_rank: Option<LowRank>,
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
        let layer = Self::no_bias(path, inputs, outputs, init)?;
        if layer.low_rank.is_some() {
            bias.set_trainable(false);
        }
        Ok(Linear { bias: Some(bias), ..layer })
    }

    /// [`new`](Linear::new) or [`no_bias`](Linear::no_bias).
    pub(crate) fn with_bias(
        path: &Path,
        inputs: usize,
        outputs: usize,
        init: Init,
        bias: bool,
    ) -> Result<Self> {
        let make = if bias { Self::new } else { Self::no_bias };
        make(path, inputs, outputs, init)
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
        let low_rank = LowRank::at(path, inputs, outputs)?;
        if low_rank.is_some() {
            weight.set_trainable(false);
        }
        Ok(Linear { weight, bias: None, low_rank, name: path.name().to_string() })
    }

    /// `x` `[…, in]` → `[…, out]`. A low-rank part drops nothing here; see
    /// [`forward_in`](Linear::forward_in).
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
        self.forward_in(x, &Forward::inference())
    }

    /// [`forward`](Linear::forward) in a pass of training, which draws the dropout of a low-rank
    /// part.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Forward, Init, Linear, Lora, Store};
    /// # use gradus_tensor::Tensor;
    /// let root = Store::new(0).root();
    /// root.adapt(Lora { rank: 1, alpha: 2.0, targets: vec!["layer".into()], ..Lora::default() })?;
    /// let layer = Linear::no_bias(&root.join("layer"), 2, 1, Init::Ones)?;
    /// let part = |name: &str| root.store().get(&format!("layer.{name}.weight")).unwrap();
    /// part("lora_A").set(Tensor::from_slice(&[3f32, 4.0], &[1, 2])?)?;
    /// part("lora_B").set(Tensor::from_slice(&[10f32], &[1, 1])?)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let y = layer.forward_in(&x, &Forward::training(0, 1))?; // 1 + 2 + 2·10·(3·1 + 4·2)
    /// assert_eq!(y.to_string(), "[[223.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward_in(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let bias = self.bias.as_ref().map(Parameter::var);
        let sum = || {
            let y = x.linear(&self.weight.var(), bias.as_ref())?;
            match &self.low_rank {
                None => Ok(y),
                Some(part) => y.add(&part.forward(x, forward)?),
            }
        };
        sum().map_err(|e: gradus_tensor::Error| e.at(&self.name))
    }

    /// Several layers of one input, all with a bias or all without, side by side in one product:
    /// `x` `[…, in]` → `[…, Σout]`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Forward, Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let root = Store::new(0).root();
    /// let sum = Linear::new(&root.join("sum"), 2, 1, Init::Ones)?;
    /// let none = Linear::new(&root.join("none"), 2, 1, Init::Zeros)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let y = Linear::forward_cat(&[&sum, &none], &x, &Forward::inference())?;
    /// assert_eq!(y.to_string(), "[[3. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`forward`](Linear::forward) of each; the message names the first.
    pub fn forward_cat(layers: &[&Linear], x: &Var, forward: &Forward) -> Result<Var> {
        let weights: Vec<Var> = layers.iter().map(|layer| layer.weight.var()).collect();
        let biases: Vec<Var> =
            layers.iter().filter_map(|layer| layer.bias.as_ref().map(Parameter::var)).collect();
        let sum = || {
            let (weights, biases): (Vec<_>, Vec<_>) =
                (weights.iter().collect(), biases.iter().collect());
            let y = x.linear_cat(&weights, &biases)?;
            match layers.iter().any(|layer| layer.low_rank.is_some()) {
                false => Ok(y),
                true => y.add(&low_rank_cat(layers, x, y.dtype(), forward)?),
            }
        };
        let name = layers.first().map_or("", |layer| &layer.name);
        sum().map_err(|e: gradus_tensor::Error| e.at(name))
    }

    /// [`forward`](Linear::forward), then `activation`; GELU in the same pass.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Activation, Forward, Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let layer = Linear::no_bias(&Store::new(0).root(), 2, 1, Init::Ones)?;
    /// let x = Var::constant(Tensor::from_slice(&[-1f32, -2.0], &[1, 2])?);
    /// let y = layer.forward_then(&x, Activation::Relu, &Forward::inference())?;
    /// assert_eq!(y.to_string(), "[[0.]]"); // of −3
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward_then(&self, x: &Var, activation: Activation, forward: &Forward) -> Result<Var> {
        if activation != Activation::Gelu || self.low_rank.is_some() {
            return activation.forward(&self.forward_in(x, forward)?);
        }
        let bias = self.bias.as_ref().map(Parameter::var);
        x.linear_gelu(&self.weight.var(), bias.as_ref()).map_err(|e| e.at(&self.name))
    }
}

/// The low-rank parts of layers side by side, zeros for a layer without one: `[…, Σout]`.
fn low_rank_cat(layers: &[&Linear], x: &Var, dtype: DType, forward: &Forward) -> Result<Var> {
    let part = |layer: &&Linear| match &layer.low_rank {
        Some(part) => part.forward(x, forward),
        None => {
            let mut shape = x.shape().to_vec();
            if let Some(last) = shape.last_mut() {
                *last = layer.weight.shape()[0];
            }
            Ok(Var::constant(Tensor::zeros_on(&shape, dtype, x.tensor().device())?))
        }
    };
    let parts = layers.iter().map(part).collect::<Result<Vec<Var>>>()?;
    Var::cat(&parts.iter().collect::<Vec<_>>(), -1)
}
