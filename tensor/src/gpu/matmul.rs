//! Matrix products: launches of `matmul.wgsl`.

use super::context::Launch;
use super::storage::{float, output};
use super::walk;
use crate::layout::Layout;
use crate::{DType, Result, Tensor, bail};
use gradus_shaders as shaders;
use gradus_shaders::matmul::{Epilogue, TILES, Types};

/// Batch dimensions that the kernel walks at most.
const MOST_BATCH: usize = 3;

/// Workgroups that keep a device busy: as many large tiles there must be for the large ones to be taken.
const BUSY: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    m: u32,
    k: u32,
    n: u32,
    tiles: u32,
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    bias_offset: u32,
    batch: [u32; MOST_BATCH],
    a_batch: [u32; MOST_BATCH],
    b_batch: [u32; MOST_BATCH],
}

/// The dimensions before the last two.
fn batch_layout(x: &Tensor) -> Layout {
    let mut layout = x.layout.clone();
    layout.shape.truncate(x.rank() - 2);
    layout.strides.truncate(x.rank() - 2);
    layout
}

/// Batched product of operands already broadcast to one batch shape; `shape` is the result's.
pub(crate) fn matmul(a: &Tensor, b: &Tensor, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let (batch_a, batch_b) = (batch_layout(a), batch_layout(b));
    let (sizes, strides) = walk::merged(&[&batch_a, &batch_b]);
    if sizes.len() > MOST_BATCH {
        return matmul(&a.copy()?, &b.copy()?, shape, dtype);
    }
    let rank = shape.len();
    let c = output("matmul", a.gpu(), shape, dtype)?;
    let mut args = Args {
        batch: [1; MOST_BATCH],
        a_row: a.layout.strides[rank - 2] as u32,
        a_col: a.layout.strides[rank - 1] as u32,
        b_row: b.layout.strides[rank - 2] as u32,
        b_col: b.layout.strides[rank - 1] as u32,
        ..bytemuck::Zeroable::zeroed()
    };
    let first = MOST_BATCH - sizes.len();
    for (d, &size) in sizes.iter().enumerate() {
        args.batch[first + d] = size as u32;
        args.a_batch[first + d] = strides[0][d] as u32;
        args.b_batch[first + d] = strides[1][d] as u32;
    }
    let batch = shape[..rank - 2].iter().product();
    product(
        "matmul",
        (batch, shape[rank - 2], a.shape()[rank - 1], shape[rank - 1]),
        args,
        a,
        b,
        None,
        Epilogue::None,
        &[&c],
    )?;
    Ok(c)
}

/// `x [m, in]`, `w [out, in]`, `bias [out]` → `[m, out]`. Beside f16 the kernel takes an f32 bias.
pub(crate) fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    Ok(layer("linear", x, w, bias, Epilogue::None)?.0)
}

fn layer(
    op: &'static str,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    epilogue: Epilogue,
) -> Result<(Tensor, Option<Tensor>)> {
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    let made = || output(op, x.gpu(), &[m, n], x.dtype());
    let c = made()?;
    let kept = (epilogue == Epilogue::GeluKeep).then(made).transpose()?;
    let args = Args {
        batch: [1; MOST_BATCH],
        a_row: x.layout.strides[0] as u32,
        a_col: x.layout.strides[1] as u32,
        // Wᵀ: rows and columns exchanged.
        b_row: w.layout.strides[1] as u32,
        b_col: w.layout.strides[0] as u32,
        ..bytemuck::Zeroable::zeroed()
    };
    let bias = bias.map(|b| b.to_dtype(DType::F32)?.contiguous()).transpose()?;
    let outputs: Vec<&Tensor> = [&c].into_iter().chain(&kept).collect();
    product(op, (1, m, k, n), args, x, w, bias.as_ref(), epilogue, &outputs)?;
    Ok((c, kept))
}

/// GELU of the linear layer in the same launch and, with `keep`, the linear layer's own result.
pub(crate) fn linear_gelu(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    keep: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    layer("linear_gelu", x, w, bias, if keep { Epilogue::GeluKeep } else { Epilogue::Gelu })
}

fn product(
    op: &'static str,
    (batch, m, k, n): (usize, usize, usize, usize),
    mut args: Args,
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
    epilogue: Epilogue,
    outputs: &[&Tensor],
) -> Result<()> {
    let types = Types { operands: float(op, a.dtype())?, result: float(op, outputs[0].dtype())? };
    if batch * m * n == 0 {
        return Ok(());
    }
    let [large, small] = TILES;
    let count = |size: u32| batch * m.div_ceil(size as usize) * n.div_ceil(size as usize);
    let size = if count(large) >= BUSY { large } else { small };
    let tiles = count(size);
    if tiles > u32::MAX as usize || k > u32::MAX as usize {
        bail!(op, "{batch} products of [{m}, {k}] and [{k}, {n}] are more than one launch takes");
    }
    (args.m, args.k, args.n, args.tiles) = (m as u32, k as u32, n as u32, tiles as u32);
    (args.a_offset, args.b_offset) = (a.start(), b.start());
    args.bias_offset = bias.map_or(0, Tensor::start);
    let mut inputs = vec![a.buffer(), b.buffer()];
    inputs.extend(bias.map(Tensor::buffer));
    let outputs: Vec<_> = outputs.iter().map(|t| t.buffer()).collect();
    let variant = [types.code(), bias.is_some() as u64, epilogue as u64, (size == large) as u64];
    let launch = Launch {
        op,
        key: ("matmul", variant.iter().fold(0, |key, part| key * 4 + part)),
        inputs: &inputs,
        outputs: &outputs,
        immediates: bytemuck::bytes_of(&args),
        groups: a.gpu().grid(op, tiles as u64)?,
    };
    a.gpu().launch(&launch, || shaders::matmul::matmul(types, bias.is_some(), epilogue, size))
}
