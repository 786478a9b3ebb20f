//! Optimiser steps, in place, and the global norm: launches of `optim.wgsl`. Nothing is read back.

use super::context::{Gpu, Launch};
use super::memory::Buffer;
use super::storage::output;
use crate::ops::optim::{AdamWStep, SgdStep};
use crate::{DType, Result, Tensor, bail};
use bytemuck::Zeroable;
use gradus_shaders as shaders;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdamWArgs {
    numel: u32,
    p_offset: u32,
    g_offset: u32,
    m_offset: u32,
    v_offset: u32,
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
    numel: u32,
    p_offset: u32,
    g_offset: u32,
    b_offset: u32,
    scale_offset: u32,
    first: u32,
    nesterov: u32,
    l2: f32,
    rate: f32,
    momentum: f32,
    gain: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct NormArgs {
    numel: u32,
    offset: u32,
    first: u32,
}

fn only_f32(op: &'static str, dtype: DType) -> Result<()> {
    if dtype != DType::F32 {
        bail!(op, "computes on f32 on a GPU, got {dtype}; convert with to_dtype");
    }
    Ok(())
}

/// The gradient's factor as the kernels read it.
fn factor(scale: Option<&Tensor>) -> Result<Option<Tensor>> {
    scale.map(|s| s.to_dtype(DType::F32)?.contiguous()).transpose()
}

/// A thread for each element.
fn groups(op: &'static str, gpu: &Gpu, numel: usize) -> Result<[u32; 3]> {
    gpu.grid(op, (numel as u64).div_ceil(shaders::WORKGROUP as u64))
}

pub(crate) fn adamw_(
    p: &mut Tensor,
    grad: &Tensor,
    m: &mut Tensor,
    v: &mut Tensor,
    h: &AdamWStep,
    scale: Option<&Tensor>,
) -> Result<()> {
    let op = "adamw_";
    only_f32(op, p.dtype())?;
    let correction1 = 1.0 - h.beta1.powf(h.step as f64);
    let correction2 = (1.0 - h.beta2.powf(h.step as f64)).sqrt();
    let (keep, l2) = match h.decoupled {
        true => (1.0 - h.lr * h.weight_decay, 0.0),
        false => (1.0, h.weight_decay),
    };
    let scale = factor(scale)?;
    for tensor in [&mut *p, &mut *m, &mut *v] {
        tensor.make_writable(op)?;
    }
    if p.numel() == 0 {
        return Ok(());
    }
    let args = AdamWArgs {
        numel: p.numel() as u32,
        p_offset: p.start(),
        g_offset: grad.start(),
        m_offset: m.start(),
        v_offset: v.start(),
        scale_offset: scale.as_ref().map_or(0, Tensor::start),
        keep: keep as f32,
        l2: l2 as f32,
        in1: (1.0 - h.beta1) as f32,
        decay2: h.beta2 as f32,
        in2: (1.0 - h.beta2) as f32,
        rate: (h.lr / correction1) as f32,
        root: correction2 as f32,
        eps: h.eps as f32,
    };
    let inputs: Vec<&Buffer> = [grad].into_iter().chain(&scale).map(Tensor::buffer).collect();
    let launch = Launch {
        op,
        key: (op, scale.is_some() as u64),
        inputs: &inputs,
        outputs: &[p.buffer(), m.buffer(), v.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups: groups(op, p.gpu(), p.numel())?,
    };
    p.gpu().launch(&launch, || shaders::optim::adamw(scale.is_some()))
}

pub(crate) fn sgd_(
    p: &mut Tensor,
    grad: &Tensor,
    mut buffer: Option<&mut Tensor>,
    h: &SgdStep,
    scale: Option<&Tensor>,
) -> Result<()> {
    let op = "sgd_";
    only_f32(op, p.dtype())?;
    let scale = factor(scale)?;
    p.make_writable(op)?;
    if let Some(buffer) = &mut buffer {
        buffer.make_writable(op)?;
    }
    if p.numel() == 0 {
        return Ok(());
    }
    let buffer = buffer.as_deref();
    let args = SgdArgs {
        numel: p.numel() as u32,
        p_offset: p.start(),
        g_offset: grad.start(),
        b_offset: buffer.map_or(0, Tensor::start),
        scale_offset: scale.as_ref().map_or(0, Tensor::start),
        // On the first step the buffer becomes the gradient, whatever it held.
        first: h.first as u32,
        nesterov: h.nesterov as u32,
        l2: h.weight_decay as f32,
        rate: h.lr as f32,
        momentum: h.momentum as f32,
        gain: if h.first { 1.0 } else { (1.0 - h.dampening) as f32 },
    };
    let inputs: Vec<&Buffer> = [grad].into_iter().chain(&scale).map(Tensor::buffer).collect();
    let outputs: Vec<&Buffer> = [&*p].into_iter().chain(buffer).map(Tensor::buffer).collect();
    let launch = Launch {
        op,
        key: (op, scale.is_some() as u64 * 2 + buffer.is_some() as u64),
        inputs: &inputs,
        outputs: &outputs,
        immediates: bytemuck::bytes_of(&args),
        groups: groups(op, p.gpu(), p.numel())?,
    };
    p.gpu().launch(&launch, || shaders::optim::sgd(scale.is_some(), buffer.is_some()))
}

/// `tensors` are contiguous and of one dtype.
pub(crate) fn global_norm(tensors: &[Tensor], dtype: DType) -> Result<Tensor> {
    let op = "global_norm";
    only_f32(op, dtype)?;
    let gpu = tensors[0].gpu();
    let chunks = |t: &Tensor| t.numel().div_ceil(shaders::optim::NORM_CHUNK as usize);
    let total: usize = tensors.iter().map(chunks).sum();
    if total == 0 {
        return super::copy::full(op, gpu, &[], 0.0, dtype);
    }
    let partial = output(op, gpu, &[total, 3], dtype)?;
    let mut first = 0;
    for x in tensors.iter().filter(|x| x.numel() > 0) {
        let args = NormArgs { numel: x.numel() as u32, offset: x.start(), first: first as u32 };
        let launch = Launch {
            op,
            key: ("global_norm.squares", 0),
            inputs: &[x.buffer()],
            outputs: &[partial.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: gpu.grid(op, chunks(x) as u64)?,
        };
        gpu.launch(&launch, shaders::optim::squares)?;
        first += chunks(x);
    }
    let norm = output(op, gpu, &[], dtype)?;
    let args = NormArgs { numel: total as u32, ..NormArgs::zeroed() };
    let launch = Launch {
        op,
        key: ("global_norm.norm", 0),
        inputs: &[partial.buffer()],
        outputs: &[norm.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups: [1, 1, 1],
    };
    gpu.launch(&launch, shaders::optim::norm)?;
    Ok(norm)
}
