//! Guards the weights: a step whose gradients are not finite, or far above the usual, is skipped.

use gradus_autograd::{BackwardOptions, Gradients, Var, VarId};
use gradus_nn::{Clip, GradScaler, Precision};
use gradus_tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::Result;

/// Steps before a norm can be called unusual.
const STEPS_TO_LEARN: f64 = 20.0;

/// The usual norm is a mean over about so many steps.
const STEPS_OF_MEAN: f64 = 50.0;

/// Judges each step. The judgement stays on the device; the optimiser's kernels obey it.
pub(super) struct Guard {
    pub scaler: GradScaler,
    /// Whether the loss is scaled: in f16.
    pub scales: bool,
    /// The largest norm; infinite for no limit.
    max_norm: f64,
    spikes: Option<Spikes>,
}

/// What a checkpoint keeps of a guard besides the loss scale.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct GuardState {
    /// Steps skipped so far.
    pub skipped: f64,
    /// The usual norm, and the steps that it is the mean of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<[f64; 2]>,
}

/// Finds norms far above the usual one.
struct Spikes {
    /// How many times the usual norm is too many.
    factor: f64,
    /// The usual norm, a scalar.
    usual: Tensor,
    /// The steps that it is the mean of, a scalar.
    steps: Tensor,
}

impl Guard {
    pub fn new(recipe: &Recipe, device: Device) -> Result<Guard> {
        let scales = recipe.precision == Precision::F16;
        let scaler = if scales { GradScaler::new(device)? } else { GradScaler::constant(device)? };
        let max_norm = if recipe.clip_norm > 0.0 { recipe.clip_norm } else { f64::INFINITY };
        let spikes = recipe.skip_spikes.map(|factor| Spikes::new(factor, [0.0; 2], device));
        Ok(Guard { scaler, scales, max_norm, spikes: spikes.transpose()? })
    }

    /// The gradients of a part of the loss, times the loss scale.
    pub fn backward(&self, loss: &Var) -> Result<Gradients> {
        self.backward_with_hook(loss, |_, _| Ok(()))
    }

    /// The same, with a hook: see [`Var::backward_with_hook`].
    pub fn backward_with_hook(
        &self,
        loss: &Var,
        hook: impl FnMut(VarId, &Tensor) -> gradus_tensor::Result<()>,
    ) -> Result<Gradients> {
        // A copy, because the scale changes in place.
        let scale = match self.scales {
            true => Some(self.scaler.scale()?.copy()?.reshape(loss.shape())?),
            false => None,
        };
        Ok(loss.backward_with_hook(scale, BackwardOptions::default(), hook)?)
    }

    /// The norm of a step's gradients without the loss scale, and the verdict for the optimiser.
    pub fn judge(&mut self, norm: &Tensor) -> Result<Clip> {
        let Some(spikes) = &mut self.spikes else {
            return Ok(self.scaler.judge(norm, self.max_norm)?);
        };
        let scale = self.scaler.scale()?.copy()?.reshape(norm.shape())?;
        let judged = spikes.judge(&norm.div(&scale)?)?.mul(&scale)?;
        let clip = self.scaler.judge(&judged, self.max_norm)?;
        // The norm that is told is the true one, also of a step that is skipped.
        Ok(Clip { norm: norm.div(&scale)?, scale: clip.scale })
    }

    /// The state of a checkpoint. Waits for the device.
    pub fn state(&self) -> GuardState {
        let [_, _, skipped] = self.scaler.state();
        GuardState { skipped, usual: self.spikes.as_ref().map(Spikes::state) }
    }

    /// Continues from a checkpoint's state.
    pub fn load(&mut self, state: GuardState) -> Result<()> {
        if !self.scales {
            self.scaler.load_state([1.0, 0.0, state.skipped])?;
        }
        if let (Some(spikes), Some(usual)) = (&mut self.spikes, state.usual) {
            *spikes = Spikes::new(spikes.factor, usual, spikes.usual.device())?;
        }
        Ok(())
    }
}

impl Spikes {
    fn new(factor: f64, [usual, steps]: [f64; 2], device: Device) -> Result<Spikes> {
        let scalar = |value: f64| Tensor::scalar(value as f32).to_device(device);
        Ok(Spikes { factor, usual: scalar(usual)?, steps: scalar(steps)? })
    }

    fn state(&self) -> [f64; 2] {
        [&self.usual, &self.steps].map(|tensor| tensor.to_f64_vec()[0])
    }

    /// The norm, or infinity where it is a spike. Norms that are finite and no spikes move the
    /// usual norm.
    fn judge(&mut self, norm: &Tensor) -> Result<Tensor> {
        let known = self.steps.ge(STEPS_TO_LEARN)?;
        let spike = norm.gt(&self.usual.mul_scalar(self.factor)?)?.logical_and(&known)?;
        let judged = norm.scalar_like(f64::INFINITY)?.where_(&spike, norm)?;
        let fits = judged.lt(f64::INFINITY)?; // false for NaN
        let steps = self.steps.add_scalar(1.0)?;
        let share = steps.clamp(1.0, STEPS_OF_MEAN)?;
        let moved = self.usual.add(&norm.sub(&self.usual)?.div(&share)?)?;
        self.usual = moved.where_(&fits, &self.usual)?;
        self.steps = steps.where_(&fits, &self.steps)?;
        Ok(judged)
    }
}
