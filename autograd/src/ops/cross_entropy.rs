//! Cross-entropy of logits against class indices.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus_tensor::{DType, Result, Tensor, bail};
use serde_json::json;

use super::unary::kept;
use crate::checkpoint::checkpoint;
use crate::op::Op;
use crate::trace::{SavedTensor, Told, numbers};
use crate::var::Var;

/// Every row's class, 0 where it is ignored; whether it counts (u8); and the weight with which it
/// counts.
fn weighed(
    targets: &Tensor,
    options: &CrossEntropy,
    weight: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let counts = match options.ignored()? {
        Some(ignored) => {
            let ignored = Tensor::scalar(ignored).to_device(targets.device())?;
            targets.ne(&ignored.broadcast_to(targets.shape())?)?
        }
        None => Tensor::full_on(targets.shape(), 1.0, DType::U8, targets.device())?,
    };
    // Ignored rows look up class 0, whose weight is then left out.
    let safe = targets.where_(&counts, &targets.zeros_like()?)?;
    let row_weight = weight.index_select(0, &safe)?;
    let row_weight = row_weight.where_(&counts, &row_weight.zeros_like()?)?;
    Ok((safe, counts, row_weight))
}

/// The weight of every class.
fn class_weights(options: &CrossEntropy, classes: usize, like: &Var) -> Result<Tensor> {
    match &options.weight {
        Some(weight) => weight.to_dtype(like.dtype()),
        None => Tensor::full_on(&[classes], 1.0, like.dtype(), like.device()),
    }
}

/// The composed reference of [`Var::cross_entropy`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::{CrossEntropy, DType, Tensor};
/// # use gradus_autograd::ops::cross_entropy::cross_entropy_composed;
/// let logits = Var::constant(Tensor::zeros(&[1, 4], DType::F32)?); // p = ¼ each
/// let targets = Tensor::from_slice(&[2u32], &[1])?;
/// let loss = cross_entropy_composed(&logits, &targets, &CrossEntropy::default())?;
/// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn cross_entropy_composed(
    logits: &Var,
    targets: &Tensor,
    options: &CrossEntropy,
) -> Result<Var> {
    let classes = logits.size(-1)?;
    let log_p = logits.log_softmax(-1)?;
    let weight = class_weights(options, classes, logits)?;
    let (safe, counts, row_weight) = weighed(targets, options, &weight)?;
    let nll = log_p.gather(-1, &safe.unsqueeze(-1)?)?.squeeze(-1)?.neg()?;
    let nll = kept(&nll.mul(&Var::constant(row_weight.clone()))?, &counts)?;
    let eps = options.label_smoothing;
    let mut rows = nll.mul_scalar(1.0 - eps)?;
    if eps > 0.0 {
        let smooth = log_p.mul(&Var::constant(weight))?.sum(&[-1], false)?.neg()?;
        rows = rows.add(&kept(&smooth.mul_scalar(eps / classes as f64)?, &counts)?)?;
    }
    match options.reduction {
        Reduction::None => Ok(rows),
        Reduction::Sum => rows.sum_all(),
        Reduction::Mean => rows.sum_all()?.div(&Var::constant(row_weight.sum_all()?)),
    }
}

impl Var {
    /// See [`Tensor::cross_entropy`]. Fused: neither direction stores the probabilities.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{CrossEntropy, DType, Tensor};
    /// let logits = Var::leaf(Tensor::zeros(&[1, 4], DType::F32)?); // p = ¼ each
    /// let targets = Tensor::from_slice(&[2u32], &[1])?;
    /// let loss = logits.cross_entropy(&targets, &CrossEntropy::default())?;
    /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6); // −ln ¼
    /// let grads = loss.backward()?; // p − onehot
    /// assert_eq!(grads.get(&logits).unwrap().to_string(), "[[ 0.25  0.25 -0.75  0.25]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn cross_entropy(&self, targets: &Tensor, options: &CrossEntropy) -> Result<Var> {
        let wide = self.computable()?;
        if wide.dtype() != self.dtype() {
            let weight = options.weight.as_ref().map(|w| w.to_dtype(DType::F32)).transpose()?;
            let options = CrossEntropy { weight, ..options.clone() };
            return wide.cross_entropy(targets, &options)?.to_dtype(self.dtype());
        }
        let x = &self.raised()?;
        let (loss, lse) = x.tensor().cross_entropy(targets, options)?;
        let (targets, options) = (targets.clone(), options.clone());
        let told = Told::new()
            .set("targets", || numbers(&targets))
            .set("label_smoothing", || json!(options.label_smoothing))
            .set("weighted", || json!(options.weight.is_some()))
            .set("reduction", || json!(format!("{:?}", options.reduction)))
            .holds(SavedTensor::LogSum, [&lse]);
        Var::record_told(Op::CrossEntropy, loss, &[x], told, move |c| {
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

    /// The cross-entropy of the logits `x·Wᵀ + b` (`self` `[n, in]`, `w` `[classes, in]`, `b`
    /// `[classes]`) against `targets` (u32 `[n]`), as [`linear`](Var::linear) and then
    /// [`cross_entropy`](Var::cross_entropy), but it never holds all logits: it computes `rows` of
    /// them at a time, and computes them again in backward ([`checkpoint`]). It is for the
    /// masked-LM head, whose logits over 30,522 words would be the largest tensor of all.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{CrossEntropy, DType, Tensor};
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// let w = Var::constant(Tensor::zeros(&[4, 2], DType::F32)?); // all logits 0: p = ¼
    /// let targets = Tensor::from_slice(&[2u32, 0], &[2])?;
    /// let mean = CrossEntropy::default();
    /// let loss = x.linear_cross_entropy(&w, None, &targets, &mean, 1)?; // one row at a time
    /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `rows` is 0, and as the two operations.
    pub fn linear_cross_entropy(
        &self,
        w: &Var,
        bias: Option<&Var>,
        targets: &Tensor,
        options: &CrossEntropy,
        rows: usize,
    ) -> Result<Var> {
        let op = "linear_cross_entropy";
        if self.rank() != 2 || targets.shape() != &self.shape()[..1] || w.rank() != 2 {
            bail!(
                op,
                Shape,
                "the input is {:?}, the weight {:?}, targets {:?}; they must be [n, in], [classes, in], [n]",
                self.shape(),
                w.shape(),
                targets.shape()
            );
        }
        if rows == 0 {
            bail!(op, "rows is 0; at least one row is computed at a time");
        }
        let (n, classes) = (self.shape()[0], w.shape()[0]);
        let each = CrossEntropy { reduction: Reduction::None, ..options.clone() };
        let part = |from: usize| {
            let count = rows.min(n - from);
            let x = self.narrow(0, from, count)?;
            let targets = targets.narrow(0, from, count)?;
            let (w, bias, each) = (w.clone(), bias.cloned(), each.clone());
            checkpoint(move || x.linear(&w, bias.as_ref())?.cross_entropy(&targets, &each))
        };
        // With no rows there is one part, of no rows.
        let parts = (0..n.max(1)).step_by(rows).map(part).collect::<Result<Vec<_>>>()?;
        let losses = Var::cat(&parts.iter().collect::<Vec<_>>(), 0)?;
        match options.reduction {
            Reduction::None => Ok(losses),
            Reduction::Sum => losses.sum_all(),
            Reduction::Mean => {
                let weight = class_weights(options, classes, &losses)?;
                let (_, _, row_weight) = weighed(targets, options, &weight)?;
                losses.sum_all()?.div(&Var::constant(row_weight.sum_all()?))
            }
        }
    }
}
