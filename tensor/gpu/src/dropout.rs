//! Dropout and its mask: launches of `dropout.wgsl`.

use gradus_base::random::least_kept;
use gradus_base::{DType, Result, RngKey};
use gradus_shaders as shaders;

use super::context::{Gpu, Launch};
use super::copy::full;
use super::storage::float;
use super::view::{Array, View};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    numel: u32,
    offset: u32,
    least: u32,
    key: [u32; 2],
    scale: f32,
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

/// Each element dropped with probability `p`, or divided by 1 − p.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn dropout(x: View, p: f64, key: RngKey) -> Result<Array> {
    let (op, gpu) = ("dropout", x.gpu());
    let scalar = float(op, x.dtype())?;
    let Some(least) = least_kept(p) else { return full(op, gpu, x.shape(), 0.0, x.dtype()) };
    let y = Array::new(op, gpu, x.shape(), x.dtype())?;
    if y.numel() > 0 {
        let x = x.contiguous(op)?;
        let args = Args::new(y.numel(), x.start(), least, key, 1.0 / (1.0 - p));
        let launch = Launch {
            op,
            key: (op, scalar.code()),
            inputs: &[x.buffer()],
            outputs: &[y.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: args.groups(op, gpu)?,
        };
        gpu.launch(&launch, || shaders::dropout::dropout(scalar))?;
    }
    Ok(y)
}

/// Only the mask. It has no operand, so the device is an argument.
///
/// # Errors
/// If memory is short.
pub fn mask(gpu: &'static Gpu, shape: &[usize], p: f64, key: RngKey) -> Result<Array> {
    let op = "bernoulli_mask";
    let Some(least) = least_kept(p) else { return full(op, gpu, shape, 0.0, DType::U8) };
    let mask = Array::new(op, gpu, shape, DType::U8)?;
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
