//! The optimisers' steps: their settings.

use crate::{Result, bail};

/// One step of Adam or AdamW on one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate η.
    pub lr: f64,
    /// Decay β₁ of the gradient's running mean, in 0..1.
    pub beta1: f64,
    /// Decay β₂ of the squared gradient's running mean, in 0..1.
    pub beta2: f64,
    /// ε, added to the root of the second moment.
    pub eps: f64,
    /// Weight decay λ.
    pub weight_decay: f64,
    /// The number of this step, from 1: the moments' bias corrections depend on it.
    pub step: u64,
    /// Whether the decay acts on the weight itself (AdamW) or is added to the gradient (Adam with
    /// an L2 penalty).
    pub decoupled: bool,
}

/// One step of stochastic gradient descent on one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate η.
    pub lr: f64,
    /// Momentum μ.
    pub momentum: f64,
    /// Dampening τ: the gradient enters the momentum buffer with the factor 1 − τ.
    pub dampening: f64,
    /// Nesterov's momentum: look ahead along the buffer.
    pub nesterov: bool,
    /// Weight decay λ, added to the gradient (L2 penalty).
    pub weight_decay: f64,
    /// The number of this step, from 1: on the first one the buffer becomes the gradient itself.
    pub step: u64,
}

/// Checks that a setting is a finite number of 0 or more.
fn not_negative(op: &'static str, what: &str, value: f64) -> Result<()> {
    if !(value.is_finite() && value >= 0.0) {
        bail!(op, "{what} is {value}; it must be a finite number of 0 or more");
    }
    Ok(())
}

impl AdamWStep {
    /// Checks every setting.
    ///
    /// ```
    /// # use gradus_base::op::optim::AdamWStep;
    /// let h = AdamWStep {
    ///     lr: 1e-3,
    ///     beta1: 0.9,
    ///     beta2: 0.999,
    ///     eps: 1e-8,
    ///     weight_decay: 0.01,
    ///     step: 1,
    ///     decoupled: true,
    /// };
    /// assert!(h.check("adamw_").is_ok());
    /// let error = AdamWStep { beta1: 1.0, ..h }.check("adamw_").unwrap_err().to_string();
    /// assert_eq!(error, "[adamw_] beta1 is 1; it must be at least 0 and below 1");
    /// ```
    ///
    /// # Errors
    /// Of `op`: the name of the first that is out of its range, its value, and the range.
    pub fn check(&self, op: &'static str) -> Result<()> {
        not_negative(op, "the learning rate", self.lr)?;
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                bail!(op, "{name} is {beta}; it must be at least 0 and below 1");
            }
        }
        not_negative(op, "eps", self.eps)?;
        not_negative(op, "the weight decay", self.weight_decay)?;
        check_step(op, self.step)
    }
}

impl SgdStep {
    /// Checks every setting.
    ///
    /// ```
    /// # use gradus_base::op::optim::SgdStep;
    /// let h = SgdStep {
    ///     lr: 0.1,
    ///     momentum: 0.0,
    ///     dampening: 0.0,
    ///     nesterov: false,
    ///     weight_decay: 0.0,
    ///     step: 1,
    /// };
    /// assert!(h.check("sgd_").is_ok());
    /// assert!(SgdStep { nesterov: true, ..h }.check("sgd_").is_err()); // without momentum
    /// ```
    ///
    /// # Errors
    /// Of `op`: the name of the first that is out of its range, its value, and the range.
    pub fn check(&self, op: &'static str) -> Result<()> {
        not_negative(op, "the learning rate", self.lr)?;
        not_negative(op, "the momentum", self.momentum)?;
        not_negative(op, "the weight decay", self.weight_decay)?;
        if !self.dampening.is_finite() {
            bail!(op, "the dampening is {}; it must be a finite number", self.dampening);
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            bail!(
                op,
                "Nesterov's momentum needs a momentum above 0 and no dampening; they are {} and {}",
                self.momentum,
                self.dampening
            );
        }
        check_step(op, self.step)
    }
}

fn check_step(op: &'static str, step: u64) -> Result<()> {
    if step == 0 {
        bail!(op, "steps count from 1, got 0");
    }
    Ok(())
}
