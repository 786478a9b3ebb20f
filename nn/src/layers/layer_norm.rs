//! Layer normalisation.

use gradus_autograd::Var;
use gradus_autograd::ops::layer_norm::check_eps;
use gradus_tensor::{Result, RngKey};

use crate::{Init, Parameter, Path};

/// y = (x − mean)/√(variance + ε)·weight + bias over the last dimension (Ba et al.,
/// arXiv:1607.06450). Parameters: `weight` and `bias`, `[size]`.
pub struct LayerNorm {
    /// The factor of each element, `[size]`, at first 1.
    pub weight: Parameter,
    /// The summand of each element, `[size]`, at first 0.
    pub bias: Option<Parameter>,
    /// ε.
    pub eps: f64,
    name: String,
}

impl LayerNorm {
    /// A layer at `path` over a last dimension of `size`.
    ///
    /// ```
    /// # use gradus_nn::{LayerNorm, Store};
    /// let store = Store::new(0);
    /// LayerNorm::new(&store.root().join("LayerNorm"), 2, 1e-12)?;
    /// assert_eq!(store.get("LayerNorm.weight").unwrap().tensor().to_string(), "[1. 1.]");
    /// assert_eq!(store.get("LayerNorm.bias").unwrap().tensor().to_string(), "[0. 0.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ε is not a finite number of 0 or more.
    pub fn new(path: &Path, size: usize, eps: f64) -> Result<Self> {
        Self::with_bias(path, size, eps, true)
    }

    /// [`new`](LayerNorm::new) without the bias.
    ///
    /// ```
    /// # use gradus_nn::{LayerNorm, Store};
    /// assert!(LayerNorm::no_bias(&Store::new(0).root(), 2, 1e-5)?.bias.is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ε is not a finite number of 0 or more.
    pub fn no_bias(path: &Path, size: usize, eps: f64) -> Result<Self> {
        Self::with_bias(path, size, eps, false)
    }

    /// [`new`](LayerNorm::new) with or without the bias.
    pub(crate) fn with_bias(path: &Path, size: usize, eps: f64, bias: bool) -> Result<Self> {
        check_eps(eps).map_err(|e| e.at(path.name()))?;
        let bias = bias.then(|| path.parameter("bias", &[size], Init::Zeros));
        Ok(LayerNorm {
            weight: path.parameter("weight", &[size], Init::Ones)?,
            bias: bias.transpose()?,
            eps,
            name: path.name().to_string(),
        })
    }

    /// `x` `[…, size]` → the same shape.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerNorm, Store};
    /// # use gradus_tensor::Tensor;
    /// let norm = LayerNorm::new(&Store::new(0).root(), 2, 1e-12)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 3.0, 10.0, 50.0], &[2, 2])?);
    /// assert_eq!(norm.forward(&x)?.to_string(), "[[-1.  1.]\n [-1.  1.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(Parameter::var);
        x.layer_norm(&self.weight.var(), bias.as_ref(), self.eps).map_err(|e| e.at(&self.name))
    }

    /// [`forward`](LayerNorm::forward) of `dropout(x) + residual` in one pass, `dropout` as
    /// [`Dropout::drawn`](crate::Dropout::drawn) gives it; both `[…, size]`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerNorm, Store};
    /// # use gradus_tensor::Tensor;
    /// let norm = LayerNorm::new(&Store::new(0).root(), 2, 1e-12)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 1.0], &[2])?);
    /// let residual = Var::constant(Tensor::from_slice(&[5f32, 0.0], &[2])?);
    /// let y = norm.forward_residual(&x, &residual, None)?;
    /// assert_eq!(y.to_string(), "[ 1. -1.]"); // the norm of [6, 1]
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward_residual(
        &self,
        x: &Var,
        residual: &Var,
        dropout: Option<(f64, RngKey)>,
    ) -> Result<Var> {
        let (weight, bias) = (self.weight.var(), self.bias.as_ref().map(Parameter::var));
        x.dropout_add_layer_norm(residual, &weight, bias.as_ref(), self.eps, dropout)
            .map_err(|e| e.at(&self.name))
    }
}
