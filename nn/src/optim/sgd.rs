//! Stochastic gradient descent.

use std::borrow::Borrow;

use gradus_autograd::Gradients;
use gradus_tensor::ops::optim::SgdStep;
use gradus_tensor::{Result, Tensor, bail};

use super::{Optimizer, OptimizerCore, Update};
use crate::{ParamGroup, Parameter};

/// The name in errors.
const OP: &str = "sgd";

/// Stochastic gradient descent with momentum, as `torch.optim.SGD`; weight decay is added to the
/// gradient. Formula: [`Tensor::sgd_`]. State: `momentum_buffer.*` (with momentum), `step.*`.
pub struct Sgd {
    core: OptimizerCore,
    momentum: f64,
    nesterov: bool,
    dampening: f64,
}

impl Sgd {
    /// Plain descent of these parameters at the rate `lr`: no momentum, no weight decay.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?;
    /// optimizer.step(&w.var().square()?.backward()?)?; // 1 − ¼·2
    /// assert_eq!(w.tensor().item()?, 0.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a parameter is there twice, or the rate is not a finite number of 0 or more.
    pub fn new(params: impl IntoIterator<Item = impl Borrow<Parameter>>, lr: f64) -> Result<Self> {
        Self::with_groups(vec![ParamGroup::new(params, lr)])
    }

    /// Plain descent of groups with a rate and a weight decay each.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, ParamGroup, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let body = Parameter::new("body", Tensor::scalar(1f32))?;
    /// let head = Parameter::new("head", Tensor::scalar(1f32))?;
    /// let groups = vec![ParamGroup::new([&body], 0.25), ParamGroup::new([&head], 0.5)];
    /// let mut optimizer = Sgd::with_groups(groups)?;
    /// optimizer.step(&body.var().add(&head.var())?.backward()?)?; // both gradients are 1
    /// assert_eq!(body.tensor().item()?, 0.75);
    /// assert_eq!(head.tensor().item()?, 0.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a parameter is in the groups twice, or a rate or decay is not a finite number of 0 or
    /// more.
    pub fn with_groups(groups: Vec<ParamGroup>) -> Result<Self> {
        let core = OptimizerCore::new(OP, groups, &[])?;
        Sgd { core, momentum: 0.0, nesterov: false, dampening: 0.0 }.checked()
    }

    /// With this weight decay in all groups.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?.weight_decay(1.0)?;
    /// optimizer.step(&w.var().square()?.backward()?)?; // 1 − ¼·(2 + 1·1)
    /// assert_eq!(w.tensor().item()?, 0.25);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not a finite number of 0 or more.
    pub fn weight_decay(mut self, weight_decay: f64) -> Result<Self> {
        self.core.set_weight_decay(weight_decay);
        self.checked()
    }

    /// With this momentum; 0 for none.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?.momentum(0.5)?;
    /// optimizer.step(&w.var().mul_scalar(2.0)?.backward()?)?; // 1 − ¼·2
    /// assert_eq!(w.tensor().item()?, 0.5);
    /// optimizer.step(&w.var().mul_scalar(2.0)?.backward()?)?; // ½ − ¼·(½·2 + 2)
    /// assert_eq!(w.tensor().item()?, -0.25);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not a finite number of 0 or more.
    pub fn momentum(mut self, momentum: f64) -> Result<Self> {
        let buffers: &[&str] = if momentum == 0.0 { &[] } else { &["momentum_buffer"] };
        self.core = self.core.with_buffers(buffers);
        Sgd { momentum, ..self }.checked()
    }

    /// With Nesterov's momentum: the step looks ahead along it (Sutskever et al., ICML 2013).
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?.momentum(0.5)?.nesterov()?;
    /// optimizer.step(&w.var().mul_scalar(2.0)?.backward()?)?; // 1 − ¼·(2 + ½·2)
    /// assert_eq!(w.tensor().item()?, 0.25);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no [`momentum`](Sgd::momentum), or [`dampening`](Sgd::dampening).
    pub fn nesterov(self) -> Result<Self> {
        Sgd { nesterov: true, ..self }.checked()
    }

    /// With the gradient entering the momentum at 1 − `dampening`.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?.momentum(0.5)?.dampening(0.5)?;
    /// optimizer.step(&w.var().mul_scalar(2.0)?.backward()?)?; // 1 − ¼·2
    /// optimizer.step(&w.var().mul_scalar(2.0)?.backward()?)?; // ½ − ¼·(½·2 + ½·2)
    /// assert_eq!(w.tensor().item()?, 0.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not finite, or not 0 with Nesterov's momentum.
    pub fn dampening(self, dampening: f64) -> Result<Self> {
        Sgd { dampening, ..self }.checked()
    }

    fn checked(self) -> Result<Self> {
        self.check(1.0)?;
        Ok(self)
    }

    fn check(&self, lr_factor: f64) -> Result<()> {
        self.settings(0.0, 0.0, 1).check(OP)?;
        self.core.groups().iter().try_for_each(|group| {
            if let Some(betas) = group.betas {
                bail!(OP, "a group sets betas to {betas:?}; only Adam and AdamW have betas");
            }
            self.settings(group.lr * lr_factor, group.weight_decay, 1).check(OP)
        })
    }

    fn settings(&self, lr: f64, weight_decay: f64, step: u64) -> SgdStep {
        let (momentum, nesterov, dampening) = (self.momentum, self.nesterov, self.dampening);
        SgdStep { lr, momentum, dampening, nesterov, weight_decay, step }
    }
}

impl Optimizer for Sgd {
    fn step_scaled(
        &mut self,
        grads: &Gradients,
        lr_factor: f64,
        scale: Option<&Tensor>,
    ) -> Result<()> {
        self.check(lr_factor)?;
        let base = self.settings(0.0, 0.0, 1);
        self.core.step(grads, lr_factor, scale, |value, update| {
            let Update { grad, slot, lr, weight_decay, scale, .. } = update;
            let h = SgdStep { lr, weight_decay, step: slot.step, ..base };
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
