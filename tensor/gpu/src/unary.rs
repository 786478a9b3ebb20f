//! `y[i] = f(x[i])` and `dx[i] = g[i]·f'(x[i])`: launches of `unary.wgsl`.

use gradus_base::op::unary::UnaryOp;
use gradus_base::{DType, Result, bail};
use gradus_shaders as shaders;

use super::copy::walk_over;
use super::storage::float;
use super::view::{Array, View};

/// The arguments of operations that have any.
fn arguments(op: UnaryOp) -> (f32, f32) {
    match op {
        UnaryOp::Affine { mul, add } => (mul as f32, add as f32),
        UnaryOp::Powf(e) => (e as f32, 0.0),
        UnaryOp::Clamp { min, max } => (min as f32, max as f32),
        _ => (0.0, 0.0),
    }
}

/// `op` of every element.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn forward(x: View, op: UnaryOp) -> Result<Array> {
    let scalar = float(op.name(), x.dtype())?;
    let y = Array::new(op.name(), x.gpu(), x.shape(), x.dtype())?;
    let (mut walk, [x]) = walk_over(op.name(), [x])?;
    (walk.a, walk.b) = arguments(op);
    walk.launch(op.name(), (op.name(), scalar.code()), &[x.buffer()], y.storage(), || {
        shaders::unary::forward(op.name(), scalar)
    })?;
    Ok(y)
}

/// `grad · op'(x)`, of one shape and dtype.
///
/// # Errors
/// If the operation has no fused derivative, the dtype is neither f32 nor f16, or memory is short.
pub fn backward(x: View, op: UnaryOp, grad: View) -> Result<Array> {
    if !op.has_fused_backward() {
        bail!(op.name(), "has no fused derivative; compose it");
    }
    let scalar = float(op.name(), x.dtype())?;
    let dx = Array::new(op.name(), x.gpu(), x.shape(), x.dtype())?;
    let (walk, [x, grad]) = walk_over(op.name(), [x, grad])?;
    let key = (op.name(), 256 + scalar.code());
    walk.launch(op.name(), key, &[x.buffer(), grad.buffer()], dx.storage(), || {
        shaders::unary::backward(op.name(), scalar)
    })?;
    Ok(dx)
}

/// 1 where the element is NaN or infinite, else 0 (u8).
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn is_not_finite(x: View) -> Result<Array> {
    let op = "is_not_finite";
    let scalar = float(op, x.dtype())?;
    let mask = Array::new(op, x.gpu(), x.shape(), DType::U8)?;
    let (walk, [x]) = walk_over(op, [x])?;
    walk.launch(op, (op, scalar.code()), &[x.buffer()], mask.storage(), || {
        shaders::unary::is_not_finite(scalar)
    })?;
    Ok(mask)
}
