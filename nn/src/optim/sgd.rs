//! Stochastic gradient descent.

use gradus_autograd::Gradients;
use gradus_tensor::ops::optim::SgdStep;
use gradus_tensor::{Result, Tensor};

use super::{Optimizer, OptimizerCore};
use crate::ParamGroup;

/// Stochastic gradient descent with momentum, as `torch.optim.SGD`; weight decay is added to the
/// gradient. Formula: [`Tensor::sgd_`]. State: `momentum_buffer.*` (with momentum), `step.*`.
pub struct Sgd {
    core: OptimizerCore,
    momentum: f64,
    nesterov: bool,
    dampening: f64,
}

impl Sgd {
    /// An optimiser of these groups. `momentum` 0 for none; with `nesterov`, the step looks ahead
    /// along the momentum (Sutskever et al., ICML 2013).
    pub fn new(groups: Vec<ParamGroup>, momentum: f64, nesterov: bool) -> Self {
        let buffers: &[&str] = if momentum == 0.0 { &[] } else { &["momentum_buffer"] };
        Sgd { core: OptimizerCore::new("sgd", groups, buffers), momentum, nesterov, dampening: 0.0 }
    }

    /// With the gradient entering the momentum at 1 − `dampening`.
    pub fn with_dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, grads: &Gradients, lr_factor: f64, scale: Option<&Tensor>) -> Result<()> {
        let (momentum, nesterov, dampening) = (self.momentum, self.nesterov, self.dampening);
        self.core.step(grads, lr_factor, |value, grad, slot, lr, weight_decay| {
            let step = slot.step;
            let h = SgdStep { lr, momentum, dampening, nesterov, weight_decay, step };
            value.sgd_(grad, slot.buffers.first_mut(), &h, scale)
        })
    }

    fn core(&self) -> &OptimizerCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut OptimizerCore {
        &mut self.core
    }
}
