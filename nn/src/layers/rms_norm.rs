//! RMS norm.

use gradus_autograd::Var;
use gradus_autograd::ops::layer_norm::check_eps;
use gradus_tensor::{Result, RngKey};

use crate::{Init, Parameter, Path};

/// y = x/√(mean(x²) + ε)·weight over the last dimension (Zhang & Sennrich, arXiv:1910.07467).
/// Parameter: `weight`, `[size]`.
pub struct RmsNorm {
    /// The factor of each element, `[size]`, at first 1.
    pub weight: Parameter,
    /// ε.
    pub eps: f64,
    name: String,
}

impl RmsNorm {
    /// A layer at `path` over a last dimension of `size`.
    ///
    /// ```
    /// # use gradus_nn::{RmsNorm, Store};
    /// let store = Store::new(0);
    /// RmsNorm::new(&store.root().join("norm"), 2, 1e-6)?;
    /// assert_eq!(store.get("norm.weight").unwrap().tensor().to_string(), "[1. 1.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ε is not a finite number of 0 or more.
    pub fn new(path: &Path, size: usize, eps: f64) -> Result<Self> {
        check_eps(eps).map_err(|e| e.at(path.name()))?;
        let weight = path.parameter("weight", &[size], Init::Ones)?;
        Ok(RmsNorm { weight, eps, name: path.name().to_string() })
    }

    /// `x` `[…, size]` → the same shape.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{RmsNorm, Store};
    /// # use gradus_tensor::Tensor;
    /// let norm = RmsNorm::new(&Store::new(0).root(), 2, 1e-6)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 7.0], &[2])?); // the mean square is 25
    /// assert_eq!(norm.forward(&x)?.to_string(), "[0.2 1.4]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward(&self, x: &Var) -> Result<Var> {
        x.rms_norm(&self.weight.var(), self.eps).map_err(|e| e.at(&self.name))
    }

    /// [`forward`](RmsNorm::forward) of `dropout(x) + residual` in one pass, `dropout` as
    /// [`Dropout::drawn`](crate::Dropout::drawn) gives it; both `[…, size]`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{RmsNorm, Store};
    /// # use gradus_tensor::Tensor;
    /// let norm = RmsNorm::new(&Store::new(0).root(), 2, 1e-6)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 1.0], &[2])?);
    /// let residual = Var::constant(Tensor::from_slice(&[0f32, 6.0], &[2])?);
    /// let y = norm.forward_residual(&x, &residual, None)?;
    /// assert_eq!(y.to_string(), "[0.2 1.4]"); // the norm of [1, 7]
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward_residual(
        &self,
        x: &Var,
        residual: &Var,
        dropout: Option<(f64, RngKey)>,
    ) -> Result<Var> {
        x.dropout_add_rms_norm(residual, &self.weight.var(), self.eps, dropout)
            .map_err(|e| e.at(&self.name))
    }
}
