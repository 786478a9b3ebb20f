//! Rotary position embedding: launches of `rotary.wgsl`.

use gradus_base::op::rotary::Rotary;
use gradus_base::{DType, Result};
use gradus_shaders as shaders;

use super::context::Launch;
use super::storage::float;
use super::view::{Array, View};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    numel: u32,
    width: u32,
    x_offset: u32,
    x_row: u32,
    table_offset: u32,
    positions_offset: u32,
    columns: u32,
    size: u32,
    half: u32,
    sign: f32,
}

/// The table (f32 where `x` is f16) and the positions are contiguous, and each position is a row of
/// the table.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn rotary_embedding(x: View, table: View, positions: View, options: Rotary) -> Result<Array> {
    let op = "rotary_embedding";
    let scalar = float(op, x.dtype())?;
    let (gpu, width) = (x.gpu(), x.shape()[1]);
    let y = Array::new(op, gpu, x.shape(), x.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let x = x.or_copy(op, x.strides()[1] == 1)?;
    let table = table.to_dtype(op, DType::F32)?;
    let args = Args {
        numel: y.numel() as u32,
        width: width as u32,
        x_offset: x.start(),
        x_row: x.view().strides()[0] as u32,
        table_offset: table.start(),
        positions_offset: positions.start(),
        columns: (options.heads * options.head_size) as u32,
        size: options.head_size as u32,
        half: (table.view().shape()[1] / 2) as u32,
        sign: if options.inverse { -1.0 } else { 1.0 },
    };
    let launch = Launch {
        op,
        key: (op, scalar.code()),
        inputs: &[x.buffer(), table.buffer(), positions.buffer()],
        outputs: &[y.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups: gpu.grid(op, (y.numel() as u64).div_ceil(shaders::WORKGROUP as u64))?,
    };
    gpu.launch(&launch, || shaders::rotary::rotary_embedding(scalar))?;
    Ok(y)
}
