//! Matrix products and linear layers: launches of `matmul.wgsl` (in tiles), `matmul_few.wgsl` (for
//! few rows) and `matmul_cooperative.wgsl`, which `product.rs` chooses by shape and device.

use gradus_base::op::reduce::ReduceOp;
use gradus_base::{DType, Layout, Result};
use gradus_shaders::matmul::Epilogue;

use super::copy::{convert, full};
use super::kept::{join_kept, to_dtype_kept};
use super::product::{Args, MAX_BATCH, Multiplication, Sizes};
use super::reduce;
use super::view::{Array, View, ViewOrCopy};
use super::walk;

/// The dimensions before the last two.
fn batch_layout(x: View) -> Layout {
    let mut layout = x.layout().clone();
    layout.shape.truncate(x.shape().len() - 2);
    layout.strides.truncate(x.shape().len() - 2);
    layout
}

/// Batched product of operands already broadcast to one batch shape; `shape` is the result's.
///
/// # Errors
/// If a dtype is neither f32 nor f16, the launch is too large, or memory is short.
pub fn matmul(a: View, b: View, shape: &[usize], dtype: DType) -> Result<Array> {
    let op = "matmul";
    let (batch_a, batch_b) = (batch_layout(a), batch_layout(b));
    let (sizes, strides) = walk::merged(&[&batch_a, &batch_b]);
    if sizes.len() > MAX_BATCH {
        return matmul(a.copy(op)?.view(), b.copy(op)?.view(), shape, dtype);
    }
    let rank = shape.len();
    let c = Array::new(op, a.gpu(), shape, dtype)?;
    let steps = |x: View| (x.strides()[rank - 2], x.strides()[rank - 1]);
    let mut args = Args::new(steps(a), steps(b));
    let first = MAX_BATCH - sizes.len();
    for (d, &size) in sizes.iter().enumerate() {
        args.batch[first + d] = size as u32;
        args.a_batch[first + d] = strides[0][d] as u32;
        args.b_batch[first + d] = strides[1][d] as u32;
    }
    let batch = shape[..rank - 2].iter().product();
    let sizes = Sizes { batch, m: shape[rank - 2], k: a.shape()[rank - 1], n: shape[rank - 1] };
    Multiplication::new(op, sizes, args, a, b).launch(&[&c])?;
    Ok(c)
}

/// `x [m, in]`, `w [out, in]`, `bias [out]` → `[m, out]`. The kernel takes an f32 bias even for f16
/// operands.
///
/// # Errors
/// As [`matmul`].
pub fn linear(x: View, w: View, bias: Option<View>) -> Result<Array> {
    Ok(layer("linear", x, w, bias, Epilogue::None)?.0)
}

/// Layers side by side as one layer, with their weights joined.
///
/// # Errors
/// As [`matmul`].
pub fn linear_cat(x: View, weights: Vec<View>, biases: Vec<View>) -> Result<Array> {
    let op = "linear_cat";
    let (w, b) = joined(op, &weights, &biases)?;
    let w = to_dtype_kept(op, w.view(), x.dtype())?;
    Ok(layer(op, x, w.view(), b.as_ref().map(Array::view), Epilogue::None)?.0)
}

/// The weights `[Σout, in]` of layers side by side. They are kept until one of them changes.
///
/// # Errors
/// If memory is short.
pub fn joined_weights(weights: Vec<View>, biases: Vec<View>) -> Result<Array> {
    Ok(joined("linear_cat", &weights, &biases)?.0)
}

/// The joined weights and biases of layers side by side, kept until one of them changes. Where they
/// have one dtype, they share one buffer and so one launch.
fn joined(op: &'static str, weights: &[View], biases: &[View]) -> Result<(Array, Option<Array>)> {
    let k = weights[0].shape()[1];
    let n: usize = weights.iter().map(|w| w.shape()[0]).sum();
    if biases.iter().any(|b| b.dtype() != weights[0].dtype()) {
        let biases = biases.iter().map(|b| b.to_dtype(op, DType::F32));
        let biases = biases.collect::<Result<Vec<_>>>()?;
        let bias = join_kept(op, &biases.iter().map(ViewOrCopy::view).collect::<Vec<_>>())?;
        return Ok((join_kept(op, weights)?.reshape(&[n, k]), Some(bias)));
    }
    let all = join_kept(op, &[weights, biases].concat())?;
    let bias = (!biases.is_empty()).then(|| all.part(n * k, &[n]));
    Ok((all.part(0, &[n, k]), bias))
}

fn layer(
    op: &'static str,
    x: View,
    w: View,
    bias: Option<View>,
    epilogue: Epilogue,
) -> Result<(Array, Option<Array>)> {
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    let made = || Array::new(op, x.gpu(), &[m, n], x.dtype());
    let c = made()?;
    let kept = (epilogue == Epilogue::GeluKeep).then(made).transpose()?;
    // Wᵀ: swaps rows and columns.
    let (x_steps, w_steps) = (x.strides(), w.strides());
    let args = Args::new((x_steps[0], x_steps[1]), (w_steps[1], w_steps[0]));
    let bias = bias.map(|b| b.contiguous_in(op, DType::F32)).transpose()?;
    let bias = bias.as_ref().map(ViewOrCopy::view);
    let outputs: Vec<&Array> = [&c].into_iter().chain(&kept).collect();
    let sizes = Sizes { batch: 1, m, k, n };
    let mut product = Multiplication::new(op, sizes, args, x, w);
    (product.bias, product.epilogue) = (bias, epilogue);
    product.launch(&outputs)?;
    Ok((c, kept))
}

/// GELU of the linear layer in one launch and, with `keep`, also the linear layer's result.
///
/// # Errors
/// As [`matmul`].
pub fn linear_gelu(
    x: View,
    w: View,
    bias: Option<View>,
    keep: bool,
) -> Result<(Array, Option<Array>)> {
    layer("linear_gelu", x, w, bias, if keep { Epilogue::GeluKeep } else { Epilogue::Gelu })
}

/// For G `[rows, out]` and x `[rows, in]`: Gᵀ·x `[out, in]` in `dtype`, and the sums of G's columns
/// `[out]` in `dtype`.
///
/// # Errors
/// As [`matmul`].
pub fn linear_parameters_backward(g: View, x: View, dtype: DType) -> Result<(Array, Array)> {
    let op = "linear_parameters_backward";
    let (k, m, n) = (g.shape()[0], g.shape()[1], x.shape()[1]);
    let dw = Array::new(op, g.gpu(), &[m, n], dtype)?;
    let (g_steps, x_steps) = (g.strides(), x.strides());
    let args = Args::new((g_steps[1], g_steps[0]), (x_steps[0], x_steps[1]));
    let sizes = Sizes { batch: 1, m, k, n };
    let mut product = Multiplication::new(op, sizes, args, g, x);
    if dtype == DType::F32 && product.can_sum_rows()? {
        let db = Array::new(op, g.gpu(), &[m], dtype)?;
        product.epilogue = Epilogue::RowSums;
        product.launch(&[&dw, &db])?;
        return Ok((dw, db));
    }
    product.launch(&[&dw])?;
    Ok((dw, column_sums(op, g, dtype)?))
}

/// The sums of the columns of `[rows, columns]`, in `dtype`.
fn column_sums(op: &'static str, x: View, dtype: DType) -> Result<Array> {
    let (rows, columns) = (x.shape()[0], x.shape()[1]);
    if x.numel() == 0 {
        return full(op, x.gpu(), &[columns], 0.0, dtype);
    }
    let sums = match rows {
        1 => x.copy(op)?.reshape(&[columns]),
        _ => reduce::forward(x, ReduceOp::Sum, &[0], rows)?,
    };
    if sums.dtype() == dtype { Ok(sums) } else { convert(op, sums.view(), dtype) }
}
