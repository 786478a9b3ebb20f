//! Along the last dimension, for rows x of n elements:
//! softmax y = e^(x − m) / s, log-softmax y = (x − m) − ln s, with m = max x and s = Σ e^(x − m);
//! their derivatives dx = y·(g − Σ g·y) and dx = g − eʸ·Σg.
//!
//! Split: rows. A row is read two or three times, but from memory once: it stays in the cache.
//! Order of reduction: element i goes to lane i mod 16, the lanes join pairwise.
//! Numerics: the exponent is never positive, so nothing overflows and s ≥ 1. A row of −∞ alone
//! gives −∞ − (−∞) = NaN.

use gradus_base::{Result, dispatch_float};

use super::math::Float;
use super::parallel;
use super::simd;
use super::storage::Output;
use super::view::{Array, View};

/// Nanoseconds an element: one exponential and three passes in the cache.
const EXP: f64 = 0.7;
const CHEAP: f64 = 0.3;

/// The largest element; NaN if any is.
#[inline(always)]
pub(crate) fn row_max<T: Float>(x: &[T]) -> T {
    T::largest(x.iter().copied())
}

/// Σ e^(x − m).
#[inline(always)]
pub(crate) fn row_exp_sum<T: Float>(x: &[T], m: T) -> T {
    simd::map_reduce(
        x,
        T::ZERO,
        #[inline(always)]
        |x| (x - m).exp(),
        |a, b| a + b,
    )
}

/// y = e^(x − m); returns Σy.
#[inline(always)]
fn row_exp<T: Float>(x: &[T], m: T, y: &mut [T]) -> T {
    for i in 0..y.len() {
        y[i] = (x[i] - m).exp();
    }
    simd::sum(y)
}

/// `out[row] = body(row of a, row of b)` for contiguous inputs of one shape.
#[inline(always)]
fn rows<T: Float>(
    op: &'static str,
    a: View,
    b: View,
    ns: f64,
    body: impl Fn(&[T], &[T], &mut [T]) + Sync + Send,
) -> Result<Array> {
    let n = a.shape().last().copied().unwrap_or(1);
    let mut out = Output::<T>::new(op, a.shape())?;
    let (xs, ys) = (a.slice::<T>(), b.slice::<T>());
    parallel::rows(out.slice_mut(), n, parallel::rows_per_task(n), n as f64 * ns, |first, out| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || {
                for (row, out) in (first..).zip(out.chunks_exact_mut(n)) {
                    body(&xs[row * n..][..n], &ys[row * n..][..n], out);
                }
            },
        );
    });
    Ok(out.into_array(a.shape()))
}

/// Softmax of the rows of a contiguous tensor.
pub fn softmax(x: View) -> Result<Array> {
    dispatch_float!("softmax", x.dtype(), softmax_of::<T>(x))
}

fn softmax_of<T: Float>(x: View) -> Result<Array> {
    rows(
        "softmax",
        x,
        x,
        EXP,
        #[inline(always)]
        |x: &[T], _, y| {
            let sum = row_exp(x, row_max(x), y);
            let scale = T::ONE / sum;
            for y in y {
                *y *= scale;
            }
        },
    )
}

/// Log-softmax of the rows of a contiguous tensor.
pub fn log_softmax(x: View) -> Result<Array> {
    dispatch_float!("log_softmax", x.dtype(), log_softmax_of::<T>(x))
}

fn log_softmax_of<T: Float>(x: View) -> Result<Array> {
    rows(
        "log_softmax",
        x,
        x,
        EXP,
        #[inline(always)]
        |x: &[T], _, y| {
            let m = row_max(x);
            let log = row_exp_sum(x, m).ln();
            for i in 0..y.len() {
                y[i] = (x[i] - m) - log;
            }
        },
    )
}

/// dx = y·(g − Σ g·y) by rows, both contiguous.
pub fn softmax_backward(y: View, grad: View) -> Result<Array> {
    dispatch_float!("softmax_backward", y.dtype(), softmax_backward_of::<T>(y, grad))
}

fn softmax_backward_of<T: Float>(y: View, grad: View) -> Result<Array> {
    rows(
        "softmax_backward",
        y,
        grad,
        CHEAP,
        #[inline(always)]
        |y: &[T], g, dx| {
            let dot = simd::reduce2(g, y, T::ZERO, |a, g, y| a + g * y, |a, b| a + b);
            for i in 0..dx.len() {
                dx[i] = y[i] * (g[i] - dot);
            }
        },
    )
}

/// dx = g − eʸ·Σg by rows, both contiguous.
pub fn log_softmax_backward(y: View, grad: View) -> Result<Array> {
    dispatch_float!("log_softmax_backward", y.dtype(), log_softmax_backward_of::<T>(y, grad))
}

fn log_softmax_backward_of<T: Float>(y: View, grad: View) -> Result<Array> {
    rows(
        "log_softmax_backward",
        y,
        grad,
        EXP,
        #[inline(always)]
        |y: &[T], g, dx| {
            let sum = simd::sum(g);
            for i in 0..dx.len() {
                dx[i] = g[i] - y[i].exp() * sum;
            }
        },
    )
}
