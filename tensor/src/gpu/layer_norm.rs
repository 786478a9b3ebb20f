//! Layer normalisation and its derivatives: launches of `layer_norm.wgsl`.

use super::copy::full;
use super::rows::Rows;
use super::storage::{float, output};
use crate::{DType, LayerNormOutput, Result, Tensor};
use gradus_shaders as shaders;

/// Weights and statistics as the kernels take them.
fn in_f32<const N: usize>(tensors: [&Tensor; N]) -> Result<[Tensor; N]> {
    let mut all = tensors.map(Tensor::clone);
    for tensor in &mut all {
        *tensor = tensor.to_dtype(DType::F32)?;
    }
    Ok(all)
}

/// All inputs contiguous and of fitting shapes; `lead` is x's shape without the last dimension.
pub(crate) fn forward(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    lead: &[usize],
) -> Result<LayerNormOutput> {
    let op = "layer_norm";
    let scalar = float(op, x.dtype())?;
    let (gpu, n) = (x.gpu(), weight.numel());
    let y = output(op, gpu, x.shape(), x.dtype())?;
    if n == 0 {
        let nan = || full(op, gpu, lead, f64::NAN, DType::F32);
        return Ok(LayerNormOutput { output: y, mean: nan()?, rstd: nan()? });
    }
    let mean = output(op, gpu, lead, DType::F32)?;
    let rstd = output(op, gpu, lead, DType::F32)?;
    let [weight, bias] = &in_f32([weight, bias])?;
    let args = Rows::new(mean.numel(), n, eps);
    let width = args.width();
    let key = (op, scalar.code() << 16 | width as u64);
    let (inputs, outputs) = ([x, weight, bias], [&y, &mean, &rstd]);
    args.launch(op, key, mean.numel() as u64, &inputs, &outputs, || {
        shaders::layer_norm::forward(scalar, width)
    })?;
    Ok(LayerNormOutput { output: y, mean, rstd })
}

/// All inputs contiguous and of fitting shapes.
pub(crate) fn backward(
    x: &Tensor,
    weight: &Tensor,
    mean: &Tensor,
    rstd: &Tensor,
    grad: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let op = "layer_norm_backward";
    let scalar = float(op, x.dtype())?;
    let (gpu, n, rows) = (x.gpu(), weight.numel(), mean.numel());
    let dx = output(op, gpu, x.shape(), x.dtype())?;
    let (dtype, grad) = (weight.dtype(), &grad.to_dtype(x.dtype())?);
    let [weight, mean, rstd] = &in_f32([weight, mean, rstd])?;
    let args = Rows::new(rows, n, 0.0);
    let width = args.width();
    let key = (op, scalar.code() << 16 | width as u64);
    args.launch(op, key, rows as u64, &[x, weight, mean, rstd, grad], &[&dx], || {
        shaders::layer_norm::backward(scalar, width)
    })?;

    let blocks = rows.div_ceil(shaders::layer_norm::BLOCK as usize);
    let tiles = n.div_ceil(shaders::layer_norm::COLUMNS as usize);
    let dw = output(op, gpu, &[blocks, n], DType::F32)?;
    let db = output(op, gpu, &[blocks, n], DType::F32)?;
    let key = ("layer_norm_parameters", scalar.code());
    args.launch(op, key, (blocks * tiles) as u64, &[x, mean, rstd, grad], &[&dw, &db], || {
        shaders::layer_norm::parameters(scalar)
    })?;
    let total = |parts: Tensor| parts.sum(&[0], false)?.to_dtype(dtype);
    Ok((dx, total(dw)?, total(db)?))
}
