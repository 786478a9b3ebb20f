//! Optimiser steps: element by element, `(p, m, v) ← f(p, m, v, g)`; and `√Σg²` over many tensors.
//!
//! Shapes: all tensors of a step have the parameter's. A task takes [`CHUNK`] elements. A step
//! reads and writes everything once (AdamW: 28 bytes an element in f32), so memory decides its
//! speed.
//! Order of reduction: a step has none; the norm adds 16 lanes within a chunk, joined pairwise,
//! then chunk after chunk, tensor after tensor.
//! Numerics: factors are computed in f64 and rounded once; no fused multiply-add.

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd;
use crate::dtype::dispatch_float;
use crate::op::optim::{AdamWStep, SgdStep};
use crate::{DType, Result, Tensor};

/// Elements of a task.
const CHUNK: usize = 16 * 1024;
/// Nanoseconds an element.
const ADAMW: f64 = 0.6;
const SGD: f64 = 0.3;
const NORM: f64 = 0.15;

/// What `scale` tells a step where the kernel runs: the factor of the gradient, and the number of
/// the step without those skipped before. `None` if this one is skipped.
fn verdict(scale: Option<&Tensor>, step: u64) -> Option<(f64, u64)> {
    match scale.map(Tensor::to_f64_vec).as_deref() {
        None => Some((1.0, step)),
        Some([factor]) => Some((*factor, step)),
        Some([factor, skip, before, ..]) => {
            (*skip == 0.0).then_some((*factor, step.saturating_sub(*before as u64).max(1)))
        }
        Some(_) => None,
    }
}

/// A step of `N` states: calls `update(p, g, states)` for each chunk of the parameter, of its
/// gradient and of the states. Time: `ns` nanoseconds an element.
fn step<T: Float, const N: usize>(
    op: &'static str,
    p: &mut Tensor,
    grad: &Tensor,
    states: [&mut Tensor; N],
    ns: f64,
    update: impl Fn(&mut [T], &[T], [&mut [T]; N]) + Sync + Send,
) -> Result<()> {
    let g = grad.cpu_slice::<T>();
    let mut shared = Vec::with_capacity(N);
    for state in states {
        shared.push(SharedMut::new(state.cpu_slice_mut::<T>(op)?));
    }
    parallel::rows_ragged(p.cpu_slice_mut::<T>(op)?, CHUNK, ns, |first, p| {
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

pub(crate) fn adamw_(
    p: &mut Tensor,
    grad: &Tensor,
    m: &mut Tensor,
    v: &mut Tensor,
    h: &AdamWStep,
    scale: Option<&Tensor>,
) -> Result<()> {
    let Some((factor, step)) = verdict(scale, h.step) else { return Ok(()) };
    let h = AdamWStep { step, ..*h };
    dispatch_float!("adamw_", p.dtype(), adamw_of::<T>(p, grad, [m, v], h, factor))
}

fn adamw_of<T: Float>(
    p: &mut Tensor,
    grad: &Tensor,
    moments: [&mut Tensor; 2],
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
        "adamw_",
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

pub(crate) fn sgd_(
    p: &mut Tensor,
    grad: &Tensor,
    buffer: Option<&mut Tensor>,
    h: &SgdStep,
    scale: Option<&Tensor>,
) -> Result<()> {
    let Some((factor, step)) = verdict(scale, h.step) else { return Ok(()) };
    let h = SgdStep { step, ..*h };
    match buffer {
        Some(buffer) => {
            dispatch_float!("sgd_", p.dtype(), momentum_of::<T>(p, grad, buffer, h, factor))
        }
        None => dispatch_float!("sgd_", p.dtype(), sgd_of::<T>(p, grad, h, factor)),
    }
}

fn sgd_of<T: Float>(p: &mut Tensor, grad: &Tensor, h: SgdStep, factor: f64) -> Result<()> {
    let (scale, l2, rate) = (T::c(factor), T::c(h.weight_decay), T::c(h.lr));
    step(
        "sgd_",
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
    p: &mut Tensor,
    grad: &Tensor,
    buffer: &mut Tensor,
    h: SgdStep,
    factor: f64,
) -> Result<()> {
    let (scale, l2, rate) = (T::c(factor), T::c(h.weight_decay), T::c(h.lr));
    let (momentum, nesterov) = (T::c(h.momentum), h.nesterov);
    // On the first step the buffer becomes the gradient; what it held does not matter.
    let first = h.step == 1;
    let gain = T::c(if first { 1.0 } else { 1.0 - h.dampening });
    step(
        "sgd_",
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

/// `tensors` are contiguous and of one dtype.
pub(crate) fn global_norm(tensors: &[Tensor], dtype: DType) -> Result<Tensor> {
    dispatch_float!("global_norm", dtype, global_norm_of::<T>(tensors))
}

fn global_norm_of<T: Float>(tensors: &[Tensor]) -> Result<Tensor> {
    let chunks: Vec<&[T]> = tensors.iter().flat_map(|t| t.cpu_slice::<T>().chunks(CHUNK)).collect();
    let mut partial = vec![0f64; chunks.len()];
    let numel: usize = chunks.iter().map(|c| c.len()).sum();
    let ns = NORM * numel as f64 / chunks.len().max(1) as f64;
    parallel::rows_ragged(&mut partial, 1, ns, |first, partial| {
        partial[0] = simd::dispatch::<false, T, _>(
            #[inline(always)]
            || sum_of_squares(chunks[first]),
        );
    });
    Ok(Tensor::scalar(T::c(partial.iter().sum::<f64>().sqrt())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RngKey;

    fn random(n: usize, dtype: DType, name: &str) -> Tensor {
        Tensor::randn(&[n], dtype, RngKey::new(1).place(name)).unwrap()
    }

    /// The slow, obvious twin: one element in f64.
    fn adam_twin(p: &mut f64, g: f64, m: &mut f64, v: &mut f64, h: &AdamWStep) {
        let g = if h.decoupled { g } else { g + h.weight_decay * *p };
        if h.decoupled {
            *p *= 1.0 - h.lr * h.weight_decay;
        }
        *m = h.beta1 * *m + (1.0 - h.beta1) * g;
        *v = h.beta2 * *v + (1.0 - h.beta2) * g * g;
        let m_hat = *m / (1.0 - h.beta1.powi(h.step as i32));
        let v_hat = *v / (1.0 - h.beta2.powi(h.step as i32));
        *p -= h.lr * m_hat / (v_hat.sqrt() + h.eps);
    }

    #[test]
    fn adamw_follows_its_twin() {
        for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-13)] {
            for decoupled in [true, false] {
                let n = 40_003; // several tasks, the last ragged
                let mut p = random(n, dtype, "p");
                let (mut m, mut v) = (p.zeros_like().unwrap(), p.zeros_like().unwrap());
                let mut twin: Vec<[f64; 3]> =
                    p.to_f64_vec().into_iter().map(|p| [p, 0.0, 0.0]).collect();
                for step in 1..=3 {
                    let h = AdamWStep {
                        lr: 0.01,
                        beta1: 0.9,
                        beta2: 0.999,
                        eps: 1e-8,
                        weight_decay: 0.1,
                        step,
                        decoupled,
                    };
                    let grad = random(n, dtype, &format!("g{step}"));
                    let half = Tensor::full(&[], 0.5, dtype).unwrap();
                    p.adamw_(&grad, &mut m, &mut v, &h, Some(&half)).unwrap();
                    for ([p, m, v], g) in twin.iter_mut().zip(grad.to_f64_vec()) {
                        adam_twin(p, g * 0.5, m, v, &h);
                    }
                }
                for (p, twin) in p.to_f64_vec().into_iter().zip(&twin) {
                    assert!((p - twin[0]).abs() <= tolerance, "{dtype} {p} {}", twin[0]);
                }
            }
        }
    }

    #[test]
    fn sgd_follows_its_twin() {
        for (momentum, nesterov, dampening) in
            [(0.0, false, 0.0), (0.9, false, 0.3), (0.9, true, 0.0)]
        {
            let n = 40_003;
            let mut p = random(n, DType::F64, "p");
            let mut buffer = (momentum > 0.0).then(|| p.ones_like().unwrap());
            let mut twin: Vec<[f64; 2]> = p.to_f64_vec().into_iter().map(|p| [p, 0.0]).collect();
            for step in 0..3 {
                let h = SgdStep {
                    lr: 0.1,
                    momentum,
                    dampening,
                    nesterov,
                    weight_decay: 0.2,
                    step: step + 1,
                };
                let grad = random(n, DType::F64, &format!("g{step}"));
                p.sgd_(&grad, buffer.as_mut(), &h, None).unwrap();
                for ([p, b], g) in twin.iter_mut().zip(grad.to_f64_vec()) {
                    let g = g + 0.2 * *p;
                    *b = if step == 0 { g } else { momentum * *b + (1.0 - dampening) * g };
                    *p -= 0.1 * if nesterov { g + momentum * *b } else { *b };
                    if momentum == 0.0 {
                        *b = 0.0;
                    }
                }
            }
            for (p, twin) in p.to_f64_vec().into_iter().zip(&twin) {
                assert!((p - twin[0]).abs() <= 1e-13, "{momentum} {p} {}", twin[0]);
            }
        }
    }

    #[test]
    fn a_step_is_in_place_and_never_seen_by_others() {
        let mut p = random(100, DType::F32, "p");
        let grad = random(100, DType::F32, "g");
        let h = SgdStep {
            lr: 0.1,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            step: 1,
        };
        let address = p.cpu_slice::<f32>().as_ptr();
        p.sgd_(&grad, None, &h, None).unwrap();
        assert_eq!(p.cpu_slice::<f32>().as_ptr(), address);
        let (before, held) = (p.to_vec::<f32>().unwrap(), p.clone());
        p.sgd_(&grad, None, &h, None).unwrap();
        assert_eq!(held.to_vec::<f32>().unwrap(), before);
        assert_ne!(p.to_vec::<f32>().unwrap(), before);
    }

    #[test]
    fn the_norm_is_that_of_all_and_independent_of_threads() {
        let tensors = [
            random(100_001, DType::F32, "a"),
            random(3, DType::F32, "b"),
            random(0, DType::F32, ""),
        ];
        let all: Vec<&Tensor> = tensors.iter().collect();
        let sum: f64 = all.iter().flat_map(|t| t.to_f64_vec()).map(|x| x * x).sum();
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let norms: Vec<f64> = [1, 2, 3]
            .map(|n| pool(n).install(|| Tensor::global_norm(&all).unwrap().item().unwrap()))
            .to_vec();
        assert!((norms[0] - sum.sqrt()).abs() < 1e-7 * norms[0], "{} {}", norms[0], sum.sqrt());
        assert!(norms.iter().all(|n| n.to_bits() == norms[0].to_bits()));
        assert_eq!(Tensor::global_norm(&[]).unwrap().item().unwrap(), 0.0);
        // Squares that leave the range of f32.
        let big = Tensor::full(&[4], 1e30, DType::F32).unwrap();
        assert_eq!(Tensor::global_norm(&[&big]).unwrap().item().unwrap(), 2e30f32 as f64);
    }

    #[test]
    fn mismatches_are_errors() {
        let mut p = random(4, DType::F32, "p");
        let (mut m, mut v) = (p.zeros_like().unwrap(), p.zeros_like().unwrap());
        let mut h = AdamWStep {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            step: 1,
            decoupled: true,
        };
        let error = p.adamw_(&random(5, DType::F32, "g"), &mut m, &mut v, &h, None).unwrap_err();
        assert!(error.to_string().contains("[adamw_]") && error.to_string().contains("[5]"));
        assert!(p.adamw_(&random(4, DType::F64, "g"), &mut m, &mut v, &h, None).is_err());
        let g = random(4, DType::F32, "g");
        let two = Tensor::ones(&[2], DType::F32).unwrap();
        assert!(p.adamw_(&g, &mut m, &mut v, &h, Some(&two)).is_err());
        h.step = 0;
        assert!(p.adamw_(&g, &mut m, &mut v, &h, None).is_err());
        let d = random(4, DType::F64, "d");
        assert!(Tensor::global_norm(&[&g, &d]).is_err());
    }
}
