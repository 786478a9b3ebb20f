//! Dynamic loss scaling.

use gradus_autograd::{Gradients, Var};
use gradus_tensor::ops::loss_scale::STATE;
use gradus_tensor::{DType, Device, ErrorKind, LossScale, Result, Tensor, bail};

use super::clip::{Clip, total_norm};
use crate::Parameter;

/// The name in errors.
const OP: &str = "grad_scaler";

/// Dynamic loss scaling, as `torch.amp.GradScaler` (Micikevicius et al., arXiv:1710.03740): the
/// loss is multiplied by a scale before backward, so that gradients in f16 do not vanish. Where one
/// overflows, the step is skipped and the scale halved; after 2,000 steps without, it doubles. It
/// begins at 2¹⁶.
///
/// The scale stays on the device, and so does the decision: nothing is read back, the optimiser's
/// kernels skip the step themselves.
///
/// ```no_run
/// # use gradus_nn::{AdamW, GradScaler, Optimizer, Parameter, Precision};
/// # use gradus_tensor::{Device, Result};
/// # fn step(
/// #     loss: impl Fn() -> Result<gradus_autograd::Var>,
/// #     parameters: &[Parameter],
/// #     optimizer: &mut AdamW,
/// # ) -> Result<()> {
/// let mut scaler = GradScaler::new(Device::gpu(0)?)?;
/// let loss = Precision::F16.run(loss)?;
/// let grads = scaler.backward(&loss)?;
/// let clip = scaler.clip_grad_norm(&grads, parameters, 1.0)?;
/// optimizer.step_scaled(&grads, 1.0, Some(&clip.scale))?;
/// # Ok(())
/// # }
/// ```
pub struct GradScaler {
    /// See [`Tensor::loss_scale_`].
    state: Tensor,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u32,
}

impl GradScaler {
    /// A scaler for gradients on `device`, with PyTorch's settings.
    ///
    /// ```
    /// # use gradus_nn::GradScaler;
    /// # use gradus_tensor::Device;
    /// let scaler = GradScaler::new(Device::Cpu)?;
    /// assert_eq!(scaler.scale()?.item()?, 65536.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn new(device: Device) -> Result<Self> {
        let state = Tensor::from_slice(&[65536f32, 0.0, 0.0], &[STATE])?.to_device(device)?;
        Ok(GradScaler { state, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 })
    }

    /// Scale 1 for ever, for gradients that cannot overflow: it only skips the steps whose
    /// gradients are not finite, and counts them.
    ///
    /// ```
    /// # use gradus_nn::{GradScaler, Parameter};
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut scaler = GradScaler::constant(Device::Cpu)?;
    /// let grads = w.var().mul_scalar(f64::NAN)?.backward()?;
    /// let clip = scaler.clip_grad_norm(&grads, &[w], 1.0)?;
    /// assert_eq!(clip.scale.i(1)?.item()?, 1.0); // the optimiser skips the step
    /// assert_eq!(scaler.state(), [1.0, 0.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn constant(device: Device) -> Result<Self> {
        let scaler = GradScaler::new(device)?.with_scale(1.0)?;
        Ok(GradScaler { growth_factor: 1.0, backoff_factor: 1.0, ..scaler })
    }

    /// With another first scale.
    ///
    /// ```
    /// # use gradus_nn::GradScaler;
    /// # use gradus_tensor::Device;
    /// let scaler = GradScaler::new(Device::Cpu)?.with_scale(8.0)?;
    /// assert_eq!(scaler.scale()?.item()?, 8.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not a finite number above 0.
    pub fn with_scale(mut self, scale: f64) -> Result<Self> {
        if !(scale > 0.0 && (scale as f32).is_finite()) {
            bail!(OP, "the scale is {scale}; it must be a finite number above 0");
        }
        self.load_state([scale, 0.0, 0.0])?;
        Ok(self)
    }

    /// With the scale growing after so many steps without overflow.
    ///
    /// ```
    /// # use gradus_nn::{GradScaler, Parameter};
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut scaler = GradScaler::new(Device::Cpu)?.with_scale(8.0)?.with_growth_interval(1)?;
    /// let grads = scaler.backward(&w.var().square()?)?;
    /// scaler.clip_grad_norm(&grads, &[w], 1.0)?;
    /// assert_eq!(scaler.scale()?.item()?, 16.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are none.
    pub fn with_growth_interval(mut self, steps: u32) -> Result<Self> {
        if steps == 0 {
            bail!(OP, "the growth interval is 0 steps; it must be 1 or more");
        }
        self.growth_interval = steps;
        Ok(self)
    }

    /// With other factors of the scale than 2, after many steps without overflow, and ½, after an
    /// overflow.
    ///
    /// ```
    /// # use gradus_nn::{GradScaler, Parameter};
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut scaler = GradScaler::new(Device::Cpu)?.with_scale(8.0)?.with_factors(4.0, 0.25)?;
    /// let grads = scaler.backward(&w.var().mul_scalar(f64::INFINITY)?)?; // an overflow
    /// scaler.clip_grad_norm(&grads, &[w], 1.0)?;
    /// assert_eq!(scaler.scale()?.item()?, 2.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `growth` is not above 1, or `backoff` not between 0 and 1.
    pub fn with_factors(mut self, growth: f64, backoff: f64) -> Result<Self> {
        if !(growth.is_finite() && growth > 1.0) {
            bail!(OP, "the growth factor is {growth}; it must be a finite number above 1");
        }
        if !(backoff > 0.0 && backoff < 1.0) {
            bail!(OP, "the backoff factor is {backoff}; it must be above 0 and below 1");
        }
        (self.growth_factor, self.backoff_factor) = (growth, backoff);
        Ok(self)
    }

    /// The scale, a scalar on the device.
    ///
    /// ```
    /// # use gradus_nn::GradScaler;
    /// # use gradus_tensor::Device;
    /// let scaler = GradScaler::new(Device::Cpu)?;
    /// assert_eq!(scaler.scale()?.item()?, 65536.0); // 2¹⁶
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn scale(&self) -> Result<Tensor> {
        self.state.select(0, 0)
    }

    /// The gradients of `loss` (one f32) times the scale. Those of several batches may be
    /// accumulated before [`clip_grad_norm`](GradScaler::clip_grad_norm).
    ///
    /// ```
    /// # use gradus_nn::{GradScaler, Parameter};
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let scaler = GradScaler::new(Device::Cpu)?.with_scale(8.0)?;
    /// let grads = scaler.backward(&w.var().square()?)?;
    /// assert_eq!(w.grad(&grads).unwrap().item()?, 16.0); // 8·2w
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the loss is not one number in f32, and as [`Var::backward`].
    pub fn backward(&self, loss: &Var) -> Result<Gradients> {
        if loss.numel() != 1 || loss.dtype() != DType::F32 {
            bail!(
                OP,
                kind = ErrorKind::shape_or_dtype(loss.numel() != 1),
                "the loss is {:?} {}; it must be one number in f32",
                loss.shape(),
                loss.dtype()
            );
        }
        // A copy, because the state changes in place.
        let scale = self.scale()?.copy()?.reshape(loss.shape())?;
        loss.backward_with(Some(scale), Default::default())
    }

    /// As [`clip_grad_norm`](crate::clip_grad_norm), for gradients of
    /// [`backward`](GradScaler::backward); and moves the scale. The norm is that of the gradients
    /// without the scale (infinite or NaN after an overflow); `scale` of the result, for
    /// [`Optimizer::step`](crate::Optimizer::step), removes it, clips, and says whether the step is
    /// skipped: [`Tensor::loss_scale_`] lists its numbers. Call this once a step.
    ///
    /// ```
    /// # use gradus_nn::{GradScaler, Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut scaler = GradScaler::new(Device::Cpu)?.with_scale(8.0)?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?;
    /// let grads = scaler.backward(&w.var().square()?)?; // 16
    /// let clip = scaler.clip_grad_norm(&grads, &[w.clone()], f64::INFINITY)?;
    /// assert_eq!(clip.norm.item()?, 2.0); // without the scale
    /// optimizer.step_scaled(&grads, 1.0, Some(&clip.scale))?;
    /// assert_eq!(w.tensor().item()?, 0.5); // 1 − ¼·2
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `max_norm` is NaN or below 0.
    pub fn clip_grad_norm(
        &mut self,
        grads: &Gradients,
        params: &[Parameter],
        max_norm: f64,
    ) -> Result<Clip> {
        self.judge(&total_norm(grads, params)?, max_norm)
    }

    /// As [`clip_grad_norm`](GradScaler::clip_grad_norm), where the caller measured the norm of the
    /// scaled gradients, or made it infinite so that the step is skipped.
    ///
    /// ```
    /// # use gradus_nn::GradScaler;
    /// # use gradus_tensor::{Device, Tensor};
    /// let mut scaler = GradScaler::constant(Device::Cpu)?;
    /// let clip = scaler.judge(&Tensor::scalar(4f32), 1.0)?;
    /// assert!((clip.scale.i(0)?.item()? - 0.25).abs() < 1e-6);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `max_norm` is NaN or below 0, or the norm is not one number.
    pub fn judge(&mut self, norm: &Tensor, max_norm: f64) -> Result<Clip> {
        if max_norm.is_nan() || max_norm < 0.0 {
            bail!("clip_grad_norm", "the largest norm is {max_norm}; it must be 0 or more");
        }
        let norm = norm.to_dtype(DType::F32)?.to_device(self.state.device())?;
        let (growth_factor, backoff_factor) = (self.growth_factor, self.backoff_factor);
        let growth_interval = self.growth_interval;
        let h = LossScale { growth_factor, backoff_factor, growth_interval, max_norm };
        let scale = self.state.loss_scale_(&norm, &h)?;
        Ok(Clip { norm: scale.select(0, 3)?, scale })
    }

    /// The scale, the steps without overflow since it last changed, the steps skipped so far: what
    /// a resumed run needs. Waits for the device.
    ///
    /// ```
    /// # use gradus_nn::{GradScaler, Parameter};
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut scaler = GradScaler::new(Device::Cpu)?.with_scale(8.0)?;
    /// let grads = scaler.backward(&w.var().mul_scalar(f64::INFINITY)?)?; // an overflow
    /// scaler.clip_grad_norm(&grads, &[w], 1.0)?;
    /// assert_eq!(scaler.state(), [4.0, 0.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn state(&self) -> [f64; STATE] {
        let mut state = [0.0; STATE];
        state.copy_from_slice(&self.state.to_f64_vec());
        state
    }

    /// Continues from a state that [`state`](GradScaler::state) returned, exactly.
    ///
    /// ```
    /// # use gradus_nn::GradScaler;
    /// # use gradus_tensor::Device;
    /// let mut scaler = GradScaler::new(Device::Cpu)?;
    /// scaler.load_state([4.0, 7.0, 1.0])?;
    /// assert_eq!(scaler.state(), [4.0, 7.0, 1.0]);
    /// assert!(scaler.load_state([-4.0, 7.0, 1.0]).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not a state: the scale must be above 0, the counts 0 or more.
    pub fn load_state(&mut self, state: [f64; STATE]) -> Result<()> {
        let [scale, counts @ ..] = state;
        if !(scale.is_finite() && scale > 0.0 && counts.iter().all(|n| *n >= 0.0 && n.is_finite()))
        {
            bail!(OP, "{state:?} is no state: a scale above 0, and two counts");
        }
        let state = state.map(|x| x as f32);
        self.state = Tensor::from_slice(&state, &[STATE])?.to_device(self.state.device())?;
        Ok(())
    }
}
