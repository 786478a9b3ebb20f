//! Shared by the families along rows: the arguments of `shaders/src/rows.wgsl`, and their launches.

use gradus_base::{Result, RngKey};
use gradus_shaders::{ROW_WIDTHS, Shader};

use super::context::Launch;
use super::drops::Drops;
use super::pipelines::Key;
use super::view::{Array, View};

/// The immediates of `rows.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Rows {
    rows: u32,
    n: u32,
    eps: f32,
    offsets: [u32; 6],
    least: u32,
    key: [u32; 2],
    scale: f32,
    zero: u32,
}

/// A kernel that is launched over rows.
pub(super) struct RowKernel<'a> {
    pub(super) op: &'static str,
    /// Which variant of the shader it is.
    pub(super) key: Key,
    /// Workgroups.
    pub(super) groups: u64,
    pub(super) inputs: &'a [View<'a>],
    pub(super) outputs: &'a [&'a Array],
}

impl Rows {
    /// For `rows` rows of `n` elements.
    pub(super) fn new(rows: usize, n: usize, eps: f64) -> Rows {
        Rows { rows: rows as u32, n: n as u32, eps: eps as f32, ..bytemuck::Zeroable::zeroed() }
    }

    /// Adds this dropout, if any.
    pub(super) fn dropping(mut self, dropout: Option<(f64, RngKey)>) -> Rows {
        Drops { least: self.least, key: self.key, scale: self.scale } = Drops::of(dropout);
        self
    }

    /// Threads in the workgroup of a row.
    pub(super) fn width(&self) -> u32 {
        let [narrow, wide] = ROW_WIDTHS;
        if self.n <= 256 { narrow } else { wide }
    }

    /// Launches a kernel over contiguous inputs. Does nothing where there are no elements.
    pub(super) fn launch(
        mut self,
        kernel: &RowKernel,
        shader: impl FnOnce() -> Shader,
    ) -> Result<()> {
        let &RowKernel { op, key, groups, inputs, outputs } = kernel;
        if self.rows == 0 || self.n == 0 {
            return Ok(());
        }
        for (offset, input) in self.offsets.iter_mut().zip(inputs) {
            *offset = input.start();
        }
        let gpu = inputs[0].gpu();
        let launch = Launch {
            op,
            key,
            inputs: &inputs.iter().map(|t| t.buffer()).collect::<Vec<_>>(),
            outputs: &outputs.iter().map(|t| t.buffer()).collect::<Vec<_>>(),
            immediates: bytemuck::bytes_of(&self),
            groups: gpu.grid(op, groups)?,
        };
        gpu.launch(&launch, shader)
    }
}
