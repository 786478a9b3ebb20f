//! Layer normalisation over the last dimension (Ba, Kiros & Hinton, arXiv:1607.06450).

use crate::device::on_device;
use crate::{DType, Result, Tensor, bail};

/// What [`Tensor::layer_norm`] computes: the result, and what its derivative needs again.
#[derive(Clone)]
pub struct LayerNormOutput {
    /// The normalised tensor, of the input's shape.
    pub output: Tensor,
    /// The rows' means: the input's shape without the last dimension. f32 for an input in f16.
    pub mean: Tensor,
    /// The rows' 1/√(variance + eps), of the same shape as the means.
    pub rstd: Tensor,
}

/// Checks that every `(name, tensor, shape)` has that shape and the dtype of `x`, or f32 beside f16.
fn check(op: &'static str, x: &Tensor, others: &[(&str, &Tensor, &[usize])]) -> Result<()> {
    for (name, tensor, shape) in others {
        let fits =
            tensor.dtype() == x.dtype() || (x.dtype(), tensor.dtype()) == (DType::F16, DType::F32);
        if tensor.shape() != *shape || !fits {
            bail!(
                op,
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
        bail!(op, "needs at least one dimension, the input is a scalar");
    }
    Ok(x.shape().split_at(x.rank() - 1))
}

impl Tensor {
    /// `y = (x − mean) / √(var + eps) · weight + bias` over the last dimension, with the biased
    /// variance. `weight` and `bias` are `[n]` for `x […, n]`; f32 and f64. A GPU takes an x in f16 too, with
    /// weight and bias in f16 or f32, and computes in f32. With n = 0 the output is empty and the statistics
    /// are NaN.
    ///
    /// Composed reference: `x.mean(&[-1], true)`, `x.var(&[-1], true, 0)` and arithmetic.
    pub fn layer_norm(&self, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<LayerNormOutput> {
        let (lead, n) = split_last("layer_norm", self)?;
        check("layer_norm", self, &[("weight", weight, n), ("bias", bias, n)])?;
        let (x, weight, bias) = (self.contiguous()?, weight.contiguous()?, bias.contiguous()?);
        let operands = [&x, &weight, &bias];
        on_device!("layer_norm", &operands; layer_norm::forward(&x, &weight, &bias, eps, lead))
    }

    /// The gradients `(dx, dweight, dbias)` of [`Tensor::layer_norm`]. `self` is the input x; `mean`
    /// and `rstd` come from the forward pass; `grad` has x's shape and dtype. The gradients have the dtype of
    /// what they belong to.
    pub fn layer_norm_backward(
        &self,
        weight: &Tensor,
        mean: &Tensor,
        rstd: &Tensor,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let op = "layer_norm_backward";
        let (lead, n) = split_last(op, self)?;
        let shapes = [
            ("weight", weight, n),
            ("mean", mean, lead),
            ("rstd", rstd, lead),
            ("the gradient", grad, self.shape()),
        ];
        check(op, self, &shapes)?;
        let (x, weight, mean) = (self.contiguous()?, weight.contiguous()?, mean.contiguous()?);
        let (rstd, grad) = (rstd.contiguous()?, grad.contiguous()?);
        let operands = [&x, &weight, &mean, &rstd, &grad];
        on_device!(op, &operands; layer_norm::backward(&x, &weight, &mean, &rstd, &grad))
    }
}
