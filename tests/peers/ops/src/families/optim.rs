//! The optimisers' steps: the tensors that they change are inputs, and their new values are
//! outputs.

use gradus_autograd::Var;
use gradus_tensor::ops::optim::{AdamWStep, SgdStep};
use gradus_tensor::{LossScale, Result, Tensor, bail};

use super::{Operation, Outputs, several, tensors, value};
use crate::call::Call;

fn changed(tensors: Vec<Tensor>) -> Outputs {
    Ok(tensors.into_iter().map(Var::constant).collect())
}

/// The parameter, its gradient, both moments.
fn adamw(c: &Call) -> Outputs {
    let step = AdamWStep {
        lr: c.number("lr")?,
        beta1: c.number("beta1")?,
        beta2: c.number("beta2")?,
        eps: c.number("eps")?,
        weight_decay: c.number("weight_decay")?,
        step: c.get("step")?,
        decoupled: c.flag("decoupled")?,
    };
    let mut parameter = c.tensor(0)?.clone();
    let (mut m, mut v) = (c.tensor(2)?.clone(), c.tensor(3)?.clone());
    parameter.adamw_(c.tensor(1)?, &mut m, &mut v, &step, None)?;
    changed(vec![parameter, m, v])
}

/// The parameter, its gradient, and the momentum buffer, if there is one.
fn sgd(c: &Call) -> Outputs {
    let step = SgdStep {
        lr: c.number("lr")?,
        momentum: c.number("momentum")?,
        dampening: c.number("dampening")?,
        nesterov: c.flag("nesterov")?,
        weight_decay: c.number("weight_decay")?,
        step: c.get("step")?,
    };
    let mut parameter = c.tensor(0)?.clone();
    let mut buffer = c.maybe(2).map(|buffer| buffer.tensor().clone());
    parameter.sgd_(c.tensor(1)?, buffer.as_mut(), &step, None)?;
    changed([parameter].into_iter().chain(buffer).collect())
}

/// The state and the norm; the new state and the verdict.
fn loss_scale(c: &Call) -> Outputs {
    let growth_interval = c.get("growth_interval")?;
    let scale = LossScale {
        growth_factor: c.number("growth_factor")?,
        backoff_factor: c.number("backoff_factor")?,
        growth_interval,
        max_norm: c.number_or("max_norm", f64::INFINITY)?,
    };
    let mut state = c.tensor(0)?.clone();
    let verdict = state.loss_scale_(c.tensor(1)?, &scale)?;
    changed(vec![state, verdict])
}

fn global_norm(c: &Call) -> Result<Tensor> {
    if c.maybe(0).is_none() {
        bail!("ops", "global_norm needs at least one input");
    }
    Tensor::global_norm(&tensors(&c.rest(0)))
}

pub fn operations() -> Vec<Operation> {
    vec![
        several("adamw_", adamw),
        several("sgd_", sgd),
        several("loss_scale_", loss_scale),
        value("global_norm", global_norm),
    ]
}
