//! Softmax, its logarithm and their derivatives along the last dimension: launches of
//! `softmax.wgsl`.

use gradus_base::Result;
use gradus_shaders as shaders;

use super::rows::{RowKernel, Rows};
use super::storage::float;
use super::view::{Array, View};

fn launch(op: &'static str, log: bool, inputs: &[View]) -> Result<Array> {
    let x = inputs[0];
    let scalar = float(op, x.dtype())?;
    let y = Array::new(op, x.gpu(), x.shape(), x.dtype())?;
    let n = x.shape().last().copied().unwrap_or(1);
    let rows = x.numel().checked_div(n).unwrap_or(0);
    let args = Rows::new(rows, n, 0.0);
    let width = args.width();
    let key = (op, scalar.code() << 16 | width as u64);
    let kernel = RowKernel { op, key, groups: rows as u64, inputs, outputs: &[&y] };
    args.launch(&kernel, || match inputs.len() {
        1 => shaders::softmax::forward(scalar, log, width),
        _ => shaders::softmax::backward(scalar, log, width),
    })?;
    Ok(y)
}

/// Softmax of the rows of contiguous elements.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn softmax(x: View) -> Result<Array> {
    launch("softmax", false, &[x])
}

/// Log-softmax of the rows of contiguous elements.
///
/// # Errors
/// As [`softmax`].
pub fn log_softmax(x: View) -> Result<Array> {
    launch("log_softmax", true, &[x])
}

/// dx = y·(g − Σ g·y) by rows, both contiguous.
///
/// # Errors
/// As [`softmax`].
pub fn softmax_backward(y: View, grad: View) -> Result<Array> {
    launch("softmax_backward", false, &[y, grad])
}

/// dx = g − eʸ·Σg by rows, both contiguous.
///
/// # Errors
/// As [`softmax`].
pub fn log_softmax_backward(y: View, grad: View) -> Result<Array> {
    launch("log_softmax_backward", true, &[y, grad])
}
