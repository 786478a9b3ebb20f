//! Optimiser steps in place, and the global norm: launches of `optim.wgsl`. Nothing is read back.

use gradus_base::op::loss_scale::VERDICT;
use gradus_base::op::optim::{AdamWStep, SgdStep};
use gradus_base::{DType, Result, bail};
use gradus_shaders as shaders;
use gradus_shaders::optim::{Factor, NORM_MANY, STEP_CHUNK};

use super::context::Launch;
use super::copy::full;
use super::gather::Part;
use super::memory::Buffer;
use super::view::{Array, View, ViewMut, ViewOrCopy};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdamWArgs {
    scale_offset: u32,
    keep: f32,
    l2: f32,
    in1: f32,
    decay2: f32,
    in2: f32,
    rate: f32,
    root: f32,
    eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SgdArgs {
    scale_offset: u32,
    first: u32,
    nesterov: u32,
    l2: f32,
    rate: f32,
    momentum: f32,
    gain: f32,
}

fn only_f32(op: &'static str, dtype: DType) -> Result<()> {
    if dtype != DType::F32 {
        bail!(op, DType, "computes on f32 on a GPU, got {dtype}; convert with to_dtype");
    }
    Ok(())
}

/// The kind of the gradients' factor, and the factor in f32 for the kernels.
fn factor<'a>(
    op: &'static str,
    scale: Option<View<'a>>,
) -> Result<(Factor, Option<ViewOrCopy<'a>>)> {
    let kind = match scale.map(View::numel) {
        None => Factor::None,
        Some(VERDICT) => Factor::Verdict,
        Some(_) => Factor::Scale,
    };
    Ok((kind, scale.map(|s| s.contiguous_in(op, DType::F32)).transpose()?))
}

/// One step of Adam or AdamW. `grad` is contiguous; `scale` is its factor, or the verdict of
/// `loss_scale_`.
///
/// # Errors
/// If the dtype is not f32, or memory is short.
pub fn adamw_(
    p: ViewMut,
    grad: View,
    m: ViewMut,
    v: ViewMut,
    h: &AdamWStep,
    scale: Option<View>,
) -> Result<()> {
    let op = "adamw_";
    only_f32(op, p.dtype())?;
    let correction1 = 1.0 - h.beta1.powf(h.step as f64);
    let correction2 = (1.0 - h.beta2.powf(h.step as f64)).sqrt();
    let (keep, l2) = match h.decoupled {
        true => (1.0 - h.lr * h.weight_decay, 0.0),
        false => (1.0, h.weight_decay),
    };
    let (factor, scale) = factor(op, scale)?;
    if p.numel() == 0 {
        return Ok(());
    }
    let args = AdamWArgs {
        scale_offset: scale.as_ref().map_or(0, ViewOrCopy::start),
        keep: keep as f32,
        l2: l2 as f32,
        in1: (1.0 - h.beta1) as f32,
        decay2: h.beta2 as f32,
        in2: (1.0 - h.beta2) as f32,
        rate: if factor == Factor::Verdict { h.lr } else { h.lr / correction1 } as f32,
        root: correction2 as f32,
        eps: h.eps as f32,
    };
    // The kernel needs these numbers to leave skipped steps out of its count.
    let counted = [h.step as f32, h.beta1.ln() as f32, h.beta2.ln() as f32];
    let judged = [bytemuck::bytes_of(&args), bytemuck::bytes_of(&counted)].concat();
    let common: Vec<&Buffer> = scale.iter().map(ViewOrCopy::buffer).collect();
    p.gpu().gather(&Part {
        op,
        key: (op, factor as u64),
        common: &common,
        args: if factor == Factor::Verdict { &judged } else { bytemuck::bytes_of(&args) },
        inputs: &[grad.buffer()],
        outputs: &[p.buffer(), m.buffer(), v.buffer()],
        numbers: [p.numel() as u32, grad.start()],
        groups: p.numel().div_ceil(STEP_CHUNK as usize) as u32,
        held: None,
        shader: |variant, many| shaders::optim::adamw(Factor::of(variant), many),
    })
}

/// One step of stochastic gradient descent, with a momentum buffer or without; see [`adamw_`].
///
/// # Errors
/// As [`adamw_`].
pub fn sgd_(
    p: ViewMut,
    grad: View,
    buffer: Option<ViewMut>,
    h: &SgdStep,
    scale: Option<View>,
) -> Result<()> {
    let op = "sgd_";
    only_f32(op, p.dtype())?;
    let (factor, scale) = factor(op, scale)?;
    if p.numel() == 0 {
        return Ok(());
    }
    let args = SgdArgs {
        scale_offset: scale.as_ref().map_or(0, ViewOrCopy::start),
        // The first step sets the buffer to the gradient and ignores its old content.
        first: (h.step == 1) as u32,
        nesterov: h.nesterov as u32,
        l2: h.weight_decay as f32,
        rate: h.lr as f32,
        momentum: h.momentum as f32,
        gain: if h.step == 1 && factor != Factor::Verdict { 1.0 } else { 1.0 - h.dampening } as f32,
    };
    let judged = [bytemuck::bytes_of(&args), bytemuck::bytes_of(&(h.step as f32))].concat();
    let common: Vec<&Buffer> = scale.iter().map(ViewOrCopy::buffer).collect();
    let outputs: Vec<&Buffer> = [&p].into_iter().chain(&buffer).map(ViewMut::buffer).collect();
    p.gpu().gather(&Part {
        op,
        key: (op, factor as u64 * 2 + buffer.is_some() as u64),
        common: &common,
        args: if factor == Factor::Verdict { &judged } else { bytemuck::bytes_of(&args) },
        inputs: &[grad.buffer()],
        outputs: &outputs,
        numbers: [p.numel() as u32, grad.start()],
        groups: p.numel().div_ceil(STEP_CHUNK as usize) as u32,
        held: None,
        shader: |variant, many| {
            shaders::optim::sgd(Factor::of(variant / 2), variant & 1 != 0, many)
        },
    })
}

/// The root of the sum of the squares of all elements; `tensors` are contiguous and of one dtype.
///
/// # Errors
/// If the dtype is not f32, or memory is short.
pub fn global_norm(tensors: Vec<View>, dtype: DType) -> Result<Array> {
    let op = "global_norm";
    only_f32(op, dtype)?;
    let gpu = tensors[0].gpu();
    let chunks = |x: View| x.numel().div_ceil(shaders::optim::NORM_CHUNK as usize);
    let total: usize = tensors.iter().copied().map(chunks).sum();
    if total == 0 {
        return full(op, gpu, &[], 0.0, dtype);
    }
    let partial = Array::new(op, gpu, &[total, 3], dtype)?;
    let all: Vec<View> = tensors.into_iter().filter(|x| x.numel() > 0).collect();
    let (mut rest, mut first) = (&all[..], 0);
    while !rest.is_empty() {
        let fits = |&&many: &&u32| {
            many as usize <= rest.len() && (many == 1 || (many as usize) < gpu.driver.max_bindings)
        };
        let many = *NORM_MANY.iter().find(fits).unwrap_or(&1);
        let (now, later) = rest.split_at(many as usize);
        rest = later;
        let numels = now.iter().map(|x| x.numel() as u32);
        let starts = now.iter().map(|x| x.start());
        let args: Vec<u32> = [first as u32].into_iter().chain(numels).chain(starts).collect();
        let groups: usize = now.iter().copied().map(chunks).sum();
        let launch = Launch {
            op,
            key: ("global_norm.squares", many as u64),
            inputs: &now.iter().map(|x| x.buffer()).collect::<Vec<_>>(),
            outputs: &[partial.buffer()],
            immediates: bytemuck::cast_slice(&args),
            groups: gpu.grid(op, groups as u64)?,
        };
        gpu.launch(&launch, || shaders::optim::squares(many))?;
        first += groups;
    }
    let norm = Array::new(op, gpu, &[], dtype)?;
    let totals = [0, total as u32, 0];
    let launch = Launch {
        op,
        key: ("global_norm.norm", 0),
        inputs: &[partial.buffer()],
        outputs: &[norm.buffer()],
        immediates: bytemuck::cast_slice(&totals),
        groups: [1, 1, 1],
    };
    gpu.launch(&launch, shaders::optim::norm)?;
    Ok(norm)
}
