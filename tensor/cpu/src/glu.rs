//! Gated linear units of rows (a, b): `y = f(a)·b`, or `y = a·f(b)`; and backward, with the half z
//! that f is applied to and the other half u: `dz = g·u·f'(z)`, `du = g·f(z)`.
//!
//! Shapes: x and dx `[…, 2·m]`, y and g `[…, m]`.
//! Split: rows. One pass; f is that of `unary.rs`.

use gradus_base::op::glu::{Gate, Glu};
use gradus_base::{Result, dispatch_float};

use super::math::Float;
use super::parallel;
use super::simd;
use super::storage::Output;
use super::unary;
use super::view::{Array, View};

/// Nanoseconds an element of y.
const FORWARD: f64 = 0.6;
const BACKWARD: f64 = 1.2;

/// The function of a gate, in a type of its own, so that the loops are compiled for each.
trait Function {
    fn value<T: Float>(x: T) -> T;
    /// `g·f'(x)`.
    fn gradient<T: Float>(x: T, g: T) -> T;
}

struct Sigmoid;
impl Function for Sigmoid {
    #[inline(always)]
    fn value<T: Float>(x: T) -> T {
        unary::sigmoid(x)
    }
    #[inline(always)]
    fn gradient<T: Float>(x: T, g: T) -> T {
        let s = unary::sigmoid(x);
        g * s * (T::ONE - s)
    }
}

struct Gelu;
impl Function for Gelu {
    #[inline(always)]
    fn value<T: Float>(x: T) -> T {
        unary::gelu(x)
    }
    #[inline(always)]
    fn gradient<T: Float>(x: T, g: T) -> T {
        g * unary::gelu_derivative(x)
    }
}

struct GeluTanh;
impl Function for GeluTanh {
    #[inline(always)]
    fn value<T: Float>(x: T) -> T {
        unary::gelu_tanh(x)
    }
    #[inline(always)]
    fn gradient<T: Float>(x: T, g: T) -> T {
        g * unary::gelu_tanh_derivative(x)
    }
}

struct Silu;
impl Function for Silu {
    #[inline(always)]
    fn value<T: Float>(x: T) -> T {
        x * unary::sigmoid(x)
    }
    #[inline(always)]
    fn gradient<T: Float>(x: T, g: T) -> T {
        g * unary::silu_derivative(x)
    }
}

struct Relu;
impl Function for Relu {
    #[inline(always)]
    fn value<T: Float>(x: T) -> T {
        x.max(T::ZERO)
    }
    #[inline(always)]
    fn gradient<T: Float>(x: T, g: T) -> T {
        // No slope at 0, and that of the inside at NaN, as PyTorch's.
        if x <= T::ZERO { T::ZERO } else { g }
    }
}

/// `x` is contiguous, its last dimension 2·m.
pub fn glu(x: View, options: Glu) -> Result<Array> {
    dispatch_float!("glu", x.dtype(), glu_of::<T>(x, options))
}

fn glu_of<T: Float>(x: View, options: Glu) -> Result<Array> {
    match options.gate {
        Gate::Sigmoid => forward::<T, Sigmoid>(x, options.gate_first),
        Gate::Gelu => forward::<T, Gelu>(x, options.gate_first),
        Gate::GeluTanh => forward::<T, GeluTanh>(x, options.gate_first),
        Gate::Silu => forward::<T, Silu>(x, options.gate_first),
        Gate::Relu => forward::<T, Relu>(x, options.gate_first),
    }
}

/// The gate's half of a row, and the other one.
#[inline(always)]
fn halves<T>(row: &[T], gate_first: bool) -> (&[T], &[T]) {
    let (a, b) = row.split_at(row.len() / 2);
    if gate_first { (a, b) } else { (b, a) }
}

fn forward<T: Float, F: Function>(x: View, gate_first: bool) -> Result<Array> {
    let mut shape = x.shape().to_vec();
    let last = shape.len() - 1;
    shape[last] /= 2;
    let m = shape[last];
    let mut out = Output::<T>::new("glu", &shape)?;
    let x = x.slice::<T>();
    let per_task = parallel::rows_per_task(m);
    parallel::rows(out.slice_mut(), m, per_task, FORWARD * m as f64, |first, y| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || {
                for (i, y) in y.chunks_exact_mut(m).enumerate() {
                    let (z, u) = halves(&x[(first + i) * 2 * m..][..2 * m], gate_first);
                    for j in 0..m {
                        y[j] = F::value(z[j]) * u[j];
                    }
                }
            },
        );
    });
    Ok(out.into_array(&shape))
}

/// The gradient of `x`; both are contiguous.
pub fn glu_backward(x: View, grad: View, options: Glu) -> Result<Array> {
    dispatch_float!("glu_backward", x.dtype(), glu_backward_of::<T>(x, grad, options))
}

fn glu_backward_of<T: Float>(x: View, grad: View, options: Glu) -> Result<Array> {
    match options.gate {
        Gate::Sigmoid => backward::<T, Sigmoid>(x, grad, options.gate_first),
        Gate::Gelu => backward::<T, Gelu>(x, grad, options.gate_first),
        Gate::GeluTanh => backward::<T, GeluTanh>(x, grad, options.gate_first),
        Gate::Silu => backward::<T, Silu>(x, grad, options.gate_first),
        Gate::Relu => backward::<T, Relu>(x, grad, options.gate_first),
    }
}

fn backward<T: Float, F: Function>(x: View, grad: View, gate_first: bool) -> Result<Array> {
    let n = x.shape()[x.shape().len() - 1];
    let m = n / 2;
    let mut out = Output::<T>::new("glu_backward", x.shape())?;
    let (xs, grads) = (x.slice::<T>(), grad.slice::<T>());
    let per_task = parallel::rows_per_task(n);
    parallel::rows(out.slice_mut(), n, per_task, BACKWARD * m as f64, |first, dx| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(n).enumerate() {
                    let (z, u) = halves(&xs[(first + i) * n..][..n], gate_first);
                    let g = &grads[(first + i) * m..][..m];
                    let (a, b) = dx.split_at_mut(m);
                    let (dz, du) = if gate_first { (a, b) } else { (b, a) };
                    for j in 0..m {
                        dz[j] = F::gradient(z[j], g[j] * u[j]);
                        du[j] = g[j] * F::value(z[j]);
                    }
                }
            },
        );
    });
    Ok(out.into_array(x.shape()))
}
