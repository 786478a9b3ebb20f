//! `y[i] = f(x[i])`, and `dx[i] = g[i]·f'(x[i])` for the functions whose derivative is fused.
//!
//! One pass over memory; vectorised by [`super::simd`]. f32 accuracy: see `math.rs`.

use super::math::Float;
use super::strided::{map1, map2};
use crate::ops::unary::UnaryOp;
use crate::storage::Output;
use crate::{Result, Tensor, bail, dispatch_float};

/// Nanoseconds an element: memory-bound functions, polynomials, library calls.
const CHEAP: f64 = 0.15;
const POLY: f64 = 0.5;
const LIBRARY: f64 = 5.0;

/// √(2/π) and the cubic coefficient of GELU's tanh approximation.
const GELU_TANH: (f64, f64) = (0.797_884_560_802_865_4, 0.044715);

/// e^−|x| never overflows, so what is small keeps its digits.
#[inline(always)]
fn sigmoid<T: Float>(x: T) -> T {
    let e = Float::exp(-Float::abs(x));
    (if x < T::ZERO { e } else { T::ONE }) / (T::ONE + e)
}

#[inline(always)]
fn gelu_tanh<T: Float>(x: T) -> T {
    let u = T::c(GELU_TANH.0) * (x + T::c(GELU_TANH.1) * x * x * x);
    T::c(0.5) * x * (T::ONE + u.tanh())
}

#[inline(always)]
fn gelu_tanh_derivative<T: Float>(x: T) -> T {
    let t = (T::c(GELU_TANH.0) * (x + T::c(GELU_TANH.1) * x * x * x)).tanh();
    let du = T::c(GELU_TANH.0) * (T::ONE + T::c(3.0 * GELU_TANH.1) * x * x);
    // Far out t is ±1, and x² may be infinite; 0·x is 0, but NaN of an infinite x, as PyTorch's.
    let slope = if t * t == T::ONE { T::ZERO * x } else { (T::ONE - t * t) * (T::c(0.5) * x * du) };
    T::c(0.5) * (T::ONE + t) + slope
}

pub(crate) fn forward(x: &Tensor, op: UnaryOp) -> Result<Tensor> {
    dispatch_float!(op.name(), x.dtype(), T => {
        let mut out = Output::<T>::new(op.name(), x.shape())?;
        let (y, v) = (out.slice_mut(), x.cpu_view::<T>());
        match op {
            UnaryOp::Neg => map1::<false, _, _>(y, v, CHEAP, |x: T| -x),
            UnaryOp::Abs => map1::<false, _, _>(y, v, CHEAP, |x: T| Float::abs(x)),
            UnaryOp::Sign => map1::<false, _, _>(y, v, CHEAP, |x: T| {
                if x > T::ZERO { T::ONE } else if x < T::ZERO { -T::ONE } else { x * T::ZERO }
            }),
            UnaryOp::Exp => map1::<true, _, _>(y, v, POLY, #[inline(always)] |x: T| Float::exp(x)),
            UnaryOp::Log => map1::<false, _, _>(y, v, LIBRARY, |x: T| Float::ln(x)),
            UnaryOp::Log1p => map1::<false, _, _>(y, v, LIBRARY, |x: T| Float::ln_1p(x)),
            UnaryOp::Sqrt => map1::<false, _, _>(y, v, CHEAP, |x: T| Float::sqrt(x)),
            UnaryOp::Rsqrt => map1::<false, _, _>(y, v, CHEAP, |x: T| T::ONE / Float::sqrt(x)),
            UnaryOp::Reciprocal => map1::<false, _, _>(y, v, CHEAP, |x: T| T::ONE / x),
            UnaryOp::Square => map1::<false, _, _>(y, v, CHEAP, |x: T| x * x),
            UnaryOp::Sin => map1::<false, _, _>(y, v, LIBRARY, |x: T| Float::sin(x)),
            UnaryOp::Cos => map1::<false, _, _>(y, v, LIBRARY, |x: T| Float::cos(x)),
            UnaryOp::Tanh => map1::<true, _, _>(y, v, POLY, #[inline(always)] |x: T| Float::tanh(x)),
            UnaryOp::Sigmoid => map1::<true, _, _>(y, v, POLY, #[inline(always)] |x: T| sigmoid(x)),
            // max(x, 0) + ln(1 + e^-|x|): no overflow on either side.
            UnaryOp::Softplus => map1::<false, _, _>(y, v, LIBRARY, |x: T| {
                Float::max(x, T::ZERO) + Float::ln_1p(Float::exp(-Float::abs(x)))
            }),
            UnaryOp::Erf => map1::<false, _, _>(y, v, LIBRARY, |x: T| Float::erf(x)),
            UnaryOp::Gelu => map1::<true, _, _>(y, v, POLY, #[inline(always)] |x: T| gelu(x)),
            UnaryOp::GeluTanh => map1::<true, _, _>(y, v, POLY, #[inline(always)] |x: T| gelu_tanh(x)),
            UnaryOp::Relu => map1::<false, _, _>(y, v, CHEAP, |x: T| Float::max(x, T::ZERO)),
            UnaryOp::Silu => map1::<true, _, _>(y, v, POLY, #[inline(always)] |x: T| x * sigmoid(x)),
            UnaryOp::Floor => map1::<false, _, _>(y, v, CHEAP, |x: T| Float::floor(x)),
            UnaryOp::Ceil => map1::<false, _, _>(y, v, CHEAP, |x: T| Float::ceil(x)),
            UnaryOp::Round => map1::<false, _, _>(y, v, CHEAP, |x: T| Float::round_ties_even(x)),
            UnaryOp::Affine { mul, add } => {
                let (m, a) = (T::c(mul), T::c(add));
                map1::<false, _, _>(y, v, CHEAP, move |x: T| x * m + a)
            }
            UnaryOp::Powf(e) => {
                let e = T::c(e);
                map1::<false, _, _>(y, v, LIBRARY, move |x: T| Float::powf(x, e))
            }
            UnaryOp::Clamp { min, max } => {
                let (lo, hi) = (T::c(min), T::c(max));
                map1::<false, _, _>(y, v, CHEAP, move |x: T| {
                    let x = if x < lo { lo } else { x };
                    if x > hi { hi } else { x }
                })
            }
        }
        Ok(out.into_tensor(x.shape()))
    })
}

/// x·Φ(x). −∞·Φ(−∞) would be NaN; every x below −40 gives 0 anyway.
#[inline(always)]
pub(crate) fn gelu<T: Float>(x: T) -> T {
    if x < T::c(-40.0) { T::ZERO } else { x * x.normal().0 }
}

pub(crate) fn backward(x: &Tensor, op: UnaryOp, grad: &Tensor) -> Result<Tensor> {
    dispatch_float!(op.name(), x.dtype(), T => {
        let mut out = Output::<T>::new(op.name(), x.shape())?;
        let (dx, v, g) = (out.slice_mut(), x.cpu_view::<T>(), grad.cpu_view::<T>());
        match op {
            UnaryOp::Gelu => map2::<true, _, _, _>(dx, v, g, POLY, #[inline(always)] |x: T, g: T| {
                let (cdf, pdf) = x.normal();
                g * (cdf + x * pdf)
            }),
            UnaryOp::GeluTanh => map2::<true, _, _, _>(dx, v, g, POLY, #[inline(always)] |x: T, g: T| g * gelu_tanh_derivative(x)),
            UnaryOp::Silu => map2::<true, _, _, _>(dx, v, g, POLY, #[inline(always)] |x: T, g: T| {
                let s = sigmoid(x);
                g * (s + x * s * (T::ONE - s))
            }),
            UnaryOp::Sigmoid => map2::<true, _, _, _>(dx, v, g, POLY, #[inline(always)] |x: T, g: T| {
                let s = sigmoid(x);
                g * s * (T::ONE - s)
            }),
            UnaryOp::Tanh => map2::<true, _, _, _>(dx, v, g, POLY, #[inline(always)] |x: T, g: T| {
                let t = Float::tanh(x);
                g * (T::ONE - t * t)
            }),
            other => bail!(other.name(), "has no fused derivative; compose it"),
        }
        Ok(out.into_tensor(x.shape()))
    })
}

pub(crate) fn is_not_finite(x: &Tensor) -> Result<Tensor> {
    dispatch_float!("is_not_finite", x.dtype(), T => {
        let mut out = Output::<u8>::new("is_not_finite", x.shape())?;
        map1::<false, _, _>(out.slice_mut(), x.cpu_view::<T>(), CHEAP, |x: T| !x.is_finite() as u8);
        Ok(out.into_tensor(x.shape()))
    })
}
