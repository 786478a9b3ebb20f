//! Losses: the fused cross-entropy, and the losses that `nn` composes.

use gradus_autograd::Var;
use gradus_nn::losses;
use gradus_tensor::{CrossEntropy, Result};

use super::{Operation, one};
use crate::call::Call;

/// The options of a cross-entropy; the class weights are input `weight`, if there is one.
fn cross_entropy(c: &Call, weight: usize) -> Result<CrossEntropy> {
    Ok(CrossEntropy {
        ignore_index: c.option("ignore_index")?,
        label_smoothing: c.number_or("label_smoothing", 0.0)?,
        weight: c.maybe(weight).map(|weight| weight.tensor().clone()),
        reduction: c.reduction()?,
    })
}

pub fn operations() -> Vec<Operation> {
    vec![
        one("cross_entropy", |c| c.x()?.cross_entropy(c.tensor(1)?, &cross_entropy(c, 2)?)),
        one("linear_cross_entropy", |c| {
            let (weight, bias, targets) = (c.var(1)?, c.var(2)?, c.tensor(3)?);
            let (options, rows) = (cross_entropy(c, 4)?, c.get("rows")?);
            c.x()?.linear_cross_entropy(weight, Some(bias), targets, &options, rows)
        }),
        one("mse_loss", |c| losses::mse(c.x()?, c.var(1)?, c.reduction()?)),
        one("l1_loss", |c| losses::l1(c.x()?, c.var(1)?, c.reduction()?)),
        one("huber_loss", |c| {
            losses::huber(c.x()?, c.var(1)?, c.number_or("delta", 1.0)?, c.reduction()?)
        }),
        one("binary_cross_entropy_with_logits", |c| {
            let weight = c.maybe(2).map(Var::tensor);
            losses::bce_with_logits(c.x()?, c.tensor(1)?, weight, c.reduction()?)
        }),
        one("cosine_similarity", |c| {
            losses::cosine_similarity(c.x()?, c.var(1)?, c.dim()?, c.number_or("eps", 1e-8)?)
        }),
        one("cosine_embedding_loss", |c| {
            let margin = c.number_or("margin", 0.0)?;
            losses::cosine_embedding(c.x()?, c.var(1)?, c.tensor(2)?, margin, c.reduction()?)
        }),
    ]
}
