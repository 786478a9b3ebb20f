//! Layer normalisation over the last dimension (Ba, Kiros & Hinton, arXiv:1607.06450), and RMS norm
//! (Zhang & Sennrich, arXiv:1910.07467).

use gradus_base::op::layer_norm::{self, Operands, Residual, Saved};

use super::dropout::check_probability;
use super::half::{Round, is_half};
use super::{must_match, on_device};
use crate::{DType, ErrorKind, Result, RngKey, Tensor, bail};

/// What [`Tensor::layer_norm`] computes: the result, and what its derivative needs again.
pub type LayerNormOutput = layer_norm::LayerNormOutput<Tensor>;

/// Checks that every `(name, tensor, shape)` has that shape and the dtype of `x`, or f32 where `x`
/// is f16.
fn check(op: &'static str, x: &Tensor, others: &[(&str, &Tensor, &[usize])]) -> Result<()> {
    for (name, tensor, shape) in others {
        let fits =
            tensor.dtype() == x.dtype() || (x.dtype().is_half() && tensor.dtype() == DType::F32);
        if tensor.shape() != *shape || !fits {
            bail!(
                op,
                kind = ErrorKind::shape_or_dtype(tensor.shape() != *shape),
                "{name} is {:?} {}, the input {:?} {}; {name} must be {shape:?} {}",
                tensor.shape(),
                tensor.dtype(),
                x.shape(),
                x.dtype(),
                x.dtype()
            );
        }
    }
    Ok(())
}

/// The shape without its last dimension, and that dimension.
fn split_last<'a>(op: &'static str, x: &'a Tensor) -> Result<(&'a [usize], &'a [usize])> {
    if x.rank() == 0 {
        bail!(op, Shape, "needs at least one dimension, the input is a scalar");
    }
    Ok(x.shape().split_at(x.rank() - 1))
}

impl Tensor {
    /// `y = (x − mean) / √(var + eps) · weight + bias` over the last dimension, with the biased
    /// variance. `weight` and `bias` are `[n]` for `x […, n]`; f32 and f64. A GPU takes an x in f16
    /// too, with weight and bias in f16 or f32, and computes in f32. With n = 0 the output is empty
    /// and the statistics are NaN.
    ///
    /// Composed reference: `x.mean(&[-1], true)`, `x.var(&[-1], true, 0)` and arithmetic.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 3.0], &[2])?; // [−1, 1] before weight and bias
    /// let weight = Tensor::from_slice(&[1f32, 10.0], &[2])?;
    /// let bias = Tensor::from_slice(&[0f32, 0.5], &[2])?;
    /// let y = x.layer_norm(&weight, Some(&bias), 1e-12)?;
    /// assert_eq!(y.output.to_string(), "[-1.  10.5]");
    /// assert_eq!((y.mean.item()?, y.rstd.item()?), (2.0, 1.0));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn layer_norm(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<LayerNormOutput> {
        forward("layer_norm", Operands { x: self, weight, bias, eps, rms: false }, None)
    }

    /// `y = x / √(mean(x²) + eps) · weight` over the last dimension. `weight` is `[n]` for
    /// `x […, n]`; the dtypes are those of [`layer_norm`](Tensor::layer_norm). The mean in the
    /// result is 0.
    ///
    /// Composed reference: `x.square()`, `mean(&[-1], true)`, `rsqrt` and products.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 7.0], &[2])?; // the mean square is 25
    /// let weight = Tensor::from_slice(&[1f32, 10.0], &[2])?;
    /// let y = x.rms_norm(&weight, 1e-12)?;
    /// assert_eq!(y.output.to_string(), "[ 0.2 14. ]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn rms_norm(&self, weight: &Tensor, eps: f64) -> Result<LayerNormOutput> {
        forward("rms_norm", Operands { x: self, weight, bias: None, eps, rms: true }, None)
    }

    /// [`layer_norm`](Tensor::layer_norm) of `dropout(self) + residual` in one pass: as at the end
    /// of each block of a transformer (the operation's name is that of Dao's FlashAttention,
    /// `flash_attn.ops.layer_norm`). `residual` has the shape and dtype of `self`; `dropout` holds
    /// the probability and key of a [`dropout`](Tensor::dropout), which has the same mask. The sum
    /// is returned if `keep`, for the derivative.
    ///
    /// Composed reference: `self.dropout(p, key)?.add(&residual)?.layer_norm(&weight, bias, eps)`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 1.0], &[2])?;
    /// let residual = Tensor::from_slice(&[0f32, 2.0], &[2])?;
    /// let weight = x.ones_like()?;
    /// let y = x.dropout_add_layer_norm(&residual, &weight, None, 1e-12, None, true)?;
    /// assert_eq!(y.sum.unwrap().to_string(), "[1. 3.]");
    /// assert_eq!(y.output.to_string(), "[-1.  1.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_layer_norm(
        &self,
        residual: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f64,
        dropout: Option<(f64, RngKey)>,
        keep: bool,
    ) -> Result<LayerNormOutput> {
        let operands = Operands { x: self, weight, bias, eps, rms: false };
        let residual = Residual { tensor: residual, dropout, keep };
        forward("dropout_add_layer_norm", operands, Some(residual))
    }

    /// [`rms_norm`](Tensor::rms_norm) of `dropout(self) + residual`, as
    /// [`dropout_add_layer_norm`](Tensor::dropout_add_layer_norm).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 1.0], &[2])?;
    /// let residual = Tensor::from_slice(&[0f32, 6.0], &[2])?;
    /// let y = x.dropout_add_rms_norm(&residual, &x.ones_like()?, 1e-12, None, false)?;
    /// assert_eq!(y.output.to_string(), "[0.2 1.4]"); // of [1, 7]
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_rms_norm(
        &self,
        residual: &Tensor,
        weight: &Tensor,
        eps: f64,
        dropout: Option<(f64, RngKey)>,
        keep: bool,
    ) -> Result<LayerNormOutput> {
        let operands = Operands { x: self, weight, bias: None, eps, rms: true };
        let residual = Residual { tensor: residual, dropout, keep };
        forward("dropout_add_rms_norm", operands, Some(residual))
    }

    /// The gradients `(dx, dweight, dbias)` of [`Tensor::layer_norm`]. `self` is the input x;
    /// `mean` and `rstd` come from the forward pass; `grad` has x's shape and dtype, and so has
    /// `more`, a second gradient that is added to it: a transformer uses the output of a norm
    /// twice, in the next block and in the sum after it. Each gradient has the dtype of its input.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 3.0], &[2])?; // [−1, 1] before weight and bias
    /// let weight = x.ones_like()?;
    /// let y = x.layer_norm(&weight, None, 1e-12)?;
    /// let grad = Tensor::from_slice(&[5f32, 7.0], &[2])?;
    /// let (_, dw, db) = x.layer_norm_backward(&weight, &y.mean, &y.rstd, &grad, None)?;
    /// assert_eq!(dw.to_string(), "[-5.  7.]");
    /// assert_eq!(db.to_string(), "[5. 7.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn layer_norm_backward(
        &self,
        weight: &Tensor,
        mean: &Tensor,
        rstd: &Tensor,
        grad: &Tensor,
        more: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let op = "layer_norm_backward";
        let saved = Saved { x: self, weight, mean, rstd, rms: false };
        let (dx, _, dw, db) = backward(op, saved, [Some(grad), more], None)?;
        Ok((dx, dw, db))
    }

    /// The gradients `(dx, dweight)` of [`Tensor::rms_norm`], as
    /// [`layer_norm_backward`](Tensor::layer_norm_backward).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 7.0], &[2])?; // [0.2, 1.4] before the weight
    /// let weight = x.ones_like()?;
    /// let y = x.rms_norm(&weight, 1e-12)?;
    /// let grad = Tensor::from_slice(&[5f32, 5.0], &[2])?;
    /// let (_, dw) = x.rms_norm_backward(&weight, &y.rstd, &grad, None)?;
    /// assert_eq!(dw.to_string(), "[1. 7.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn rms_norm_backward(
        &self,
        weight: &Tensor,
        rstd: &Tensor,
        grad: &Tensor,
        more: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let saved = Saved { x: self, weight, mean: rstd, rstd, rms: true };
        let (dx, _, dw, _) = backward("rms_norm_backward", saved, [Some(grad), more], None)?;
        Ok((dx, dw))
    }

    /// The gradients `(dx, dresidual, dweight, dbias)` of
    /// [`dropout_add_layer_norm`](Tensor::dropout_add_layer_norm). `self` is the sum that was kept.
    /// Without dropout dx and dresidual are one tensor. `more` is added to `grad`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let sum = Tensor::from_slice(&[1f32, 3.0], &[2])?; // [−1, 1] before weight and bias
    /// let weight = sum.ones_like()?;
    /// let y = sum.layer_norm(&weight, None, 1e-12)?;
    /// let grad = Tensor::from_slice(&[5f32, 7.0], &[2])?;
    /// let (dx, dresidual, dw, _) =
    ///     sum.dropout_add_layer_norm_backward(&weight, &y.mean, &y.rstd, &grad, None, None)?;
    /// assert!(dx.shares_storage(&dresidual));
    /// assert_eq!(dw.to_string(), "[-5.  7.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_layer_norm_backward(
        &self,
        weight: &Tensor,
        mean: &Tensor,
        rstd: &Tensor,
        grad: &Tensor,
        more: Option<&Tensor>,
        dropout: Option<(f64, RngKey)>,
    ) -> Result<(Tensor, Tensor, Tensor, Tensor)> {
        let op = "dropout_add_layer_norm_backward";
        let saved = Saved { x: self, weight, mean, rstd, rms: false };
        let (dsum, dx, dw, db) = backward(op, saved, [Some(grad), more], dropout)?;
        Ok((dx.unwrap_or_else(|| dsum.clone()), dsum, dw, db))
    }

    /// The gradients `(dx, dresidual, dweight)` of
    /// [`dropout_add_rms_norm`](Tensor::dropout_add_rms_norm), as
    /// [`dropout_add_layer_norm_backward`](Tensor::dropout_add_layer_norm_backward).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let sum = Tensor::from_slice(&[1f32, 7.0], &[2])?;
    /// let weight = sum.ones_like()?;
    /// let y = sum.rms_norm(&weight, 1e-12)?;
    /// let grad = Tensor::from_slice(&[5f32, 5.0], &[2])?;
    /// let (dx, dresidual, dw) =
    ///     sum.dropout_add_rms_norm_backward(&weight, &y.rstd, [Some(&grad), None], None)?;
    /// assert!(dx.shares_storage(&dresidual));
    /// assert_eq!(dw.to_string(), "[1. 7.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout_add_rms_norm_backward(
        &self,
        weight: &Tensor,
        rstd: &Tensor,
        grads: [Option<&Tensor>; 2],
        dropout: Option<(f64, RngKey)>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let saved = Saved { x: self, weight, mean: rstd, rstd, rms: true };
        let op = "dropout_add_rms_norm_backward";
        let (dsum, dx, dw, _) = backward(op, saved, grads, dropout)?;
        Ok((dx.unwrap_or_else(|| dsum.clone()), dsum, dw))
    }
}

/// The norm of x, or of dropout(x) + residual.
fn forward(
    op: &'static str,
    operands: Operands<&Tensor>,
    residual: Option<Residual<&Tensor>>,
) -> Result<LayerNormOutput> {
    let Operands { x, weight, bias, eps, rms } = operands;
    let (_, n) = split_last(op, x)?;
    let mut shapes = vec![("weight", weight, n)];
    shapes.extend(bias.map(|bias| ("bias", bias, n)));
    if let Some(Residual { tensor, dropout, .. }) = residual {
        must_match(op, ("the residual", tensor), ("the input", x))?;
        dropout.map_or(Ok(()), |(p, _)| check_probability(op, p))?;
    }
    check(op, x, &shapes)?;
    // The CPU computes on 16-bit floats in f32, and rounds once.
    let half = is_half(x).then_some(x.dtype());
    let dense = |tensor: &Tensor| match half {
        Some(_) => tensor.to_dtype(DType::F32)?.contiguous(),
        None => tensor.contiguous(),
    };
    let (x, weight, bias) = (&dense(x)?, &dense(weight)?, bias.map(dense).transpose()?);
    let added = residual.map(|residual| dense(residual.tensor)).transpose()?;
    let residual = residual.zip(added.as_ref());
    let residual = residual.map(|(residual, tensor)| Residual { tensor, ..residual });
    let operands = Operands { x, weight, bias: bias.as_ref(), eps, rms };
    let tensors: Vec<&Tensor> = [x, weight].into_iter().chain(&bias).chain(&added).collect();
    let output = on_device!(op, &tensors; layer_norm::forward(operands, residual))?;
    match half {
        Some(dtype) => output.round(dtype),
        None => Ok(output),
    }
}

/// The gradients of the normalised x, of what was dropped out before it became x, of weight and
/// bias.
fn backward(
    op: &'static str,
    saved: Saved<&Tensor>,
    grads: [Option<&Tensor>; 2],
    dropout: Option<(f64, RngKey)>,
) -> Result<(Tensor, Option<Tensor>, Tensor, Tensor)> {
    let Saved { x, weight, mean, rstd, rms } = saved;
    let (lead, n) = split_last(op, x)?;
    let mut shapes = vec![("weight", weight, n), ("mean", mean, lead), ("rstd", rstd, lead)];
    shapes.extend(grads.iter().flatten().map(|grad| ("the gradient", *grad, x.shape())));
    check(op, x, &shapes)?;
    dropout.map_or(Ok(()), |(p, _)| check_probability(op, p))?;
    let (x, weight, mean) = (x.contiguous()?, weight.contiguous()?, mean.contiguous()?);
    let rstd = rstd.contiguous()?;
    let grads = grads.into_iter().flatten().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let grads: Vec<&Tensor> = grads.iter().collect();
    let saved = Saved { x: &x, weight: &weight, mean: &mean, rstd: &rstd, rms };
    if is_half(&x) {
        return backward_in_f32(op, saved, &grads, dropout);
    }
    let operands = [&[&x, &weight, &mean, &rstd], &grads[..]].concat();
    on_device!(op, &operands; layer_norm::backward(saved, &grads, dropout))
}

/// [`backward`] of 16-bit operands on the CPU: every gradient is rounded to its operand's dtype.
fn backward_in_f32(
    op: &'static str,
    saved: Saved<&Tensor>,
    grads: &[&Tensor],
    dropout: Option<(f64, RngKey)>,
) -> Result<(Tensor, Option<Tensor>, Tensor, Tensor)> {
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
    let grads = grads.iter().map(|grad| wide(grad)).collect::<Result<Vec<_>>>()?;
    let (x, weight) = (wide(saved.x)?, wide(saved.weight)?);
    let (mean, rstd) = (wide(saved.mean)?, wide(saved.rstd)?);
    let wider = Saved { x: &x, weight: &weight, mean: &mean, rstd: &rstd, rms: saved.rms };
    let (dx, dropped, dw, db) = backward(op, wider, [grads.first(), grads.get(1)], dropout)?;
    let dtype = saved.x.dtype();
    let dropped = dropped.map(|gradient| gradient.to_dtype(dtype)).transpose()?;
    let of_weight = |gradient: Tensor| gradient.to_dtype(saved.weight.dtype());
    Ok((dx.to_dtype(dtype)?, dropped, of_weight(dw)?, of_weight(db)?))
}
