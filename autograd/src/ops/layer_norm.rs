//! Layer normalisation (Ba et al., arXiv:1607.06450) and RMS norm (Zhang & Sennrich,
//! arXiv:1910.07467).

use gradus_tensor::{Result, RngKey, Tensor, bail};
use serde_json::json;

use super::binary::wider;
use crate::context::Context;
use crate::op::Op;
use crate::trace::{SavedTensor, Told, summary};
use crate::var::Var;

/// Checks the ε of a norm.
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
/// assert_eq!(layer_norm_composed(&x, &ones, None, 0.0)?.to_string(), "[-1.  1.]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn layer_norm_composed(x: &Var, weight: &Var, bias: Option<&Var>, eps: f64) -> Result<Var> {
    let centred = x.sub(&x.mean(&[-1], true)?)?;
    let y = rms_norm_composed(&centred, weight, eps)?;
    bias.map_or(Ok(y.clone()), |bias| y.add(bias))
}

/// The composed reference of [`Var::rms_norm`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_autograd::ops::layer_norm::rms_norm_composed;
/// # use gradus_tensor::Tensor;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 7.0], &[2])?); // the mean square is 25
/// let ones = Var::constant(x.tensor().ones_like()?);
/// assert_eq!(rms_norm_composed(&x, &ones, 0.0)?.to_string(), "[0.2 1.4]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn rms_norm_composed(x: &Var, weight: &Var, eps: f64) -> Result<Var> {
    let variance = x.square()?.mean(&[-1], true)?;
    x.mul(&variance.add_scalar(eps)?.rsqrt()?)?.mul(weight)
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
/// let y = composed(&x, &residual, &weight, None, 1e-12, None)?;
/// assert_eq!(y.to_string(), "[-1.  1.]"); // the norm of [1, 3]
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn dropout_add_layer_norm_composed(
    x: &Var,
    residual: &Var,
    weight: &Var,
    bias: Option<&Var>,
    eps: f64,
    dropout: Option<(f64, RngKey)>,
) -> Result<Var> {
    layer_norm_composed(&dropped(x, dropout)?.add(residual)?, weight, bias, eps)
}

/// The composed reference of [`Var::dropout_add_rms_norm`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::{DType, Tensor};
/// # use gradus_autograd::ops::layer_norm::dropout_add_rms_norm_composed as composed;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 1.0], &[2])?);
/// let residual = Var::constant(Tensor::from_slice(&[0f32, 6.0], &[2])?);
/// let weight = Var::constant(Tensor::ones(&[2], DType::F32)?);
/// let y = composed(&x, &residual, &weight, 1e-12, None)?;
/// assert_eq!(y.to_string(), "[0.2 1.4]"); // the norm of [1, 7]
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn dropout_add_rms_norm_composed(
    x: &Var,
    residual: &Var,
    weight: &Var,
    eps: f64,
    dropout: Option<(f64, RngKey)>,
) -> Result<Var> {
    rms_norm_composed(&dropped(x, dropout)?.add(residual)?, weight, eps)
}

fn dropped(x: &Var, dropout: Option<(f64, RngKey)>) -> Result<Var> {
    match dropout {
        Some((p, key)) => x.dropout(p, key),
        None => Ok(x.clone()),
    }
}

/// The composed form of a norm of `v[0]` with the parameters after it, in their dtype, which under
/// autocast is not that of `v[0]`.
fn in_dtype_of_parameters(
    v: &[&Var],
    norm: impl FnOnce(&Var, &[&Var]) -> Result<Var>,
) -> Result<Var> {
    norm(&v[0].in_dtype(v[1].dtype())?, &v[1..])?.in_dtype(v[0].dtype())
}

fn layer_norm_of(v: &[&Var], eps: f64) -> Result<Var> {
    in_dtype_of_parameters(v, |x, v| layer_norm_composed(x, v[0], v.get(1).copied(), eps))
}

fn rms_norm_of(v: &[&Var], eps: f64) -> Result<Var> {
    in_dtype_of_parameters(v, |x, v| rms_norm_composed(x, v[0], eps))
}

/// The recorded gradients of a norm of dropout(x) + residual, of which the sum was kept; `norm` is
/// the composed form of the sum and the parameters.
fn recorded(
    c: &Context,
    sum: &Tensor,
    dropout: Option<(f64, RngKey)>,
    norm: impl FnOnce(&[&Var]) -> Result<Var>,
) -> Result<Vec<Option<Var>>> {
    let linear = dropped(&c.place(0)?, dropout)?.add(&c.place(1)?)?;
    let sum = linear.add(&Var::constant(sum.clone()))?;
    let mut inputs = vec![(sum, c.wants(0) || c.wants(1))];
    inputs.extend((2..c.inputs()).map(|i| (c.input(i).clone(), c.wants(i))));
    let mut grads = c.differentiated(inputs, norm)?;
    let dx = grads[0].as_ref().filter(|_| c.wants(0)).map(|g| dropped(g, dropout));
    grads.insert(0, dx.transpose()?);
    Ok(grads)
}

/// What a norm of a sum tells a trace: the sum that it works on, ε, the probability of dropout.
fn told_of_sum(sum: &Option<Tensor>, eps: f64, dropout: Option<(f64, RngKey)>) -> Told {
    let told = Told::new().set("eps", || json!(eps)).holds(SavedTensor::Sum, sum);
    let told = told.set("p", || json!(dropout.map_or(0.0, |(p, _)| p)));
    match sum {
        Some(sum) => told.set("sum", || summary(sum)),
        None => told,
    }
}

/// The sum that a norm keeps if it is recorded.
fn kept(sum: &Option<Tensor>) -> Result<&Tensor> {
    let Some(sum) = sum else {
        bail!("layer_norm", "the sum was not kept, though the norm was recorded");
    };
    Ok(sum)
}

/// The first gradients, one for each input.
fn constants<const N: usize>(c: &Context, grads: [Tensor; N]) -> Vec<Option<Var>> {
    grads.into_iter().take(c.inputs()).map(|grad| Some(Var::constant(grad))).collect()
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
    /// // Each row is [−1, 1] before weight and bias.
    /// let y = x.layer_norm(&weight, Some(&bias), 1e-12)?;
    /// assert_eq!(y.to_string(), "[[-1.  10.5]\n [-1.  10.5]]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&weight).unwrap().to_string(), "[-2.  2.]");
    /// assert_eq!(grads.get(&bias).unwrap().to_string(), "[2. 2.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn layer_norm(&self, weight: &Var, bias: Option<&Var>, eps: f64) -> Result<Var> {
        check_eps(eps)?;
        let y = self.tensor().layer_norm(weight.tensor(), bias.map(Var::tensor), eps)?;
        let (mean, rstd) = (y.mean, y.rstd);
        let inputs: Vec<&Var> = [self, weight].into_iter().chain(bias).collect();
        let told =
            Told::new().set("eps", || json!(eps)).holds(SavedTensor::Statistics, [&mean, &rstd]);
        let y = Var::record_told(Op::LayerNorm, y.output, &inputs, told, move |c| {
            if c.create_graph() {
                return c.composed(|v| layer_norm_of(v, eps));
            }
            let (grad, more) = c.grads();
            let (dx, dw, db) = c.input(0).tensor().layer_norm_backward(
                c.input(1).tensor(),
                &mean,
                &rstd,
                grad.tensor(),
                more.map(Var::tensor),
            )?;
            Ok(constants(c, [dx, dw, db]))
        })?;
        y.lowered()
    }

    /// See [`Tensor::rms_norm`](gradus_tensor::Tensor::rms_norm). Fused, forward and backward.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 7.0], &[2])?); // the mean square is 25
    /// let weight = Var::leaf(Tensor::from_slice(&[1f32, 10.0], &[2])?);
    /// let y = x.rms_norm(&weight, 1e-12)?;
    /// assert_eq!(y.to_string(), "[ 0.2 14. ]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&weight).unwrap().to_string(), "[0.2 1.4]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn rms_norm(&self, weight: &Var, eps: f64) -> Result<Var> {
        check_eps(eps)?;
        let y = self.tensor().rms_norm(weight.tensor(), eps)?;
        let rstd = y.rstd;
        let told = Told::new().set("eps", || json!(eps)).holds(SavedTensor::Statistics, [&rstd]);
        let y = Var::record_told(Op::RmsNorm, y.output, &[self, weight], told, move |c| {
            if c.create_graph() {
                return c.composed(|v| rms_norm_of(v, eps));
            }
            let (grad, more) = c.grads();
            let (x, weight) = (c.input(0).tensor(), c.input(1).tensor());
            let (dx, dw) =
                x.rms_norm_backward(weight, &rstd, grad.tensor(), more.map(Var::tensor))?;
            Ok(constants(c, [dx, dw]))
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
    /// let y = x.dropout_add_layer_norm(&residual, &weight, None, 1e-12, None)?;
    /// assert_eq!(y.to_string(), "[-1.  1.]"); // the norm of [1, 3]
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_layer_norm(
        &self,
        residual: &Var,
        weight: &Var,
        bias: Option<&Var>,
        eps: f64,
        dropout: Option<(f64, RngKey)>,
    ) -> Result<Var> {
        check_eps(eps)?;
        let (x, residual) = &wider(self, residual)?;
        let inputs: Vec<&Var> = [x, residual, weight].into_iter().chain(bias).collect();
        let made = x.tensor().dropout_add_layer_norm(
            residual.tensor(),
            weight.tensor(),
            bias.map(Var::tensor),
            eps,
            dropout,
            Var::is_recorded(&inputs),
        )?;
        let (mean, rstd, sum) = (made.mean, made.rstd, made.sum);
        let told = told_of_sum(&sum, eps, dropout).holds(SavedTensor::Statistics, [&mean, &rstd]);
        let rule = move |c: &Context| {
            let sum = kept(&sum)?;
            if c.create_graph() {
                return recorded(c, sum, dropout, |v| layer_norm_of(v, eps));
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
            Ok(constants(c, [dx, dr, dw, db]))
        };
        Var::record_told(Op::DropoutAddLayerNorm, made.output, &inputs, told, rule)?.lowered()
    }

    /// See [`Tensor::dropout_add_rms_norm`](gradus_tensor::Tensor::dropout_add_rms_norm): RMS norm
    /// of `dropout(self) + residual`. Fused, forward and backward, as
    /// [`dropout_add_layer_norm`](Var::dropout_add_layer_norm).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 1.0], &[2])?);
    /// let residual = Var::constant(Tensor::from_slice(&[0f32, 6.0], &[2])?);
    /// let weight = Var::constant(Tensor::ones(&[2], DType::F32)?);
    /// let y = x.dropout_add_rms_norm(&residual, &weight, 1e-12, None)?;
    /// assert_eq!(y.to_string(), "[0.2 1.4]"); // the norm of [1, 7]
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_rms_norm(
        &self,
        residual: &Var,
        weight: &Var,
        eps: f64,
        dropout: Option<(f64, RngKey)>,
    ) -> Result<Var> {
        check_eps(eps)?;
        let (x, residual) = &wider(self, residual)?;
        let inputs = [x, residual, weight];
        let (r, w, keep) = (residual.tensor(), weight.tensor(), Var::is_recorded(&inputs));
        let made = x.tensor().dropout_add_rms_norm(r, w, eps, dropout, keep)?;
        let (rstd, sum) = (made.rstd, made.sum);
        let told = told_of_sum(&sum, eps, dropout).holds(SavedTensor::Statistics, [&rstd]);
        let rule = move |c: &Context| {
            let sum = kept(&sum)?;
            if c.create_graph() {
                return recorded(c, sum, dropout, |v| rms_norm_of(v, eps));
            }
            let (grad, more) = c.grads();
            let grads = [Some(grad.tensor()), more.map(Var::tensor)];
            let weight = c.input(2).tensor();
            let (dx, dr, dw) = sum.dropout_add_rms_norm_backward(weight, &rstd, grads, dropout)?;
            Ok(constants(c, [dx, dr, dw]))
        };
        Var::record_told(Op::DropoutAddRmsNorm, made.output, &inputs, told, rule)?.lowered()
    }
}
