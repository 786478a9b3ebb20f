//! Dynamic loss scaling: formula and shapes at `Tensor::loss_scale_`. A handful of numbers, in
//! f32 in the order in which the GPU's kernel takes them, so that both devices agree bit for bit.

use gradus_base::Result;
use gradus_base::op::loss_scale::{LossScale, VERDICT};

use super::storage::Output;
use super::view::{Array, View, ViewMut};

/// Moves the scale by the norm of the gradients; returns the verdict on the step.
pub fn loss_scale_(state: ViewMut, norm: View, h: &LossScale) -> Result<Array> {
    let norm = norm.slice::<f32>()[0];
    let state = state.into_slice::<f32>();
    let (scale, steady, skipped) = (state[0], state[1], state[2]);
    let plain = norm / scale;
    let clip = (h.max_norm as f32 / (plain + 1e-6)).min(1.0);
    let overflow = !norm.is_finite();
    let verdict = [clip / scale, overflow as u32 as f32, skipped, plain, scale];
    if overflow {
        (state[0], state[1], state[2]) = (scale * h.backoff_factor as f32, 0.0, skipped + 1.0);
    } else if steady + 1.0 < h.growth_interval as f32 {
        state[1] = steady + 1.0;
    } else {
        let grown = scale * h.growth_factor as f32;
        (state[0], state[1]) = (if grown.is_finite() { grown } else { scale }, 0.0);
    }
    let mut out = Output::new("loss_scale_", &[VERDICT])?;
    out.slice_mut().copy_from_slice(&verdict);
    Ok(out.into_array(&[VERDICT]))
}
