//! Softmax, its logarithm and their derivatives along the last dimension: launches of
//! `softmax.wgsl`.

use super::rows::Rows;
use super::storage::{float, output};
use crate::{Result, Tensor};
use gradus_shaders as shaders;

fn launch(op: &'static str, log: bool, inputs: &[&Tensor]) -> Result<Tensor> {
    let x = inputs[0];
    let scalar = float(op, x.dtype())?;
    let y = output(op, x.gpu(), x.shape(), x.dtype())?;
    let n = x.shape().last().copied().unwrap_or(1);
    let rows = x.numel().checked_div(n).unwrap_or(0);
    let args = Rows::new(rows, n, 0.0);
    let width = args.width();
    let key = (op, scalar.code() << 16 | width as u64);
    args.launch(op, key, rows as u64, inputs, &[&y], || match inputs.len() {
        1 => shaders::softmax::forward(scalar, log, width),
        _ => shaders::softmax::backward(scalar, log, width),
    })?;
    Ok(y)
}

/// Softmax of the rows of a contiguous tensor.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    launch("softmax", false, &[x])
}

/// Log-softmax of the rows of a contiguous tensor.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    launch("log_softmax", true, &[x])
}

/// dx = y·(g − Σ g·y) by rows, both contiguous.
pub(crate) fn softmax_backward(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    launch("softmax_backward", false, &[y, grad])
}

/// dx = g − eʸ·Σg by rows, both contiguous.
pub(crate) fn log_softmax_backward(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    launch("log_softmax_backward", true, &[y, grad])
}
