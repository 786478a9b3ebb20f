//! `y[i] = f(a[i], b[i])`, comparisons, `where`, in-place sums: launches of `binary.wgsl`.

use gradus_base::op::binary::{BinaryOp, CompareOp};
use gradus_shaders as shaders;

use super::copy::walk_over;
use super::storage::{float, output, scalar};
use super::walk;
use crate::{DType, Result, Tensor, bail};

pub(crate) fn binary(op: BinaryOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let scalar = scalar(op.name(), a.dtype())?;
    if op == BinaryOp::Pow && !a.dtype().is_float() {
        bail!("pow", "is for floats, got {}; convert with to_dtype", a.dtype());
    }
    let y = output(op.name(), a.gpu(), a.shape(), a.dtype())?;
    let (walk, operands) = walk_over(op.name(), &[a, b])?;
    let buffers = [operands[0].buffer(), operands[1].buffer()];
    walk::launch(op.name(), (op.name(), scalar.code()), &walk, &buffers, &y, || {
        shaders::binary::binary(op.name(), scalar)
    })?;
    Ok(y)
}

pub(crate) fn compare(op: CompareOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let scalar = scalar(op.name(), a.dtype())?;
    let mask = output(op.name(), a.gpu(), a.shape(), DType::U8)?;
    let (walk, operands) = walk_over(op.name(), &[a, b])?;
    let buffers = [operands[0].buffer(), operands[1].buffer()];
    walk::launch(op.name(), (op.name(), scalar.code()), &walk, &buffers, &mask, || {
        shaders::binary::compare(op.name(), scalar)
    })?;
    Ok(mask)
}

pub(crate) fn where_(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let scalar = scalar("where", a.dtype())?;
    let y = output("where", a.gpu(), a.shape(), a.dtype())?;
    let (walk, operands) = walk_over("where", &[a, b, condition])?;
    let buffers = [operands[0].buffer(), operands[1].buffer(), operands[2].buffer()];
    walk::launch("where", ("where", scalar.code()), &walk, &buffers, &y, || {
        shaders::binary::where_(scalar)
    })?;
    Ok(y)
}

pub(crate) fn add_(a: &mut Tensor, b: &Tensor, alpha: f64) -> Result<()> {
    let scalar = float("add_", a.dtype())?;
    a.make_writable("add_")?;
    let (mut walk, b) = walk_over("add_", &[b])?;
    (walk.a, walk.word) = (alpha as f32, a.start());
    walk::launch("add_", ("add_", scalar.code()), &walk, &[b[0].buffer()], a, || {
        shaders::binary::add_(scalar)
    })
}

pub(crate) fn mul_scalar_(a: &mut Tensor, factor: f64) -> Result<()> {
    let scalar = float("mul_scalar_", a.dtype())?;
    a.make_writable("mul_scalar_")?;
    let (mut walk, _) = walk_over("mul_scalar_", &[a])?;
    (walk.a, walk.word) = (factor as f32, a.start());
    walk::launch("mul_scalar_", ("mul_scalar_", scalar.code()), &walk, &[], a, || {
        shaders::binary::mul_scalar_(scalar)
    })
}
