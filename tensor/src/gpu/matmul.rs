//! Matrix products: launches of `matmul.wgsl`.

use super::context::Launch;
use super::storage::{float, output};
use super::{unary, walk};
use crate::layout::Layout;
use crate::ops::unary::UnaryOp;
use crate::{Result, Tensor, bail};
use gradus_shaders as shaders;

/// Batch dimensions that the kernel walks at most.
const MOST_BATCH: usize = 3;

/// A tile's rows and columns.
const TILE: usize = 32;

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
pub(crate) fn matmul(a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let (batch_a, batch_b) = (batch_layout(a), batch_layout(b));
    let (sizes, strides) = walk::merged(&[&batch_a, &batch_b]);
    if sizes.len() > MOST_BATCH {
        return matmul(&a.copy()?, &b.copy()?, shape);
    }
    let rank = shape.len();
    let c = output("matmul", a.gpu(), shape, a.dtype())?;
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
        &c,
    )?;
    Ok(c)
}

/// `x [m, in]`, `w [out, in]`, `bias [out]` → `[m, out]`.
pub(crate) fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    let c = output("linear", x.gpu(), &[m, n], x.dtype())?;
    let args = Args {
        batch: [1; MOST_BATCH],
        a_row: x.layout.strides[0] as u32,
        a_col: x.layout.strides[1] as u32,
        // Wᵀ: rows and columns exchanged.
        b_row: w.layout.strides[1] as u32,
        b_col: w.layout.strides[0] as u32,
        ..bytemuck::Zeroable::zeroed()
    };
    let bias = bias.map(Tensor::contiguous).transpose()?;
    product("linear", (1, m, k, n), args, x, w, bias.as_ref(), &c)?;
    Ok(c)
}

/// GELU of [`linear`] and, with `keep`, the linear layer's own result. Two launches: the kernel has
/// no epilogue besides the bias.
pub(crate) fn linear_gelu(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    keep: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let y = linear(x, w, bias)?;
    Ok((unary::forward(&y, UnaryOp::Gelu)?, keep.then_some(y)))
}

fn product(
    op: &'static str,
    (batch, m, k, n): (usize, usize, usize, usize),
    mut args: Args,
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
    c: &Tensor,
) -> Result<()> {
    let scalar = float(op, a.dtype())?;
    if batch * m * n == 0 {
        return Ok(());
    }
    let tiles = batch * m.div_ceil(TILE) * n.div_ceil(TILE);
    if tiles > u32::MAX as usize || k > u32::MAX as usize {
        bail!(op, "{batch} products of [{m}, {k}] and [{k}, {n}] are more than one launch takes");
    }
    (args.m, args.k, args.n, args.tiles) = (m as u32, k as u32, n as u32, tiles as u32);
    (args.a_offset, args.b_offset) = (a.start(), b.start());
    args.bias_offset = bias.map_or(0, Tensor::start);
    let mut inputs = vec![a.buffer(), b.buffer()];
    inputs.extend(bias.map(Tensor::buffer));
    let launch = Launch {
        op,
        key: ("matmul", scalar.code() * 2 + bias.is_some() as u64),
        inputs: &inputs,
        outputs: &[c.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups: c.gpu().grid(op, tiles as u64)?,
    };
    c.gpu().launch(&launch, || shaders::matmul::matmul(scalar, bias.is_some()))
}
