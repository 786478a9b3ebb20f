//! Layer normalisation and its derivatives: launches of `layer_norm.wgsl`.

use gradus_base::RngKey;
use gradus_shaders as shaders;
use gradus_shaders::layer_norm::Before;

use super::copy::full;
use super::gather::Part;
use super::rows::Rows;
use super::storage::{float, output};
use crate::operands::{LayerNormOutput, Residual};
use crate::{DType, Result, Tensor};

/// Weights and statistics in f32, as the kernels need them.
fn in_f32<const N: usize>(tensors: [&Tensor; N]) -> Result<[Tensor; N]> {
    let mut all = tensors.map(Tensor::clone);
    for tensor in &mut all {
        *tensor = tensor.to_dtype(DType::F32)?;
    }
    Ok(all)
}

/// All inputs are contiguous and of fitting shapes; `lead` is x's shape without the last dimension.
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
        // Always written: to compute it again at every read, the kernel would need the random words
        // again.
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

/// All inputs are contiguous and of fitting shapes; `grads` has one gradient, or two that are
/// added. With dropout it also returns dx after dropout.
pub(crate) fn backward(
    x: &Tensor,
    weight: &Tensor,
    mean: &Tensor,
    rstd: &Tensor,
    grads: &[&Tensor],
    dropout: Option<(f64, RngKey)>,
) -> Result<(Tensor, Option<Tensor>, Tensor, Tensor)> {
    let op = "layer_norm_backward";
    let scalar = float(op, x.dtype())?;
    let (gpu, n, rows) = (x.gpu(), weight.numel(), mean.numel());
    let made = || output(op, gpu, x.shape(), x.dtype());
    let dx = made()?;
    let da = dropout.is_some().then(made).transpose()?;
    let dtype = weight.dtype();
    let grads = grads.iter().map(|g| g.to_dtype(x.dtype())).collect::<Result<Vec<_>>>()?;
    let [weight, mean, rstd] = &in_f32([weight, mean, rstd])?;
    let blocks = rows.div_ceil(shaders::layer_norm::BLOCK as usize);
    let sums = if rows == 0 || n == 0 {
        full(op, gpu, &[2 * n], 0.0, DType::F32)?
    } else {
        let parts = output(op, gpu, &[blocks, 2 * n], DType::F32)?;
        let args = Rows::new(rows, n, 0.0).dropping(dropout);
        let (width, more) = (args.width(), grads.len() > 1);
        let variant = (more as u64) << 1 | da.is_some() as u64;
        let key = (op, variant << 32 | scalar.code() << 16 | width as u64);
        let inputs: Vec<&Tensor> = [x, weight, mean, rstd].into_iter().chain(&grads).collect();
        let outputs: Vec<&Tensor> = [&dx].into_iter().chain(&da).chain([&parts]).collect();
        args.launch(op, key, blocks as u64, &inputs, &outputs, || {
            shaders::layer_norm::backward(scalar, width, more, da.is_some())
        })?;
        total(parts)?
    };
    let sums = sums.to_dtype(dtype)?;
    Ok((dx, da, sums.narrow(0, 0, n)?, sums.narrow(0, n, n)?))
}

/// The sum of the rows of parts. Its launch is gathered with those of other norms until one of the
/// sums is read.
fn total(parts: Tensor) -> Result<Tensor> {
    let op = "layer_norm_backward";
    let (gpu, [blocks, columns]) = (parts.gpu(), [parts.shape()[0], parts.shape()[1]]);
    if blocks == 1 {
        return parts.reshape(&[columns]);
    }
    let sums = output(op, gpu, &[columns], DType::F32)?;
    gpu.gather(&Part {
        op,
        key: ("layer_norm_totals", 0),
        common: &[],
        args: &[],
        inputs: &[parts.buffer()],
        outputs: &[sums.buffer()],
        numbers: [columns as u32, blocks as u32],
        groups: columns.div_ceil(shaders::layer_norm::COLUMNS as usize) as u32,
        // Holds the parts until then; otherwise the next norm would get the same buffer for its
        // own.
        held: Some(parts.storage.clone()),
        shader: |_, many| shaders::layer_norm::totals(many),
    })?;
    Ok(sums)
}
