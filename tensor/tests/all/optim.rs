//! Optimiser steps against a slow twin of one element, and the global norm.

use gradus_tensor::ops::optim::{AdamWStep, SgdStep};
use gradus_tensor::{DType, RngKey, Tensor};
use gradus_testing::adamw;

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
                let h = AdamWStep { decoupled, ..adamw(step) };
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
    for (momentum, nesterov, dampening) in [(0.0, false, 0.0), (0.9, false, 0.3), (0.9, true, 0.0)]
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
fn the_norm_is_that_of_all_and_independent_of_threads() {
    let tensors =
        [random(100_001, DType::F32, "a"), random(3, DType::F32, "b"), random(0, DType::F32, "")];
    let all: Vec<&Tensor> = tensors.iter().collect();
    let sum: f64 = all.iter().flat_map(|t| t.to_f64_vec()).map(|x| x * x).sum();
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let norms: Vec<f64> = [1, 2, 3]
        .map(|n| pool(n).install(|| Tensor::global_norm(&all).unwrap().item().unwrap()))
        .to_vec();
    assert!((norms[0] - sum.sqrt()).abs() < 1e-7 * norms[0], "{} {}", norms[0], sum.sqrt());
    assert!(norms.iter().all(|n| n.to_bits() == norms[0].to_bits()));
    // Its parts, measured one by one.
    let parts: f64 = all.iter().flat_map(|t| t.sums_of_squares().unwrap()).sum();
    assert_eq!((parts.sqrt() as f32).to_bits(), (norms[0] as f32).to_bits());
    assert_eq!(Tensor::global_norm(&[]).unwrap().item().unwrap(), 0.0);
    // Squares that leave the range of f32.
    let big = Tensor::full(&[4], 1e30, DType::F32).unwrap();
    assert_eq!(Tensor::global_norm(&[&big]).unwrap().item().unwrap(), 2e30f32 as f64);
}

#[test]
fn mismatches_are_errors() {
    let mut p = random(4, DType::F32, "p");
    let (mut m, mut v) = (p.zeros_like().unwrap(), p.zeros_like().unwrap());
    let mut h = AdamWStep { lr: 0.1, beta2: 0.99, weight_decay: 0.0, ..adamw(1) };
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
