//! `y[i] = f(x[i])` and `dx[i] = g[i]·f'(x[i])`: launches of `unary.wgsl`.

use gradus_base::op::unary::UnaryOp;
use gradus_shaders as shaders;

use super::copy::walk_over;
use super::storage::{float, output};
use super::walk;
use crate::{DType, Result, Tensor, bail};

/// The arguments of operations that have any.
fn arguments(op: UnaryOp) -> (f32, f32) {
    match op {
        UnaryOp::Affine { mul, add } => (mul as f32, add as f32),
        UnaryOp::Powf(e) => (e as f32, 0.0),
        UnaryOp::Clamp { min, max } => (min as f32, max as f32),
        _ => (0.0, 0.0),
    }
}

pub(crate) fn forward(x: &Tensor, op: UnaryOp) -> Result<Tensor> {
    let scalar = float(op.name(), x.dtype())?;
    let y = output(op.name(), x.gpu(), x.shape(), x.dtype())?;
    let (mut walk, x) = walk_over(op.name(), &[x])?;
    (walk.a, walk.b) = arguments(op);
    walk::launch(op.name(), (op.name(), scalar.code()), &walk, &[x[0].buffer()], &y, || {
        shaders::unary::forward(op.name(), scalar)
    })?;
    Ok(y)
}

pub(crate) fn backward(x: &Tensor, op: UnaryOp, grad: &Tensor) -> Result<Tensor> {
    if !op.has_fused_backward() {
        bail!(op.name(), "has no fused derivative; compose it");
    }
    let scalar = float(op.name(), x.dtype())?;
    let dx = output(op.name(), x.gpu(), x.shape(), x.dtype())?;
    let (walk, operands) = walk_over(op.name(), &[x, grad])?;
    let buffers = [operands[0].buffer(), operands[1].buffer()];
    walk::launch(op.name(), (op.name(), 256 + scalar.code()), &walk, &buffers, &dx, || {
        shaders::unary::backward(op.name(), scalar)
    })?;
    Ok(dx)
}

pub(crate) fn is_not_finite(x: &Tensor) -> Result<Tensor> {
    let op = "is_not_finite";
    let scalar = float(op, x.dtype())?;
    let mask = output(op, x.gpu(), x.shape(), DType::U8)?;
    let (walk, x) = walk_over(op, &[x])?;
    walk::launch(op, (op, scalar.code()), &walk, &[x[0].buffer()], &mask, || {
        shaders::unary::is_not_finite(scalar)
    })?;
    Ok(mask)
}
