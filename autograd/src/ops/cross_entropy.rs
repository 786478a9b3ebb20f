//! Cross-entropy of logits against class indices.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus_tensor::{DType, Result, Tensor};

use crate::op::Op;
use crate::var::Var;

/// The composed reference of [`Var::cross_entropy`].
pub fn cross_entropy_composed(
    logits: &Var,
    targets: &Tensor,
    options: &CrossEntropy,
) -> Result<Var> {
    let (dtype, classes) = (logits.dtype(), logits.size(-1)?);
    let log_p = logits.log_softmax(-1)?;
    let weight = match &options.weight {
        Some(weight) => weight.to_dtype(dtype)?,
        None => Tensor::full_on(&[classes], 1.0, dtype, logits.device())?,
    };
    // Ignored rows look up class 0 and are then multiplied by 0.
    let counts = match options.ignore_index {
        Some(ignored) => {
            let ignored = Tensor::scalar(ignored).to_device(targets.device())?;
            targets.ne(&ignored.broadcast_to(targets.shape())?)?
        }
        None => Tensor::full_on(targets.shape(), 1.0, DType::U8, targets.device())?,
    };
    let safe = targets.where_(&counts, &targets.zeros_like()?)?;
    let row_weight = weight.index_select(0, &safe)?.mul(&counts.to_dtype(dtype)?)?;
    let nll = log_p.gather(-1, &safe.unsqueeze(-1)?)?.squeeze(-1)?.neg()?;
    let nll = nll.mul(&Var::constant(row_weight.clone()))?;
    let smooth = log_p.mul(&Var::constant(weight))?.sum(&[-1], false)?.neg()?;
    let smooth = smooth.mul(&Var::constant(counts.to_dtype(dtype)?))?;
    let eps = options.label_smoothing;
    let rows = nll.mul_scalar(1.0 - eps)?.add(&smooth.mul_scalar(eps / classes as f64)?)?;
    match options.reduction {
        Reduction::None => Ok(rows),
        Reduction::Sum => rows.sum_all(),
        Reduction::Mean => rows.sum_all()?.div(&Var::constant(row_weight.sum_all()?)),
    }
}

impl Var {
    /// See [`Tensor::cross_entropy`]. Fused: neither direction stores the probabilities.
    pub fn cross_entropy(&self, targets: &Tensor, options: &CrossEntropy) -> Result<Var> {
        let (loss, lse) = self.tensor().cross_entropy(targets, options)?;
        let (targets, options) = (targets.clone(), options.clone());
        Var::record(Op::CrossEntropy, loss, &[self], move |c| {
            if c.create_graph() {
                return c.composed(|v| cross_entropy_composed(v[0], &targets, &options));
            }
            let dx = c.input(0).tensor().cross_entropy_backward(
                &targets,
                &lse,
                &options,
                c.grad().tensor(),
            )?;
            Ok(vec![Some(Var::constant(dx))])
        })
    }
}
