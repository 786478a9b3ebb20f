//! The optimisers' steps, fused and in place, and the global norm that clipping needs.

use super::loss_scale::VERDICT;
use crate::device::on_device;
use crate::{DType, Result, Tensor, bail};

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

/// Checks that `other` has the parameter's shape and dtype.
fn same(op: &'static str, parameter: &Tensor, what: &str, other: &Tensor) -> Result<()> {
    if other.shape() != parameter.shape() || other.dtype() != parameter.dtype() {
        bail!(
            op,
            "{what} is {:?} {}, the parameter {:?} {}; both must match",
            other.shape(),
            other.dtype(),
            parameter.shape(),
            parameter.dtype()
        );
    }
    Ok(())
}

fn check_scale(op: &'static str, scale: Option<&Tensor>) -> Result<()> {
    match scale {
        Some(scale) if ![1, VERDICT].contains(&scale.numel()) || !scale.dtype().is_float() => {
            bail!(
                op,
                "the gradient's scale is {:?} {}; it must be one float, or what loss_scale_ returned",
                scale.shape(),
                scale.dtype()
            )
        }
        _ => Ok(()),
    }
}

impl Tensor {
    /// One step of AdamW (Loshchilov & Hutter, arXiv:1711.05101) or Adam (Kingma & Ba,
    /// arXiv:1412.6980) on the parameter `self`, in one pass over memory; f32 and f64. The formula
    /// is that of `torch.optim.AdamW` and `Adam`:
    ///
    /// ```text
    /// g ← scale·grad                   (+ λ·p, if not decoupled)
    /// p ← p·(1 − η·λ)                  (if decoupled)
    /// m ← m + (1 − β₁)·(g − m)
    /// v ← β₂·v + (1 − β₂)·g²
    /// p ← p − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
    /// ```
    ///
    /// `m` and `v` are the running moments (zeros before the first step); `scale` is one number
    /// that stays on the device (the factor of gradient clipping), or what
    /// [`loss_scale_`](Tensor::loss_scale_) returned: then the step may be skipped, and those skipped before (its
    /// third number, which must be of this parameter's own steps) do not count in t. A storage that someone else still holds is copied first.
    ///
    /// Errors: shapes or dtypes that differ; settings out of their range ([`AdamWStep::check`]).
    pub fn adamw_(
        &mut self,
        grad: &Tensor,
        m: &mut Tensor,
        v: &mut Tensor,
        h: &AdamWStep,
        scale: Option<&Tensor>,
    ) -> Result<()> {
        same("adamw_", self, "the gradient", grad)?;
        same("adamw_", self, "the first moment", m)?;
        same("adamw_", self, "the second moment", v)?;
        check_scale("adamw_", scale)?;
        h.check("adamw_")?;
        let grad = grad.contiguous()?;
        let operands: Vec<&Tensor> = [&*self, &grad, m, v].into_iter().chain(scale).collect();
        on_device!("adamw_", &operands; optim::adamw_(self, &grad, m, v, h, scale))
    }

    /// One step of stochastic gradient descent on the parameter `self`, in one pass over memory;
    /// f32 and f64. The formula is that of `torch.optim.SGD` (momentum after Sutskever et al.,
    /// ICML 2013):
    ///
    /// ```text
    /// g ← scale·grad + λ·p
    /// b ← μ·b + (1 − τ)·g              (b ← g on the first step)
    /// p ← p − η·b                      (Nesterov: p − η·(g + μ·b); no buffer: p − η·g)
    /// ```
    ///
    /// Without `momentum_buffer` there is no momentum, whatever `h.momentum` says. `scale` as in
    /// [`adamw_`](Tensor::adamw_).
    ///
    /// Errors: shapes or dtypes that differ; settings out of their range ([`SgdStep::check`]).
    pub fn sgd_(
        &mut self,
        grad: &Tensor,
        momentum_buffer: Option<&mut Tensor>,
        h: &SgdStep,
        scale: Option<&Tensor>,
    ) -> Result<()> {
        same("sgd_", self, "the gradient", grad)?;
        if let Some(buffer) = &momentum_buffer {
            same("sgd_", self, "the momentum buffer", buffer)?;
        }
        check_scale("sgd_", scale)?;
        h.check("sgd_")?;
        let grad = grad.contiguous()?;
        let buffer = momentum_buffer;
        let operands: Vec<&Tensor> =
            [&*self, &grad].into_iter().chain(buffer.as_deref()).chain(scale).collect();
        on_device!("sgd_", &operands; optim::sgd_(self, &grad, buffer, h, scale))
    }

    /// The Euclidean norm of all elements of all `tensors` together, a scalar of their dtype (f32
    /// or f64; f32 for no tensors, whose norm is 0).
    ///
    /// The squares are summed in f64, in an order fixed by the shapes: the result does not depend
    /// on the number of threads.
    ///
    /// Errors: tensors of different dtypes.
    pub fn global_norm(tensors: &[&Tensor]) -> Result<Tensor> {
        let dtype = tensors.first().map_or(DType::F32, |t| t.dtype());
        if let Some(other) = tensors.iter().find(|t| t.dtype() != dtype) {
            bail!(
                "global_norm",
                "dtypes differ: {dtype} and {}; convert one with to_dtype",
                other.dtype()
            );
        }
        let contiguous = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        on_device!("global_norm", tensors; optim::global_norm(&contiguous, dtype))
    }
}
