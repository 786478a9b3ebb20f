//! Sorting along a dimension, and the k largest or smallest: launches of `sort.wgsl`.

use gradus_base::{DType, Result};
use gradus_shaders as shaders;

use super::context::Launch;
use super::storage::scalar;
use super::view::{Array, View};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    lines: u32,
    n: u32,
    k: u32,
    offset: u32,
    blocks: u32,
    descending: u32,
}

/// The first `k` values and indices along the last dimension, which has at least `k` entries;
/// sorted.
///
/// # Errors
/// Of `op`, if memory is short.
pub fn sorted(op: &'static str, x: View, k: usize, descending: bool) -> Result<(Array, Array)> {
    let mut shape = x.shape().to_vec();
    let n = std::mem::replace(shape.last_mut().expect("checked by the caller"), k);
    let (scalar, gpu) = (scalar(op, x.dtype())?, x.gpu());
    let values = Array::new(op, gpu, &shape, x.dtype())?;
    let indices = Array::new(op, gpu, &shape, DType::U32)?;
    if values.numel() > 0 {
        let x = x.contiguous(op)?;
        let (lines, blocks) = (x.view().numel() / n, n.div_ceil(shaders::WORKGROUP as usize));
        let args = Args {
            lines: lines as u32,
            n: n as u32,
            k: k as u32,
            offset: x.start(),
            blocks: blocks as u32,
            descending: if descending { u32::MAX } else { 0 },
        };
        let launch = Launch {
            op,
            key: ("sort", scalar.code()),
            inputs: &[x.buffer()],
            outputs: &[values.buffer(), indices.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: gpu.grid(op, lines as u64 * blocks as u64)?,
        };
        gpu.launch(&launch, || shaders::sort::sorted(scalar))?;
    }
    Ok((values, indices))
}
