//! Dropout and its mask: launches of `dropout.wgsl`.

use gradus_base::random::{RngKey, least_kept};
use gradus_shaders as shaders;

use super::context::{Gpu, Launch};
use super::storage::{float, output};
use crate::{DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    numel: u32,
    offset: u32,
    least: u32,
    key: [u32; 2],
    scale: f32,
}

/// The arguments for dropout inside another family's kernel.
pub(super) struct Drops {
    pub(super) least: u32,
    pub(super) key: [u32; 2],
    pub(super) scale: f32,
}

impl Drops {
    /// From a probability and a key; `None` drops nothing.
    pub(super) fn of(dropout: Option<(f64, RngKey)>) -> Drops {
        let (p, key) = dropout.map_or((0.0, 0), |(p, key)| (p, key.0));
        // p = 1 drops everything: `least` cannot exclude the largest word, so the factor is 0.
        Drops {
            least: least_kept(p).unwrap_or(u32::MAX),
            key: [key as u32, (key >> 32) as u32],
            scale: if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 },
        }
    }
}

impl Args {
    fn new(numel: usize, offset: u32, least: u32, key: RngKey, scale: f64) -> Args {
        let key = [key.0 as u32, (key.0 >> 32) as u32];
        Args { numel: numel as u32, offset, least, key, scale: scale as f32 }
    }

    /// One thread for four elements.
    fn groups(&self, op: &'static str, gpu: &Gpu) -> Result<[u32; 3]> {
        gpu.grid(op, (self.numel as u64).div_ceil(4 * shaders::WORKGROUP as u64))
    }
}

pub(crate) fn dropout(x: &Tensor, p: f64, key: RngKey) -> Result<Tensor> {
    let scalar = float("dropout", x.dtype())?;
    let Some(least) = least_kept(p) else { return x.zeros_like() };
    let x = x.contiguous()?;
    let y = output("dropout", x.gpu(), x.shape(), x.dtype())?;
    if x.numel() > 0 {
        let args = Args::new(x.numel(), x.start(), least, key, 1.0 / (1.0 - p));
        let launch = Launch {
            op: "dropout",
            key: ("dropout", scalar.code()),
            inputs: &[x.buffer()],
            outputs: &[y.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: args.groups("dropout", x.gpu())?,
        };
        x.gpu().launch(&launch, || shaders::dropout::dropout(scalar))?;
    }
    Ok(y)
}

/// Only the mask. It has no operand, so the device is an argument.
pub(crate) fn mask(gpu: &'static Gpu, shape: &[usize], p: f64, key: RngKey) -> Result<Tensor> {
    let op = "bernoulli_mask";
    let Some(least) = least_kept(p) else {
        return super::copy::full(op, gpu, shape, 0.0, DType::U8);
    };
    let mask = output(op, gpu, shape, DType::U8)?;
    if mask.numel() > 0 {
        let args = Args::new(mask.numel(), 0, least, key, 1.0);
        let launch = Launch {
            op,
            key: (op, 0),
            inputs: &[],
            outputs: &[mask.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: args.groups(op, gpu)?,
        };
        gpu.launch(&launch, shaders::dropout::bernoulli_mask)?;
    }
    Ok(mask)
}
