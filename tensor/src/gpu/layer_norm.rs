//! Layer normalisation and its derivatives: launches of `layer_norm.wgsl`.

use super::copy::full;
use super::rows::Rows;
use super::storage::{float, output};
use crate::ops::layer_norm::Residual;
use crate::random::RngKey;
use crate::{DType, LayerNormOutput, Result, Tensor};
use gradus_shaders as shaders;
use gradus_shaders::layer_norm::Before;

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
    residual: Option<&Residual>,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    lead: &[usize],
) -> Result<LayerNormOutput> {
    let op = "layer_norm";
    let scalar = float(op, x.dtype())?;
    let (gpu, n) = (x.gpu(), weight.numel());
    let y = output(op, gpu, x.shape(), x.dtype())?;
    let before = match residual {
        None => Before::Nothing,
        // Written whether it is to be kept or not: to make it again each time it is read would cost the words.
        Some(Residual { dropout: Some(_), .. }) => Before::DropoutAdd,
        Some(Residual { keep: true, .. }) => Before::AddKeep,
        Some(_) => Before::Add,
    };
    let sum = before.keeps().then(|| output(op, gpu, x.shape(), x.dtype())).transpose()?;
    if n == 0 {
        let nan = || full(op, gpu, lead, f64::NAN, DType::F32);
        return Ok(LayerNormOutput { output: y, mean: nan()?, rstd: nan()?, sum });
    }
    let mean = output(op, gpu, lead, DType::F32)?;
    let rstd = output(op, gpu, lead, DType::F32)?;
    let [weight, bias] = &in_f32([weight, bias])?;
    let args = Rows::new(mean.numel(), n, eps).dropping(residual.and_then(|r| r.dropout));
    let width = args.width();
    let key = (op, (before as u64) << 32 | scalar.code() << 16 | width as u64);
    let inputs: Vec<&Tensor> =
        [x].into_iter().chain(residual.map(|r| r.tensor)).chain([weight, bias]).collect();
    let outputs: Vec<&Tensor> = [&y, &mean, &rstd].into_iter().chain(&sum).collect();
    args.launch(op, key, mean.numel() as u64, &inputs, &outputs, || {
        shaders::layer_norm::forward(scalar, width, before)
    })?;
    Ok(LayerNormOutput { output: y, mean, rstd, sum })
}

/// All inputs contiguous and of fitting shapes. With dropout also returns dx dropped out.
pub(crate) fn backward(
    x: &Tensor,
    weight: &Tensor,
    mean: &Tensor,
    rstd: &Tensor,
    grad: &Tensor,
    dropout: Option<(f64, RngKey)>,
) -> Result<(Tensor, Option<Tensor>, Tensor, Tensor)> {
    let op = "layer_norm_backward";
    let scalar = float(op, x.dtype())?;
    let (gpu, n, rows) = (x.gpu(), weight.numel(), mean.numel());
    let made = || output(op, gpu, x.shape(), x.dtype());
    let dx = made()?;
    let da = dropout.is_some().then(made).transpose()?;
    let (dtype, grad) = (weight.dtype(), &grad.to_dtype(x.dtype())?);
    let [weight, mean, rstd] = &in_f32([weight, mean, rstd])?;
    let args = Rows::new(rows, n, 0.0).dropping(dropout);
    let width = args.width();
    let key = (op, (da.is_some() as u64) << 32 | scalar.code() << 16 | width as u64);
    let outputs: Vec<&Tensor> = [&dx].into_iter().chain(&da).collect();
    args.launch(op, key, rows as u64, &[x, weight, mean, rstd, grad], &outputs, || {
        shaders::layer_norm::backward(scalar, width, da.is_some())
    })?;

    let blocks = rows.div_ceil(shaders::layer_norm::BLOCK as usize);
    let tiles = n.div_ceil(shaders::layer_norm::COLUMNS as usize);
    let parts = output(op, gpu, &[blocks, 2 * n], DType::F32)?;
    let key = ("layer_norm_parameters", scalar.code());
    args.launch(op, key, (blocks * tiles) as u64, &[x, mean, rstd, grad], &[&parts], || {
        shaders::layer_norm::parameters(scalar)
    })?;
    let sums = parts.sum(&[0], false)?.to_dtype(dtype)?;
    Ok((dx, da, sums.narrow(0, 0, n)?, sums.narrow(0, n, n)?))
}
