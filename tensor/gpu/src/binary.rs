//! `y[i] = f(a[i], b[i])`, comparisons, `where`, in-place sums: launches of `binary.wgsl`.

use gradus_base::op::binary::{BinaryOp, CompareOp};
use gradus_base::{DType, Layout, Result, bail};
use gradus_shaders as shaders;

use super::copy::walk_over;
use super::storage::{float, scalar};
use super::view::{Array, View, ViewMut};
use super::walk::Walk;

/// `op` of operands of one dtype and one shape.
///
/// # Errors
/// If the kernel does not take the dtype, or memory is short.
pub fn binary(op: BinaryOp, a: View, b: View) -> Result<Array> {
    let scalar = scalar(op.name(), a.dtype())?;
    if op == BinaryOp::Pow && !a.dtype().is_float() {
        bail!("pow", DType, "is for floats, got {}; convert with to_dtype", a.dtype());
    }
    let y = Array::new(op.name(), a.gpu(), a.shape(), a.dtype())?;
    let (walk, [a, b]) = walk_over(op.name(), [a, b])?;
    let key = (op.name(), scalar.code());
    walk.launch(op.name(), key, &[a.buffer(), b.buffer()], y.storage(), || {
        shaders::binary::binary(op.name(), scalar)
    })?;
    Ok(y)
}

/// 1 or 0 (u8) for operands of one dtype and one shape.
///
/// # Errors
/// If memory is short.
pub fn compare(op: CompareOp, a: View, b: View) -> Result<Array> {
    let scalar = scalar(op.name(), a.dtype())?;
    let mask = Array::new(op.name(), a.gpu(), a.shape(), DType::U8)?;
    let (walk, [a, b]) = walk_over(op.name(), [a, b])?;
    let key = (op.name(), scalar.code());
    walk.launch(op.name(), key, &[a.buffer(), b.buffer()], mask.storage(), || {
        shaders::binary::compare(op.name(), scalar)
    })?;
    Ok(mask)
}

/// `a` where the condition (u8) is not 0, else `b`; all of one shape.
///
/// # Errors
/// If memory is short.
pub fn where_(condition: View, a: View, b: View) -> Result<Array> {
    let op = "where";
    let scalar = scalar(op, a.dtype())?;
    let y = Array::new(op, a.gpu(), a.shape(), a.dtype())?;
    let (walk, [a, b, condition]) = walk_over(op, [a, b, condition])?;
    let inputs = [a.buffer(), b.buffer(), condition.buffer()];
    walk.launch(op, (op, scalar.code()), &inputs, y.storage(), || shaders::binary::where_(scalar))?;
    Ok(y)
}

/// `a += alpha·b`, of one shape and dtype.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn add_(a: ViewMut, b: View, alpha: f64) -> Result<()> {
    let op = "add_";
    let scalar = float(op, a.dtype())?;
    let (mut walk, [b]) = walk_over(op, [b])?;
    walk.a = alpha as f32;
    walk.launch(op, (op, scalar.code()), &[b.buffer()], a.storage(), || {
        shaders::binary::add_(scalar)
    })
}

/// `a *= factor`.
///
/// # Errors
/// If the dtype is neither f32 nor f16.
pub fn mul_scalar_(a: ViewMut, factor: f64) -> Result<()> {
    let op = "mul_scalar_";
    let scalar = float(op, a.dtype())?;
    let mut walk = Walk::new(&[&Layout::contiguous(&[a.numel()])]).expect("one dimension");
    walk.a = factor as f32;
    walk.launch(op, (op, scalar.code()), &[], a.storage(), || shaders::binary::mul_scalar_(scalar))
}
