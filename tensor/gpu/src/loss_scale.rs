//! Dynamic loss scaling: the launch of `loss_scale.wgsl`.

use gradus_base::op::loss_scale::{LossScale, VERDICT};
use gradus_base::{DType, Result};
use gradus_shaders as shaders;

use super::context::Launch;
use super::view::{Array, View, ViewMut};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    norm_offset: u32,
    state_offset: u32,
    growth: f32,
    backoff: f32,
    interval: f32,
    max_norm: f32,
}

/// Judges a norm, moves the state, and returns the verdict.
///
/// # Errors
/// If memory is short.
pub fn loss_scale_(state: ViewMut, norm: View, h: &LossScale) -> Result<Array> {
    let op = "loss_scale_";
    let verdict = Array::new(op, state.gpu(), &[VERDICT], DType::F32)?;
    let args = Args {
        norm_offset: norm.start(),
        state_offset: 0,
        growth: h.growth_factor as f32,
        backoff: h.backoff_factor as f32,
        interval: h.growth_interval as f32,
        max_norm: h.max_norm.min(f32::MAX as f64) as f32,
    };
    let launch = Launch {
        op,
        key: (op, 0),
        inputs: &[norm.buffer()],
        outputs: &[state.buffer(), verdict.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups: [1, 1, 1],
    };
    state.gpu().launch(&launch, shaders::loss_scale::loss_scale)?;
    Ok(verdict)
}
