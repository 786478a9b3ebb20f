//! Optimiser steps: element by element, `(p, m, v) ← f(p, m, v, g)`; and `√Σg²` over many tensors.
//!
//! Shapes: all tensors of a step have the parameter's. A task takes [`CHUNK`] elements. A step
//! reads and writes everything once (AdamW: 28 bytes an element in f32), so memory decides its
//! speed.
//! Order of reduction: a step has none; the norm adds 16 lanes within a chunk, joined pairwise,
//! then chunk after chunk, tensor after tensor.
//! Numerics: factors are computed in f64 and rounded once; no fused multiply-add.

use gradus_base::op::optim::{AdamWStep, SgdStep};
use gradus_base::{DType, Result, dispatch_float};

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd;
use super::view::{Array, View, ViewMut};

/// Elements of a task.
const CHUNK: usize = 16 * 1024;
/// Nanoseconds an element.
const ADAMW: f64 = 0.6;
const SGD: f64 = 0.3;
const NORM: f64 = 0.15;

/// What `scale` tells a step where the kernel runs: the factor of the gradient, and the number of
/// the step without those skipped before. `None` if this one is skipped.
fn verdict(op: &'static str, scale: Option<View>, step: u64) -> Result<Option<(f64, u64)>> {
    let scale = scale.map(|scale| scale.to_f64_vec(op)).transpose()?;
    Ok(match scale.as_deref() {
        None => Some((1.0, step)),
        Some([factor]) => Some((*factor, step)),
        Some([factor, skip, before, ..]) => {
            (*skip == 0.0).then_some((*factor, step.saturating_sub(*before as u64).max(1)))
        }
        Some(_) => None,
    })
}

/// A step of `N` states: calls `update(p, g, states)` for each chunk of the parameter, of its
/// gradient and of the states. Time: `ns` nanoseconds an element.
fn step<T: Float, const N: usize>(
    p: ViewMut,
    grad: View,
    states: [ViewMut; N],
    ns: f64,
    update: impl Fn(&mut [T], &[T], [&mut [T]; N]) + Sync + Send,
) -> Result<()> {
    let g = grad.slice::<T>();
    let mut shared = Vec::with_capacity(N);
    for state in states {
        shared.push(SharedMut::new(state.into_slice::<T>()));
    }
    parallel::rows_ragged(p.into_slice::<T>(), CHUNK, ns, |first, p| {
        let range = first..first + p.len();
        // SAFETY: the ranges of different tasks do not overlap.
        let states = std::array::from_fn(|i| unsafe { shared[i].slice(range.clone()) });
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || update(p, &g[range.clone()], states),
        );
    });
    Ok(())
}

/// A step of Adam or AdamW: parameter, gradient, first and second moment of one shape and dtype.
pub fn adamw_(
    p: ViewMut,
    grad: View,
    m: ViewMut,
    v: ViewMut,
    h: &AdamWStep,
    scale: Option<View>,
) -> Result<()> {
    let Some((factor, step)) = verdict("adamw_", scale, h.step)? else { return Ok(()) };
    let h = AdamWStep { step, ..*h };
    dispatch_float!("adamw_", p.dtype(), adamw_of::<T>(p, grad, [m, v], h, factor))
}

fn adamw_of<T: Float>(
    p: ViewMut,
    grad: View,
    moments: [ViewMut; 2],
    h: AdamWStep,
    factor: f64,
) -> Result<()> {
    let correction1 = 1.0 - h.beta1.powf(h.step as f64);
    let correction2 = (1.0 - h.beta2.powf(h.step as f64)).sqrt();
    let (keep, l2) = match h.decoupled {
        true => (1.0 - h.lr * h.weight_decay, 0.0),
        false => (1.0, h.weight_decay),
    };
    let scale = T::c(factor);
    let (keep, l2) = (T::c(keep), T::c(l2));
    let (in1, decay2, in2) = (T::c(1.0 - h.beta1), T::c(h.beta2), T::c(1.0 - h.beta2));
    let (rate, root, eps) = (T::c(h.lr / correction1), T::c(correction2), T::c(h.eps));
    step(
        p,
        grad,
        moments,
        ADAMW,
        #[inline(always)]
        |p: &mut [T], g, [m, v]| {
            for i in 0..p.len().min(g.len()).min(m.len()).min(v.len()) {
                let g = g[i] * scale + l2 * p[i];
                let mean = m[i] + in1 * (g - m[i]);
                let square = decay2 * v[i] + in2 * g * g;
                m[i] = mean;
                v[i] = square;
                p[i] = p[i] * keep - rate * mean / (square.sqrt() / root + eps);
            }
        },
    )
}

/// A step of stochastic gradient descent, with a momentum buffer where there is one.
pub fn sgd_(
    p: ViewMut,
    grad: View,
    buffer: Option<ViewMut>,
    h: &SgdStep,
    scale: Option<View>,
) -> Result<()> {
    let Some((factor, step)) = verdict("sgd_", scale, h.step)? else { return Ok(()) };
    let h = SgdStep { step, ..*h };
    match buffer {
        Some(buffer) => {
            dispatch_float!("sgd_", p.dtype(), momentum_of::<T>(p, grad, buffer, h, factor))
        }
        None => dispatch_float!("sgd_", p.dtype(), sgd_of::<T>(p, grad, h, factor)),
    }
}

fn sgd_of<T: Float>(p: ViewMut, grad: View, h: SgdStep, factor: f64) -> Result<()> {
    let (scale, l2, rate) = (T::c(factor), T::c(h.weight_decay), T::c(h.lr));
    step(
        p,
        grad,
        [],
        SGD,
        #[inline(always)]
        |p: &mut [T], g, []| {
            for i in 0..p.len().min(g.len()) {
                p[i] -= rate * (g[i] * scale + l2 * p[i]);
            }
        },
    )
}

/// [`sgd_of`] with a momentum buffer.
fn momentum_of<T: Float>(
    p: ViewMut,
    grad: View,
    buffer: ViewMut,
    h: SgdStep,
    factor: f64,
) -> Result<()> {
    let (scale, l2, rate) = (T::c(factor), T::c(h.weight_decay), T::c(h.lr));
    let (momentum, nesterov) = (T::c(h.momentum), h.nesterov);
    // On the first step the buffer becomes the gradient; what it held does not matter.
    let first = h.step == 1;
    let gain = T::c(if first { 1.0 } else { 1.0 - h.dampening });
    step(
        p,
        grad,
        [buffer],
        SGD,
        #[inline(always)]
        |p: &mut [T], g, [b]| {
            for i in 0..p.len().min(g.len()).min(b.len()) {
                let g = g[i] * scale + l2 * p[i];
                let old = if first { T::ZERO } else { momentum * b[i] };
                let new = old + gain * g;
                b[i] = new;
                p[i] -= rate * if nesterov { g + momentum * new } else { new };
            }
        },
    )
}

/// √Σx² over all of them, which are contiguous and of one dtype.
pub fn global_norm(tensors: Vec<View>, dtype: DType) -> Result<Array> {
    dispatch_float!("global_norm", dtype, global_norm_of::<T>(&tensors))
}

/// The sums of squares of a tensor's chunks, which [`global_norm`] adds in order.
pub fn sums_of_squares(tensor: View, dtype: DType) -> Result<Vec<f64>> {
    dispatch_float!("sums_of_squares", dtype, sums_of::<T>(&[tensor]))
}

fn global_norm_of<T: Float>(tensors: &[View]) -> Result<Array> {
    let sums = sums_of::<T>(tensors)?;
    Array::scalar("global_norm", T::c(sums.iter().sum::<f64>().sqrt()))
}

fn sums_of<T: Float>(tensors: &[View]) -> Result<Vec<f64>> {
    let chunks: Vec<&[T]> = tensors.iter().flat_map(|t| t.slice::<T>().chunks(CHUNK)).collect();
    let mut partial = vec![0f64; chunks.len()];
    let numel: usize = chunks.iter().map(|c| c.len()).sum();
    let ns = NORM * numel as f64 / chunks.len().max(1) as f64;
    parallel::rows_ragged(&mut partial, 1, ns, |first, partial| {
        partial[0] = simd::dispatch::<false, T, _>(
            #[inline(always)]
            || sum_of_squares(chunks[first]),
        );
    });
    Ok(partial)
}

/// In f64, where the square of an f32 is exact.
#[inline(always)]
fn sum_of_squares<T: Float>(xs: &[T]) -> f64 {
    let add_square = |sum: f64, x: T| {
        let x = x.to_f64();
        sum + x * x
    };
    simd::reduce(xs, 0.0, add_square, |a, b| a + b)
}
