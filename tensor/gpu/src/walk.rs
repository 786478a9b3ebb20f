//! The arguments of the elementwise kernels (`shaders/src/walk.wgsl`): up to three operands under
//! one shape, whose dimensions are merged to as few as the strides allow.

use gradus_base::{Layout, Result};
use gradus_shaders::{Shader, WORKGROUP};

use super::context::Launch;
use super::memory::Buffer;
use super::pipelines::Key;
use super::storage::GpuStorage;

/// The most dimensions that a kernel walks.
pub(super) const MAX_DIMS: usize = 6;

/// The immediates of `walk.wgsl`, 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Walk {
    pub(super) numel: u32,
    rank: u32,
    pub(super) a: f32,
    pub(super) b: f32,
    offset: [u32; 3],
    pub(super) word: u32,
    shape: [u32; MAX_DIMS],
    strides: [[u32; MAX_DIMS]; 3],
}

/// `layouts` (of one shape) with neighbouring dimensions merged, where all layouts step through
/// both as through one. Returns the shape, and the strides of each layout.
pub(super) fn merged(layouts: &[&Layout]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let shape = layouts[0].shape();
    let (mut sizes, mut strides) = (Vec::new(), vec![Vec::new(); layouts.len()]);
    for d in 0..shape.len() {
        if shape[d] == 1 {
            continue;
        }
        let joins = !sizes.is_empty()
            && layouts.iter().zip(&strides).all(|(layout, strides): (_, &Vec<usize>)| {
                strides[strides.len() - 1] == layout.strides()[d] * shape[d]
            });
        if joins {
            *sizes.last_mut().expect("not empty") *= shape[d];
        } else {
            sizes.push(shape[d]);
        }
        for (layout, strides) in layouts.iter().zip(&mut strides) {
            if joins {
                *strides.last_mut().expect("as many as sizes") = layout.strides()[d];
            } else {
                strides.push(layout.strides()[d]);
            }
        }
    }
    if sizes.is_empty() {
        sizes.push(1);
        strides.iter_mut().for_each(|s| s.push(1));
    }
    (sizes, strides)
}

impl Walk {
    /// For operands whose merged layouts have at most [`MAX_DIMS`] dimensions; otherwise `None`.
    pub(super) fn new(layouts: &[&Layout]) -> Option<Walk> {
        let (sizes, steps) = merged(layouts);
        if sizes.len() > MAX_DIMS {
            return None;
        }
        let mut walk: Walk = bytemuck::Zeroable::zeroed();
        walk.numel = layouts[0].numel() as u32;
        walk.rank = sizes.len() as u32;
        for (d, &size) in sizes.iter().enumerate() {
            walk.shape[d] = size as u32;
        }
        for (k, layout) in layouts.iter().enumerate() {
            walk.offset[k] = layout.offset() as u32;
            for (d, &step) in steps[k].iter().enumerate() {
                walk.strides[k][d] = step as u32;
            }
        }
        Some(walk)
    }

    /// Launches an elementwise kernel with one thread for each element of the walk.
    pub(super) fn launch(
        &self,
        op: &'static str,
        key: Key,
        inputs: &[&Buffer],
        output: &GpuStorage,
        shader: impl FnOnce() -> Shader,
    ) -> Result<()> {
        if self.numel == 0 {
            return Ok(());
        }
        let gpu = output.gpu();
        let launch = Launch {
            op,
            key,
            inputs,
            outputs: &[output.buffer()],
            immediates: bytemuck::bytes_of(self),
            groups: gpu.grid(op, (self.numel as u64).div_ceil(WORKGROUP as u64))?,
        };
        gpu.launch(&launch, shader)
    }
}
