//! Dynamic loss scaling (Micikevicius et al., arXiv:1710.03740): the loss is multiplied by a scale,
//! so that gradients in half precision do not vanish; a step whose gradients overflowed is skipped.

use super::on_device;
use crate::{DType, Result, Tensor, bail};
pub use gradus_base::op::loss_scale::{LossScale, STATE, VERDICT};

impl Tensor {
    /// Judges the gradients of a loss that was multiplied by the scale, and moves the scale as
    /// `torch.amp.GradScaler` does. Nothing is read back: the optimiser's kernels read the verdict.
    ///
    /// `self` is the state, f32 `[3]`: the scale s, the steps without overflow since it last
    /// changed, the steps skipped so far. `norm` is the global norm of the gradients as they are,
    /// scaled, f32; it is infinite or NaN exactly if a gradient is. Returns f32 `[5]`:
    ///
    /// | place | number |
    /// | --- | --- |
    /// | 0 | factor of the gradients: min(1, max_norm/(norm/s + 1e-6))/s |
    /// | 1 | 1 if the norm is not finite and the step must be skipped, else 0 |
    /// | 2 | steps skipped before this one |
    /// | 3 | norm/s: that of the gradients without the scale |
    /// | 4 | s |
    ///
    /// The state afterwards: if skipped, s·backoff, 0, one more; else one step more and, once they
    /// are `growth_interval`, s·growth (unless that is infinite) and 0.
    ///
    /// ```
    /// # use gradus_tensor::{LossScale, Tensor};
    /// let mut state = Tensor::from_slice(&[65536f32, 7.0, 0.0], &[3])?;
    /// let h = LossScale {
    ///     growth_factor: 2.0,
    ///     backoff_factor: 0.5,
    ///     growth_interval: 2000,
    ///     max_norm: 1.0,
    /// };
    /// let verdict = state.loss_scale_(&Tensor::scalar(f32::INFINITY), &h)?; // an overflow
    /// assert_eq!(verdict.i(1)?.item()?, 1.0); // skip this step
    /// assert_eq!(state.to_vec::<f32>()?, [32768.0, 0.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a shape or dtype is another, or a factor is not positive.
    pub fn loss_scale_(&mut self, norm: &Tensor, h: &LossScale) -> Result<Tensor> {
        let op = "loss_scale_";
        if self.shape() != [STATE] || norm.numel() != 1 {
            bail!(
                op,
                "state {:?}, norm {:?}; they must be [3] and one number",
                self.shape(),
                norm.shape()
            );
        }
        if self.dtype() != DType::F32 || norm.dtype() != DType::F32 {
            bail!(op, "state {}, norm {}; both must be f32", self.dtype(), norm.dtype());
        }
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if !positive(h.growth_factor)
            || !positive(h.backoff_factor)
            || h.growth_interval == 0
            || h.max_norm.is_nan()
        {
            bail!(
                op,
                "{h:?}: the factors must be positive, the interval 1 or more, the norm a number"
            );
        }
        let norm = norm.contiguous()?;
        on_device!(op, [&*self, &norm], loss_scale::loss_scale_(self, &norm, h))
    }
}
