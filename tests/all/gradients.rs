//! Every operation of the registry: its gradient in f64 against finite differences, first and
//! second order, seen through views; fused against composed; f32 against f64; one thread against
//! two.
//!
//! A failure names the operation, its parameters and shapes, and the seed, which gives the same
//! inputs again.

use crate::common::conditioning::{rounded, slack, slack_of_attention};
use crate::common::{VIEWS, View, seen_through};
use gradus::autograd::registry::{self, Case, SecondOrder};
use gradus::autograd::{
    BackwardOptions, GradCheck, Op, Var, grad, gradcheck, gradgradcheck, no_grad,
};
use gradus::tensor::{DType, Result, RngKey, Tensor};
use gradus_testing::{assert_near, cases, largest};
use proptest::prelude::*;

/// All cases of a seed: every operation, and every method composed of several.
fn all_cases(seed: u64) -> Vec<Case> {
    registry::all_cases(RngKey::new(seed))
}

fn check(case: &Case, view: View, seed: u64) -> Result<()> {
    let mut leaves = Vec::new();
    let mut open = Vec::new();
    for input in &case.inputs {
        let (leaf, way) = seen_through(view, input)?;
        leaves.push(leaf);
        open.push(way);
    }
    let f = |v: &[Var]| {
        let inputs = v.iter().zip(&open).map(|(v, open)| open(v)).collect::<Result<Vec<_>>>()?;
        (case.f)(&inputs)
    };
    let mut options = GradCheck::new(format!("{}, {view:?}", case.label), seed);
    if let Some((step, atol)) = case.precision {
        (options.step, options.atol) = (step, atol);
    }
    gradcheck(f, &leaves, &options)?;
    if case.second_order == SecondOrder::Yes {
        gradgradcheck(f, &leaves, &options)?;
    }
    Ok(())
}

/// The value of `f` and its gradients, for a random incoming gradient.
fn value_and_gradients(
    f: &dyn Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    seed: u64,
) -> Result<Vec<Tensor>> {
    let leaves: Vec<Var> = inputs.iter().map(|t| Var::leaf(t.clone())).collect();
    let y = f(&leaves)?;
    let incoming = Tensor::rand(y.shape(), y.dtype(), RngKey::new(seed))?.add_scalar(0.5)?;
    let grads = grad(
        std::slice::from_ref(&y),
        &leaves,
        Some(&[Var::constant(incoming)]),
        BackwardOptions::default(),
    )?;
    let mut results = vec![y.into_tensor()];
    for (grad, leaf) in grads.into_iter().zip(&leaves) {
        results.push(match grad {
            Some(grad) => grad.into_tensor(),
            None => leaf.tensor().zeros_like()?,
        });
    }
    Ok(results)
}

/// Compares a value and its gradients. Each element may err by `tolerance` of the largest, and by
/// the number in `slack` for its tensor.
fn assert_close(a: &[Tensor], b: &[Tensor], tolerance: f64, slack: &[f64], what: &str) {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let name = if i == 0 { "value".to_string() } else { format!("gradient {}", i - 1) };
        let within = tolerance * largest(b, 1.0) + slack.get(i).unwrap_or(&0.0);
        assert_near(&format!("{what}: {name}"), a, b, |_| within);
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn gradients_agree_with_finite_differences(seed in any::<u64>().no_shrink()) {
        for case in all_cases(seed) {
            for view in VIEWS {
                if let Err(error) = check(&case, view, seed) {
                    panic!("{error}");
                }
            }
        }
    }

    #[test]
    fn fused_and_composed_agree(seed in any::<u64>().no_shrink()) {
        for case in all_cases(seed) {
            let Some(composed) = &case.composed else { continue };
            let fused = value_and_gradients(&case.f, &case.inputs, seed).unwrap();
            let composed = value_and_gradients(composed, &case.inputs, seed).unwrap();
            let what = format!("{} (seed {seed})", case.label);
            assert_close(&fused, &composed, 1e-12, &[], &what);
        }
    }

    #[test]
    fn f32_agrees_with_f64(seed in any::<u64>().no_shrink()) {
        for case in all_cases(seed) {
            // Both start from numbers that f32 can hold.
            let single: Vec<Tensor> =
                case.inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
            let double: Vec<Tensor> =
                single.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
            let single = value_and_gradients(&case.f, &single, seed).unwrap();
            assert!(single.iter().all(|t| t.dtype() == DType::F32), "{}", case.label);
            let exact = value_and_gradients(&case.f, &double, seed).unwrap();
            let near: Vec<Tensor> = double.iter().map(|t| rounded(t).unwrap()).collect();
            let near = value_and_gradients(&case.f, &near, seed).unwrap();
            let of_attention = slack_of_attention(&case);
            let slack: Vec<f64> =
                exact.iter().zip(&near).map(|(e, n)| slack(e, n) + of_attention).collect();
            let what = format!("{} (seed {seed})", case.label);
            assert_close(&single, &exact, 5e-6, &slack, &what);
        }
    }
}

#[test]
fn every_operation_has_cases_and_records_itself() {
    for op in Op::all() {
        let cases = registry::cases(op, RngKey::new(1));
        assert!(!cases.is_empty(), "{} has no cases", op.name());
        let mut recorded = false;
        for case in cases {
            let leaves: Vec<Var> = case.inputs.iter().map(|t| Var::leaf(t.clone())).collect();
            let y = (case.f)(&leaves).unwrap();
            assert!(y.requires_grad(), "{} severs the graph", case.label);
            recorded |= y.op().is_some_and(|made_by| made_by.name() == op.name());
            let constant = no_grad(|| (case.f)(&leaves)).unwrap();
            assert!(constant.op().is_none(), "{} is recorded under no_grad", case.label);
        }
        assert!(recorded, "no case of {} records it", op.name());
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let pools = [1, 2, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    for op in Op::all() {
        for case in registry::large_cases(op, RngKey::new(7)) {
            let inputs: Vec<Tensor> =
                case.inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
            let [one, two, three] = [0, 1, 2]
                .map(|i| pools[i].install(|| value_and_gradients(&case.f, &inputs, 7).unwrap()));
            for other in [two, three] {
                for (i, (a, b)) in one.iter().zip(&other).enumerate() {
                    let (a, b) = (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
                    let same = a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{}: result {i} depends on the threads", case.label);
                }
            }
        }
    }
}
