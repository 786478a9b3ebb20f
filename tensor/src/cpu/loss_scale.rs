//! Dynamic loss scaling: formula and shapes at [`Tensor::loss_scale_`]. A handful of numbers, in
//! f32 in the order in which the GPU's kernel takes them, so that both devices agree bit for bit.

use crate::op::loss_scale::{LossScale, VERDICT};
use crate::{Result, Tensor};

pub(crate) fn loss_scale_(state: &mut Tensor, norm: &Tensor, h: &LossScale) -> Result<Tensor> {
    let norm = norm.cpu_slice::<f32>()[0];
    let state = state.cpu_slice_mut::<f32>("loss_scale_")?;
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
    Tensor::from_slice(&verdict, &[VERDICT])
}
