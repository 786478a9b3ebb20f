//! `y[i] = f(a[i], b[i])` over broadcast views; one pass over memory, vectorised.

use super::math::Float;
use super::parallel;
use super::simd;
use super::strided::{map2, map3};
use crate::dtype::{dispatch_any, dispatch_float, dispatch_number};
use crate::op::binary::{BinaryOp, CompareOp};
use crate::storage::Output;
use crate::{DType, Element, Result, Tensor, bail};

const CHEAP: f64 = 0.15;
const LIBRARY: f64 = 10.0;

pub(crate) fn binary(op: BinaryOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match a.dtype() {
        DType::U32 => integer::<u32>(op, a, b),
        DType::U8 => integer::<u8>(op, a, b),
        _ => dispatch_float!(op.name(), a.dtype(), float::<T>(op, a, b)),
    }
}

fn float<T: Float>(op: BinaryOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut out = Output::<T>::new(op.name(), a.shape())?;
    let (y, u, v) = (out.slice_mut(), a.cpu_view::<T>(), b.cpu_view::<T>());
    match op {
        BinaryOp::Add => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a + b),
        BinaryOp::Sub => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a - b),
        BinaryOp::Mul => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a * b),
        BinaryOp::Div => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a / b),
        BinaryOp::Pow => map2::<false, _, _, _>(y, u, v, LIBRARY, |a, b| a.powf(b)),
        BinaryOp::Maximum => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| Float::max(a, b)),
        BinaryOp::Minimum => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| Float::min(a, b)),
    }
    Ok(out.into_tensor(a.shape()))
}

/// The wrapping arithmetic of the integer dtypes.
trait Integer: Element + Ord {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
}
macro_rules! integer {
    ($($t:ty)*) => {$(impl Integer for $t {
        fn add(self, other: Self) -> Self { self.wrapping_add(other) }
        fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
        fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
        fn div(self, other: Self) -> Self { self.checked_div(other).unwrap_or(0) }
    })*};
}
integer!(u32 u8);

fn integer<T: Integer>(op: BinaryOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut out = Output::<T>::new(op.name(), a.shape())?;
    let (y, u, v) = (out.slice_mut(), a.cpu_view::<T>(), b.cpu_view::<T>());
    match op {
        BinaryOp::Add => map2::<false, _, _, _>(y, u, v, CHEAP, T::add),
        BinaryOp::Sub => map2::<false, _, _, _>(y, u, v, CHEAP, T::sub),
        BinaryOp::Mul => map2::<false, _, _, _>(y, u, v, CHEAP, T::mul),
        BinaryOp::Div => map2::<false, _, _, _>(y, u, v, CHEAP, T::div),
        BinaryOp::Maximum => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| Ord::max(a, b)),
        BinaryOp::Minimum => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| Ord::min(a, b)),
        BinaryOp::Pow => bail!("pow", "is for floats, got {}; convert with to_dtype", a.dtype()),
    }
    Ok(out.into_tensor(a.shape()))
}

pub(crate) fn compare(op: CompareOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    dispatch_number!(op.name(), a.dtype(), compare_of::<T>(op, a, b))
}

fn compare_of<T: Element>(op: CompareOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut out = Output::<u8>::new(op.name(), a.shape())?;
    let (y, u, v) = (out.slice_mut(), a.cpu_view::<T>(), b.cpu_view::<T>());
    match op {
        CompareOp::Eq => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a == b) as u8),
        CompareOp::Ne => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a != b) as u8),
        CompareOp::Lt => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a < b) as u8),
        CompareOp::Le => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a <= b) as u8),
        CompareOp::Gt => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a > b) as u8),
        CompareOp::Ge => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a >= b) as u8),
    }
    Ok(out.into_tensor(a.shape()))
}

pub(crate) fn where_(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    dispatch_any!(a.dtype(), where_of::<T>(condition, a, b))
}

fn where_of<T: Element>(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut out = Output::<T>::new("where", a.shape())?;
    let (c, u, v) = (condition.cpu_view::<u8>(), a.cpu_view::<T>(), b.cpu_view::<T>());
    map3(out.slice_mut(), c, u, v, CHEAP, |c: u8, a: T, b: T| if c != 0 { a } else { b });
    Ok(out.into_tensor(a.shape()))
}

/// Elements of one task of an operation in place.
const CHUNK: usize = 16 * 1024;

pub(crate) fn add_(a: &mut Tensor, b: &Tensor, alpha: f64) -> Result<()> {
    let b = b.contiguous()?;
    match a.dtype() {
        DType::F16 => add_half_of::<half::f16>(a, &b, alpha),
        DType::BF16 => add_half_of::<half::bf16>(a, &b, alpha),
        _ => dispatch_float!("add_", a.dtype(), add_of::<T>(a, &b, alpha)),
    }
}

fn add_of<T: Float>(a: &mut Tensor, b: &Tensor, alpha: f64) -> Result<()> {
    let (alpha, y) = (T::c(alpha), b.cpu_slice::<T>());
    parallel::rows_ragged(a.cpu_slice_mut::<T>("add_")?, CHUNK, CHEAP, |first, x| {
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || {
                let y = &y[first..first + x.len()];
                for i in 0..x.len() {
                    x[i] += alpha * y[i];
                }
            },
        );
    });
    Ok(())
}

/// [`add_`] of 16 bits: the sum in f64, rounded once. Gradients of leaves in 16 bits are added so.
fn add_half_of<T: Element>(a: &mut Tensor, b: &Tensor, alpha: f64) -> Result<()> {
    let y = b.cpu_slice::<T>();
    parallel::rows_ragged(a.cpu_slice_mut::<T>("add_")?, CHUNK, LIBRARY, |first, x| {
        for (x, y) in x.iter_mut().zip(&y[first..]) {
            *x = T::from_f64(x.to_f64() + alpha * y.to_f64());
        }
    });
    Ok(())
}

pub(crate) fn mul_scalar_(a: &mut Tensor, factor: f64) -> Result<()> {
    match a.dtype() {
        DType::F16 => mul_half_of::<half::f16>(a, factor),
        DType::BF16 => mul_half_of::<half::bf16>(a, factor),
        _ => dispatch_float!("mul_scalar_", a.dtype(), mul_of::<T>(a, factor)),
    }
}

fn mul_of<T: Float>(a: &mut Tensor, factor: f64) -> Result<()> {
    let factor = T::c(factor);
    parallel::rows_ragged(a.cpu_slice_mut::<T>("mul_scalar_")?, CHUNK, CHEAP, |_, x| {
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x *= factor),
        );
    });
    Ok(())
}

/// [`mul_scalar_`] of 16 bits: the product in f64, rounded once.
fn mul_half_of<T: Element>(a: &mut Tensor, factor: f64) -> Result<()> {
    parallel::rows_ragged(a.cpu_slice_mut::<T>("mul_scalar_")?, CHUNK, LIBRARY, |_, x| {
        x.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() * factor));
    });
    Ok(())
}
