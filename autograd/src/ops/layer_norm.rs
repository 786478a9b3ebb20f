//! Layer normalisation (Ba et al., arXiv:1607.06450).

use gradus_tensor::{Result, RngKey, bail};

use super::binary::wider;
use crate::context::Context;
use crate::op::Op;
use crate::var::Var;

/// Checks the ε of a layer norm.
///
/// ```
/// # use gradus_autograd::ops::layer_norm::check_eps;
/// assert!(check_eps(1e-12).is_ok());
/// assert!(check_eps(-1e-12).is_err());
/// ```
///
/// # Errors
/// If it is not a finite number of 0 or more: the root of a negative variance is NaN.
pub fn check_eps(eps: f64) -> Result<()> {
    if !(eps.is_finite() && eps >= 0.0) {
        bail!("layer_norm", "eps is {eps}; it must be a finite number of 0 or more");
    }
    Ok(())
}

/// The composed reference of [`Var::layer_norm`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::Tensor;
/// # use gradus_autograd::ops::layer_norm::layer_norm_composed;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 3.0], &[2])?);
/// let ones = Var::constant(x.tensor().ones_like()?);
/// let zeros = Var::constant(x.tensor().zeros_like()?);
/// assert_eq!(layer_norm_composed(&x, &ones, &zeros, 0.0)?.to_string(), "[-1.  1.]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn layer_norm_composed(x: &Var, weight: &Var, bias: &Var, eps: f64) -> Result<Var> {
    let centred = x.sub(&x.mean(&[-1], true)?)?;
    let variance = centred.square()?.mean(&[-1], true)?;
    let normed = centred.mul(&variance.add_scalar(eps)?.rsqrt()?)?;
    normed.mul(weight)?.add(bias)
}

/// The composed reference of [`Var::dropout_add_layer_norm`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::{DType, Tensor};
/// # use gradus_autograd::ops::layer_norm::dropout_add_layer_norm_composed as composed;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 1.0], &[2])?);
/// let residual = Var::constant(Tensor::from_slice(&[0f32, 2.0], &[2])?);
/// let weight = Var::constant(Tensor::ones(&[2], DType::F32)?);
/// let bias = Var::constant(Tensor::zeros(&[2], DType::F32)?);
/// let y = composed(&x, &residual, &weight, &bias, 1e-12, None)?;
/// assert_eq!(y.to_string(), "[-1.  1.]"); // the norm of [1, 3]
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn dropout_add_layer_norm_composed(
    x: &Var,
    residual: &Var,
    weight: &Var,
    bias: &Var,
    eps: f64,
    dropout: Option<(f64, RngKey)>,
) -> Result<Var> {
    layer_norm_composed(&dropped(x, dropout)?.add(residual)?, weight, bias, eps)
}

fn dropped(x: &Var, dropout: Option<(f64, RngKey)>) -> Result<Var> {
    match dropout {
        Some((p, key)) => x.dropout(p, key),
        None => Ok(x.clone()),
    }
}

/// The composed form in the parameters' dtype, which under autocast is not x's.
fn composed_in_f32(v: &[&Var], eps: f64) -> Result<Var> {
    let x = v[0].in_dtype(v[1].dtype())?;
    layer_norm_composed(&x, v[1], v[2], eps)?.in_dtype(v[0].dtype())
}

impl Var {
    /// See [`Tensor::layer_norm`](gradus_tensor::Tensor::layer_norm). Fused, forward and backward.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 3.0, 5.0, 9.0], &[2, 2])?);
    /// let weight = Var::leaf(Tensor::from_slice(&[1f32, 10.0], &[2])?);
    /// let bias = Var::leaf(Tensor::from_slice(&[0f32, 0.5], &[2])?);
    /// let y = x.layer_norm(&weight, &bias, 1e-12)?; // each row is [−1, 1] before weight and bias
    /// assert_eq!(y.to_string(), "[[-1.  10.5]\n [-1.  10.5]]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&weight).unwrap().to_string(), "[-2.  2.]");
    /// assert_eq!(grads.get(&bias).unwrap().to_string(), "[2. 2.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn layer_norm(&self, weight: &Var, bias: &Var, eps: f64) -> Result<Var> {
        check_eps(eps)?;
        let y = self.tensor().layer_norm(weight.tensor(), bias.tensor(), eps)?;
        let (mean, rstd) = (y.mean, y.rstd);
        let y = Var::record(Op::LayerNorm, y.output, &[self, weight, bias], move |c| {
            if c.create_graph() {
                return c.composed(|v| composed_in_f32(v, eps));
            }
            let (grad, more) = c.grads();
            let (dx, dw, db) = c.input(0).tensor().layer_norm_backward(
                c.input(1).tensor(),
                &mean,
                &rstd,
                grad.tensor(),
                more.map(Var::tensor),
            )?;
            Ok([dx, dw, db].into_iter().map(|t| Some(Var::constant(t))).collect())
        })?;
        y.lowered()
    }

    /// See [`Tensor::dropout_add_layer_norm`](gradus_tensor::Tensor::dropout_add_layer_norm): layer
    /// norm of `dropout(self) + residual`. Fused, forward and backward: keeps the sum, not its
    /// operands.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 1.0], &[2])?);
    /// let residual = Var::constant(Tensor::from_slice(&[0f32, 2.0], &[2])?);
    /// let weight = Var::constant(Tensor::ones(&[2], DType::F32)?);
    /// let bias = Var::constant(Tensor::zeros(&[2], DType::F32)?);
    /// let y = x.dropout_add_layer_norm(&residual, &weight, &bias, 1e-12, None)?;
    /// assert_eq!(y.to_string(), "[-1.  1.]"); // the norm of [1, 3]
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_layer_norm(
        &self,
        residual: &Var,
        weight: &Var,
        bias: &Var,
        eps: f64,
        dropout: Option<(f64, RngKey)>,
    ) -> Result<Var> {
        check_eps(eps)?;
        let (x, residual) = &wider(self, residual)?;
        let inputs = [x, residual, weight, bias];
        let made = x.tensor().dropout_add_layer_norm(
            residual.tensor(),
            weight.tensor(),
            bias.tensor(),
            eps,
            dropout,
            Var::is_recorded(&inputs),
        )?;
        let (mean, rstd, sum) = (made.mean, made.rstd, made.sum);
        let rule = move |c: &Context| {
            let Some(sum) = &sum else {
                bail!("dropout_add_layer_norm", "the sum was not kept, though it was recorded");
            };
            if c.create_graph() {
                let linear = dropped(&c.place(0)?, dropout)?.add(&c.place(1)?)?;
                let sum = linear.add(&Var::constant(sum.clone()))?;
                let inputs = vec![
                    (sum, c.wants(0) || c.wants(1)),
                    (c.input(2).clone(), c.wants(2)),
                    (c.input(3).clone(), c.wants(3)),
                ];
                let grads = c.differentiated(inputs, |v| composed_in_f32(v, eps))?;
                let [dsum, dw, db] = &grads[..] else { unreachable!("a gradient for each input") };
                let dx = dsum.as_ref().filter(|_| c.wants(0)).map(|g| dropped(g, dropout));
                return Ok(vec![dx.transpose()?, dsum.clone(), dw.clone(), db.clone()]);
            }
            let (grad, more) = c.grads();
            let (dx, dr, dw, db) = sum.dropout_add_layer_norm_backward(
                c.input(2).tensor(),
                &mean,
                &rstd,
                grad.tensor(),
                more.map(Var::tensor),
                dropout,
            )?;
            Ok([dx, dr, dw, db].into_iter().map(|t| Some(Var::constant(t))).collect())
        };
        Var::record(Op::DropoutAddLayerNorm, made.output, &inputs, rule)?.lowered()
    }
}
