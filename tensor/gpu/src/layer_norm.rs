//! Layer normalisation and its derivatives: launches of `layer_norm.wgsl`.

use gradus_base::op::layer_norm::{LayerNormOutput, Operands, Residual, Saved};
use gradus_base::{DType, Result, RngKey};
use gradus_shaders as shaders;
use gradus_shaders::layer_norm::{Backward, Before, Forward};

use super::copy::{convert, full};
use super::gather::Part;
use super::rows::{RowKernel, Rows};
use super::storage::float;
use super::view::{Array, View, ViewOrCopy};

/// All inputs are contiguous and of fitting shapes; x has at least one dimension.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn forward(
    operands: Operands<View>,
    residual: Option<Residual<View>>,
) -> Result<LayerNormOutput<Array>> {
    let Operands { x, weight, bias, eps, rms } = operands;
    let lead = &x.shape()[..x.shape().len() - 1];
    let op = "layer_norm";
    let scalar = float(op, x.dtype())?;
    let (gpu, n) = (x.gpu(), weight.numel());
    let y = Array::new(op, gpu, x.shape(), x.dtype())?;
    let before = match &residual {
        None => Before::Nothing,
        // Always written: to compute it again at every read, the kernel would need the random words
        // again.
        Some(Residual { dropout: Some(_), .. }) => Before::DropoutAdd,
        Some(Residual { keep: true, .. }) => Before::AddKeep,
        Some(_) => Before::Add,
    };
    let sum = before.keeps().then(|| Array::new(op, gpu, x.shape(), x.dtype())).transpose()?;
    if n == 0 {
        let nan = || full(op, gpu, lead, f64::NAN, DType::F32);
        return Ok(LayerNormOutput { output: y, mean: nan()?, rstd: nan()?, sum });
    }
    let mean = Array::new(op, gpu, lead, DType::F32)?;
    let rstd = Array::new(op, gpu, lead, DType::F32)?;
    let weight = weight.to_dtype(op, DType::F32)?;
    let bias = bias.map(|bias| bias.to_dtype(op, DType::F32)).transpose()?;
    let dropout = residual.as_ref().and_then(|r| r.dropout);
    let args = Rows::new(mean.numel(), n, eps).dropping(dropout);
    let variant = Forward { scalar, width: args.width(), before, bias: bias.is_some(), rms };
    let key = (op, variant.key());
    let added = residual.map(|r| r.tensor);
    let inputs: Vec<View> = [x]
        .into_iter()
        .chain(added)
        .chain([&weight].into_iter().chain(&bias).map(ViewOrCopy::view))
        .collect();
    let outputs: Vec<&Array> = [&y, &mean, &rstd].into_iter().chain(&sum).collect();
    let groups = mean.numel() as u64;
    let kernel = RowKernel { op, key, groups, inputs: &inputs, outputs: &outputs };
    args.launch(&kernel, || shaders::layer_norm::forward(variant))?;
    Ok(LayerNormOutput { output: y, mean, rstd, sum })
}

/// All inputs are contiguous and of fitting shapes; `grads` has one gradient, or two that are
/// added. With dropout it also returns dx after dropout.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    saved: Saved<View>,
    grads: Vec<View>,
    dropout: Option<(f64, RngKey)>,
) -> Result<(Array, Option<Array>, Array, Array)> {
    let Saved { x, weight, mean, rstd, rms } = saved;
    let op = "layer_norm_backward";
    let scalar = float(op, x.dtype())?;
    let (gpu, n, rows) = (x.gpu(), weight.numel(), mean.numel());
    let made = || Array::new(op, gpu, x.shape(), x.dtype());
    let dx = made()?;
    let da = dropout.is_some().then(made).transpose()?;
    let dtype = weight.dtype();
    let grads = grads.iter().map(|g| g.to_dtype(op, x.dtype())).collect::<Result<Vec<_>>>()?;
    let weight = weight.to_dtype(op, DType::F32)?;
    let (mean, rstd) = (mean.to_dtype(op, DType::F32)?, rstd.to_dtype(op, DType::F32)?);
    let blocks = rows.div_ceil(shaders::layer_norm::BLOCK as usize);
    let sums = if rows == 0 || n == 0 {
        full(op, gpu, &[2 * n], 0.0, DType::F32)?
    } else {
        let parts = Array::new(op, gpu, &[blocks, 2 * n], DType::F32)?;
        let args = Rows::new(rows, n, 0.0).dropping(dropout);
        let (more, dropout) = (grads.len() > 1, da.is_some());
        let variant = Backward { scalar, width: args.width(), more, dropout, rms };
        let key = (op, variant.key());
        let operands = [weight, mean, rstd];
        let inputs: Vec<View> =
            [x].into_iter().chain(operands.iter().chain(&grads).map(ViewOrCopy::view)).collect();
        let outputs: Vec<&Array> = [&dx].into_iter().chain(&da).chain([&parts]).collect();
        let groups = blocks as u64;
        let kernel = RowKernel { op, key, groups, inputs: &inputs, outputs: &outputs };
        args.launch(&kernel, || shaders::layer_norm::backward(variant))?;
        total(parts, blocks, 2 * n)?
    };
    let sums = if dtype == DType::F32 { sums } else { convert(op, sums.view(), dtype)? };
    Ok((dx, da, sums.part(0, &[n]), sums.part(n, &[n])))
}

/// The sum of the rows of parts `[blocks, columns]`. Its launch is gathered with those of other
/// norms until one of the sums is read.
fn total(parts: Array, blocks: usize, columns: usize) -> Result<Array> {
    let (op, gpu) = ("layer_norm_backward", parts.view().gpu());
    if blocks == 1 {
        return Ok(parts.reshape(&[columns]));
    }
    let sums = Array::new(op, gpu, &[columns], DType::F32)?;
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
        held: Some(parts.storage().clone()),
        shader: |_, many| shaders::layer_norm::totals(many),
    })?;
    Ok(sums)
}
