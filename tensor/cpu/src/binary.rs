//! `y[i] = f(a[i], b[i])` over broadcast views; one pass over memory, vectorised.

use gradus_base::op::binary::{BinaryOp, CompareOp};
use gradus_base::{DType, Element, Result, bail, dispatch_any, dispatch_float, dispatch_number};

use super::math::Float;
use super::parallel;
use super::simd;
use super::storage::Output;
use super::strided::{map2, map3};
use super::view::{Array, View, ViewMut};

const CHEAP: f64 = 0.15;
const LIBRARY: f64 = 10.0;

/// `f(a, b)`, f being `op`; both of one shape and dtype.
pub fn binary(op: BinaryOp, a: View, b: View) -> Result<Array> {
    match a.dtype() {
        DType::U32 => integer::<u32>(op, a, b),
        DType::U8 => integer::<u8>(op, a, b),
        _ => dispatch_float!(op.name(), a.dtype(), float::<T>(op, a, b)),
    }
}

fn float<T: Float>(op: BinaryOp, a: View, b: View) -> Result<Array> {
    let mut out = Output::<T>::new(op.name(), a.shape())?;
    let (y, u, v) = (out.slice_mut(), a.typed::<T>(), b.typed::<T>());
    match op {
        BinaryOp::Add => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a + b),
        BinaryOp::Sub => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a - b),
        BinaryOp::Mul => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a * b),
        BinaryOp::Div => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| a / b),
        BinaryOp::Pow => map2::<false, _, _, _>(y, u, v, LIBRARY, |a, b| a.powf(b)),
        BinaryOp::Maximum => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| Float::max(a, b)),
        BinaryOp::Minimum => map2::<false, _, _, _>(y, u, v, CHEAP, |a, b| Float::min(a, b)),
    }
    Ok(out.into_array(a.shape()))
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

fn integer<T: Integer>(op: BinaryOp, a: View, b: View) -> Result<Array> {
    let mut out = Output::<T>::new(op.name(), a.shape())?;
    let (y, u, v) = (out.slice_mut(), a.typed::<T>(), b.typed::<T>());
    match op {
        BinaryOp::Add => map2::<false, _, _, _>(y, u, v, CHEAP, T::add),
        BinaryOp::Sub => map2::<false, _, _, _>(y, u, v, CHEAP, T::sub),
        BinaryOp::Mul => map2::<false, _, _, _>(y, u, v, CHEAP, T::mul),
        BinaryOp::Div => map2::<false, _, _, _>(y, u, v, CHEAP, T::div),
        BinaryOp::Maximum => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| Ord::max(a, b)),
        BinaryOp::Minimum => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| Ord::min(a, b)),
        BinaryOp::Pow => bail!("pow", "is for floats, got {}; convert with to_dtype", a.dtype()),
    }
    Ok(out.into_array(a.shape()))
}

/// 1 where the comparison is true, else 0 (u8); both of one shape and dtype.
pub fn compare(op: CompareOp, a: View, b: View) -> Result<Array> {
    dispatch_number!(op.name(), a.dtype(), compare_of::<T>(op, a, b))
}

fn compare_of<T: Element>(op: CompareOp, a: View, b: View) -> Result<Array> {
    let mut out = Output::<u8>::new(op.name(), a.shape())?;
    let (y, u, v) = (out.slice_mut(), a.typed::<T>(), b.typed::<T>());
    match op {
        CompareOp::Eq => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a == b) as u8),
        CompareOp::Ne => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a != b) as u8),
        CompareOp::Lt => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a < b) as u8),
        CompareOp::Le => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a <= b) as u8),
        CompareOp::Gt => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a > b) as u8),
        CompareOp::Ge => map2::<false, _, _, _>(y, u, v, CHEAP, |a: T, b: T| (a >= b) as u8),
    }
    Ok(out.into_array(a.shape()))
}

/// `a` where the condition (u8) is not 0, else `b`; all of one shape.
pub fn where_(condition: View, a: View, b: View) -> Result<Array> {
    dispatch_any!(a.dtype(), where_of::<T>(condition, a, b))
}

fn where_of<T: Element>(condition: View, a: View, b: View) -> Result<Array> {
    let mut out = Output::<T>::new("where", a.shape())?;
    let (c, u, v) = (condition.typed::<u8>(), a.typed::<T>(), b.typed::<T>());
    map3(out.slice_mut(), c, u, v, CHEAP, |c: u8, a: T, b: T| if c != 0 { a } else { b });
    Ok(out.into_array(a.shape()))
}

/// Elements of one task of an operation in place.
const CHUNK: usize = 16 * 1024;

/// `a += alpha·b`; both of one shape and dtype.
pub fn add_(a: ViewMut, b: View, alpha: f64) -> Result<()> {
    let b = b.contiguous()?;
    let b = b.view();
    match a.dtype() {
        DType::F16 => add_half_of::<half::f16>(a, b, alpha),
        DType::BF16 => add_half_of::<half::bf16>(a, b, alpha),
        _ => dispatch_float!("add_", a.dtype(), add_of::<T>(a, b, alpha)),
    }
}

fn add_of<T: Float>(a: ViewMut, b: View, alpha: f64) -> Result<()> {
    let (alpha, y) = (T::c(alpha), b.slice::<T>());
    parallel::rows_ragged(a.into_slice::<T>(), CHUNK, CHEAP, |first, x| {
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
fn add_half_of<T: Element>(a: ViewMut, b: View, alpha: f64) -> Result<()> {
    let y = b.slice::<T>();
    parallel::rows_ragged(a.into_slice::<T>(), CHUNK, LIBRARY, |first, x| {
        for (x, y) in x.iter_mut().zip(&y[first..]) {
            *x = T::from_f64(x.to_f64() + alpha * y.to_f64());
        }
    });
    Ok(())
}

/// `a *= factor`.
pub fn mul_scalar_(a: ViewMut, factor: f64) -> Result<()> {
    match a.dtype() {
        DType::F16 => mul_half_of::<half::f16>(a, factor),
        DType::BF16 => mul_half_of::<half::bf16>(a, factor),
        _ => dispatch_float!("mul_scalar_", a.dtype(), mul_of::<T>(a, factor)),
    }
}

fn mul_of<T: Float>(a: ViewMut, factor: f64) -> Result<()> {
    let factor = T::c(factor);
    parallel::rows_ragged(a.into_slice::<T>(), CHUNK, CHEAP, |_, x| {
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x *= factor),
        );
    });
    Ok(())
}

/// [`mul_scalar_`] of 16 bits: the product in f64, rounded once.
fn mul_half_of<T: Element>(a: ViewMut, factor: f64) -> Result<()> {
    parallel::rows_ragged(a.into_slice::<T>(), CHUNK, LIBRARY, |_, x| {
        x.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() * factor));
    });
    Ok(())
}
