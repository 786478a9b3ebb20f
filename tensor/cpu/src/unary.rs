//! `y[i] = f(x[i])`, and `dx[i] = g[i]·f'(x[i])` for the functions whose derivative is fused.
//!
//! One pass over memory; [`super::simd`] vectorises it. f32 accuracy: see `math.rs`.

use gradus_base::op::unary::UnaryOp;
use gradus_base::{Result, bail, dispatch_float};

use super::math::{Float, NORMAL_END, at_most};
use super::storage::Output;
use super::strided::{TypedView, map1, map2};
use super::view::{Array, View};

/// Nanoseconds an element: memory-bound functions, polynomials, library calls.
const CHEAP: f64 = 0.15;
const POLY: f64 = 0.5;
const LIBRARY: f64 = 5.0;

/// √(2/π) and the cubic coefficient of GELU's tanh approximation.
const GELU_TANH: (f64, f64) = (0.797_884_560_802_865_4, 0.044715);

/// e^−|x| never overflows, so what is small keeps its digits.
#[inline(always)]
pub(crate) fn sigmoid<T: Float>(x: T) -> T {
    let e = Float::exp(-Float::abs(x));
    (if x < T::ZERO { e } else { T::ONE }) / (T::ONE + e)
}

#[inline(always)]
pub(crate) fn gelu_tanh<T: Float>(x: T) -> T {
    let u = T::c(GELU_TANH.0) * (x + T::c(GELU_TANH.1) * x * x * x);
    T::c(0.5) * x * (T::ONE + u.tanh())
}

#[inline(always)]
pub(crate) fn gelu_tanh_derivative<T: Float>(x: T) -> T {
    let t = (T::c(GELU_TANH.0) * (x + T::c(GELU_TANH.1) * x * x * x)).tanh();
    let du = T::c(GELU_TANH.0) * (T::ONE + T::c(3.0 * GELU_TANH.1) * x * x);
    // Far out t is ±1, and x² may be infinite; 0·x is 0, but NaN of an infinite x, as PyTorch's.
    let slope = if t * t == T::ONE { T::ZERO * x } else { (T::ONE - t * t) * (T::c(0.5) * x * du) };
    T::c(0.5) * (T::ONE + t) + slope
}

#[inline(always)]
fn sign<T: Float>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        x * T::ZERO
    }
}

/// max(x, 0) + ln(1 + e^−|x|): no overflow on either side.
#[inline(always)]
fn softplus<T: Float>(x: T) -> T {
    x.max(T::ZERO) + (-x.abs()).exp().ln_1p()
}

#[inline(always)]
fn clamp<T: Float>(x: T, min: T, max: T) -> T {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// x·Φ(x) = max(x, 0) − |x|·Φ(−|x|). What is subtracted is 0 from 40 on, at ∞ too.
#[inline(always)]
pub(crate) fn gelu<T: Float>(x: T) -> T {
    let size = at_most(x.abs(), T::c(NORMAL_END));
    let positive = if x > T::ZERO { x } else { T::ZERO };
    (-size).mul_add(size.normal_tail().0, positive)
}

#[inline(always)]
pub(crate) fn gelu_derivative<T: Float>(x: T) -> T {
    let (cdf, pdf) = x.normal();
    cdf + x * pdf
}

#[inline(always)]
pub(crate) fn silu_derivative<T: Float>(x: T) -> T {
    let s = sigmoid(x);
    s + x * s * (T::ONE - s)
}

/// `f(x)`, f being `op`.
pub fn forward(x: View, op: UnaryOp) -> Result<Array> {
    dispatch_float!(op.name(), x.dtype(), forward_of::<T>(x, op))
}

/// The table of functions; long because it has a line or a closure for each.
fn forward_of<T: Float>(x: View, op: UnaryOp) -> Result<Array> {
    let mut out = Output::<T>::new(op.name(), x.shape())?;
    let (y, v) = (out.slice_mut(), x.typed::<T>());
    match op {
        UnaryOp::Neg => cheap(y, v, |x| -x),
        UnaryOp::Abs => cheap(y, v, |x| x.abs()),
        UnaryOp::Sign => cheap(y, v, |x| sign(x)),
        UnaryOp::Exp => polynomial(
            y,
            v,
            #[inline(always)]
            |x| x.exp(),
        ),
        UnaryOp::Log => library(y, v, |x| x.ln()),
        UnaryOp::Log1p => library(y, v, |x| x.ln_1p()),
        UnaryOp::Sqrt => cheap(y, v, |x| x.sqrt()),
        UnaryOp::Rsqrt => cheap(y, v, |x| T::ONE / x.sqrt()),
        UnaryOp::Reciprocal => cheap(y, v, |x| T::ONE / x),
        UnaryOp::Square => cheap(y, v, |x| x * x),
        UnaryOp::Sin => library(y, v, |x| x.sin()),
        UnaryOp::Cos => library(y, v, |x| x.cos()),
        UnaryOp::Tanh => polynomial(
            y,
            v,
            #[inline(always)]
            |x| x.tanh(),
        ),
        UnaryOp::Sigmoid => polynomial(
            y,
            v,
            #[inline(always)]
            |x| sigmoid(x),
        ),
        UnaryOp::Softplus => library(y, v, |x| softplus(x)),
        UnaryOp::Erf => library(y, v, |x| x.erf()),
        UnaryOp::Gelu => polynomial(
            y,
            v,
            #[inline(always)]
            |x| gelu(x),
        ),
        UnaryOp::GeluTanh => polynomial(
            y,
            v,
            #[inline(always)]
            |x| gelu_tanh(x),
        ),
        UnaryOp::Relu => cheap(y, v, |x| x.max(T::ZERO)),
        UnaryOp::Silu => polynomial(
            y,
            v,
            #[inline(always)]
            |x| x * sigmoid(x),
        ),
        UnaryOp::Floor => cheap(y, v, |x| x.floor()),
        UnaryOp::Ceil => cheap(y, v, |x| x.ceil()),
        UnaryOp::Round => cheap(y, v, |x| x.round_ties_even()),
        UnaryOp::Affine { mul, add } => {
            let (mul, add) = (T::c(mul), T::c(add));
            cheap(y, v, |x| x * mul + add)
        }
        UnaryOp::Powf(e) => {
            let e = T::c(e);
            library(y, v, |x| x.powf(e))
        }
        UnaryOp::Clamp { min, max } => {
            let (min, max) = (T::c(min), T::c(max));
            cheap(y, v, |x| clamp(x, min, max))
        }
    }
    Ok(out.into_array(x.shape()))
}

/// `y[i] = f(x[i])` for a function of a few operations.
#[inline(always)]
fn cheap<T: Float>(y: &mut [T], x: TypedView<T>, f: impl Fn(T) -> T + Copy + Sync + Send) {
    map1::<false, _, _>(y, x, CHEAP, f);
}

/// `y[i] = f(x[i])` for a polynomial, compiled for the widest registers too. Mark `f`
/// `#[inline(always)]`: see [`simd::dispatch`](super::simd::dispatch).
#[inline(always)]
fn polynomial<T: Float>(y: &mut [T], x: TypedView<T>, f: impl Fn(T) -> T + Copy + Sync + Send) {
    map1::<true, _, _>(y, x, POLY, f);
}

/// `y[i] = f(x[i])` for a function that calls a library.
#[inline(always)]
fn library<T: Float>(y: &mut [T], x: TypedView<T>, f: impl Fn(T) -> T + Copy + Sync + Send) {
    map1::<false, _, _>(y, x, LIBRARY, f);
}

/// `grad·f'(x)`, for an `op` with a fused derivative; both of one shape.
pub fn backward(x: View, op: UnaryOp, grad: View) -> Result<Array> {
    dispatch_float!(op.name(), x.dtype(), backward_of::<T>(x, op, grad))
}

fn backward_of<T: Float>(x: View, op: UnaryOp, grad: View) -> Result<Array> {
    let mut out = Output::<T>::new(op.name(), x.shape())?;
    let (dx, v, g) = (out.slice_mut(), x.typed::<T>(), grad.typed::<T>());
    match op {
        UnaryOp::Gelu => derivative(
            dx,
            v,
            g,
            #[inline(always)]
            |x, g| g * gelu_derivative(x),
        ),
        UnaryOp::GeluTanh => derivative(
            dx,
            v,
            g,
            #[inline(always)]
            |x, g| g * gelu_tanh_derivative(x),
        ),
        UnaryOp::Silu => derivative(
            dx,
            v,
            g,
            #[inline(always)]
            |x, g| g * silu_derivative(x),
        ),
        UnaryOp::Sigmoid => derivative(
            dx,
            v,
            g,
            #[inline(always)]
            |x, g| {
                let s = sigmoid(x);
                g * s * (T::ONE - s)
            },
        ),
        UnaryOp::Tanh => derivative(
            dx,
            v,
            g,
            #[inline(always)]
            |x, g| {
                let t = x.tanh();
                g * (T::ONE - t * t)
            },
        ),
        other => bail!(other.name(), "has no fused derivative; compose it"),
    }
    Ok(out.into_array(x.shape()))
}

/// `dx[i] = f(x[i], g[i])`, compiled for the widest registers too. Mark `f` `#[inline(always)]`.
#[inline(always)]
fn derivative<T: Float>(
    dx: &mut [T],
    x: TypedView<T>,
    g: TypedView<T>,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) {
    map2::<true, _, _, _>(dx, x, g, POLY, f);
}

/// 1 where the element is NaN or infinite, else 0 (u8).
pub fn is_not_finite(x: View) -> Result<Array> {
    dispatch_float!("is_not_finite", x.dtype(), is_not_finite_of::<T>(x))
}

fn is_not_finite_of<T: Float>(x: View) -> Result<Array> {
    let mut out = Output::<u8>::new("is_not_finite", x.shape())?;
    map1::<false, _, _>(out.slice_mut(), x.typed::<T>(), CHEAP, |x: T| !x.is_finite() as u8);
    Ok(out.into_array(x.shape()))
}
