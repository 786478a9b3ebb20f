//! The optimisers' steps, fused and in place, and the global norm that clipping needs.

use super::loss_scale::VERDICT;
use super::{must_match, on_device};
use crate::{DType, Device, ErrorKind, Result, Tensor, bail};
pub use gradus_base::op::optim::{AdamWStep, SgdStep};

fn check_scale(op: &'static str, scale: Option<&Tensor>) -> Result<()> {
    match scale {
        Some(scale) if ![1, VERDICT].contains(&scale.numel()) || !scale.dtype().is_float() => {
            bail!(
                op,
                kind = ErrorKind::shape_or_dtype(scale.dtype().is_float()),
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
    /// [`loss_scale_`](Tensor::loss_scale_) returned: then the step may be skipped, and those
    /// skipped before (its third number, which must be of this parameter's own steps) do not count
    /// in t. A storage that someone else still holds is copied first.
    ///
    /// ```
    /// # use gradus_tensor::ops::optim::AdamWStep;
    /// # use gradus_tensor::Tensor;
    /// let mut p = Tensor::from_slice(&[1f32], &[1])?;
    /// let (mut m, mut v) = (p.zeros_like()?, p.zeros_like()?);
    /// let grad = Tensor::from_slice(&[0.5f32], &[1])?;
    /// let h = AdamWStep {
    ///     lr: 0.1,
    ///     beta1: 0.9,
    ///     beta2: 0.999,
    ///     eps: 1e-8,
    ///     weight_decay: 0.0,
    ///     step: 1,
    ///     decoupled: true,
    /// };
    /// p.adamw_(&grad, &mut m, &mut v, &h, None)?;
    /// assert!((p.item()? - 0.9).abs() < 1e-6); // the first step has the length η
    /// assert!((m.item()? - 0.05).abs() < 1e-6);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If shapes or dtypes differ, or a setting is out of its range ([`AdamWStep::check`]).
    pub fn adamw_(
        &mut self,
        grad: &Tensor,
        m: &mut Tensor,
        v: &mut Tensor,
        h: &AdamWStep,
        scale: Option<&Tensor>,
    ) -> Result<()> {
        must_match("adamw_", ("the gradient", grad), ("the parameter", self))?;
        must_match("adamw_", ("the first moment", m), ("the parameter", self))?;
        must_match("adamw_", ("the second moment", v), ("the parameter", self))?;
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
    /// Without `momentum_buffer` the step has no momentum, even if `h.momentum` is not 0. `scale`
    /// as in [`adamw_`](Tensor::adamw_).
    ///
    /// ```
    /// # use gradus_tensor::ops::optim::SgdStep;
    /// # use gradus_tensor::Tensor;
    /// let mut p = Tensor::from_slice(&[1f32], &[1])?;
    /// let grad = Tensor::from_slice(&[0.5f32], &[1])?;
    /// let h = SgdStep {
    ///     lr: 0.5,
    ///     momentum: 0.0,
    ///     dampening: 0.0,
    ///     nesterov: false,
    ///     weight_decay: 0.0,
    ///     step: 1,
    /// };
    /// p.sgd_(&grad, None, &h, None)?;
    /// assert_eq!(p.item()?, 0.75); // 1 − 0.5·0.5
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If shapes or dtypes differ, or a setting is out of its range ([`SgdStep::check`]).
    pub fn sgd_(
        &mut self,
        grad: &Tensor,
        momentum_buffer: Option<&mut Tensor>,
        h: &SgdStep,
        scale: Option<&Tensor>,
    ) -> Result<()> {
        must_match("sgd_", ("the gradient", grad), ("the parameter", self))?;
        if let Some(buffer) = &momentum_buffer {
            must_match("sgd_", ("the momentum buffer", buffer), ("the parameter", self))?;
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
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let a = Tensor::from_slice(&[3f32], &[1])?;
    /// let b = Tensor::from_slice(&[0f32, 4.0], &[2])?;
    /// assert_eq!(Tensor::global_norm(&[&a, &b])?.item()?, 5.0); // √(3² + 4²)
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensors differ in dtype.
    pub fn global_norm(tensors: &[&Tensor]) -> Result<Tensor> {
        let dtype = tensors.first().map_or(DType::F32, |t| t.dtype());
        if let Some(other) = tensors.iter().find(|t| t.dtype() != dtype) {
            bail!(
                "global_norm",
                DType,
                "dtypes differ: {dtype} and {}; convert one with to_dtype",
                other.dtype()
            );
        }
        let contiguous = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        on_device!("global_norm", tensors; optim::global_norm(&contiguous, dtype))
    }

    /// The sums of squares of the tensor's chunks, computed on the CPU. The root of all sums of all
    /// tensors, added in order, is their [`global_norm`](Tensor::global_norm) on the CPU, to the bit:
    /// so several processes can measure a part of the tensors each.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[3f32, 4.0], &[2])?;
    /// assert_eq!(x.sums_of_squares()?, [25.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor is not of floats, or its device cannot be read.
    pub fn sums_of_squares(&self) -> Result<Vec<f64>> {
        let here = self.to_device(Device::Cpu)?.contiguous()?;
        gradus_cpu::optim::sums_of_squares(here.cpu(), here.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RngKey;

    fn random(name: &str) -> Tensor {
        Tensor::randn(&[100], DType::F32, RngKey::new(1).place(name)).unwrap()
    }

    #[test]
    fn a_step_is_in_place_and_never_seen_by_others() {
        let mut p = random("p");
        let grad = random("g");
        let h = SgdStep {
            lr: 0.1,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            step: 1,
        };
        let address = p.cpu().slice::<f32>().as_ptr();
        p.sgd_(&grad, None, &h, None).unwrap();
        assert_eq!(p.cpu().slice::<f32>().as_ptr(), address);
        let (before, held) = (p.to_vec::<f32>().unwrap(), p.clone());
        p.sgd_(&grad, None, &h, None).unwrap();
        assert_eq!(held.to_vec::<f32>().unwrap(), before);
        assert_ne!(p.to_vec::<f32>().unwrap(), before);
    }
}
