//! An optimiser's steps beside the engine's.

use gradus_nn::{Optimizer, Parameter};
use gradus_tensor::{DType, Result, RngKey, Tensor};

use crate::compare::list;
use crate::near;

/// How many weights [`steps`] and [`tensor_steps`] have.
pub const WEIGHTS: usize = 5;
/// How many steps they make.
const STEPS: u64 = 6;

/// Lets the engine's optimiser and your `step(weights, gradients)` make six steps from the same
/// weights with the same gradients, and compares the weights after each.
///
/// ```
/// # use gradus_nn::{Parameter, Sgd};
/// let engine = |w: &Parameter| Sgd::new([w], 0.1);
/// check::optim::steps(engine, |w, g| {
///     for i in 0..w.len() {
///         w[i] -= 0.1 * g[i];
///     }
/// });
/// ```
///
/// # Panics
/// If they part, with the step, the weights before it and the gradients.
#[track_caller]
pub fn steps<O: Optimizer>(
    engine: impl FnOnce(&Parameter) -> Result<O>,
    step: impl FnMut(&mut [f64], &[f64]),
) {
    compare(engine, step, |plain, tensors| (plain, tensors));
}

/// As [`steps`], where the optimiser of tensors is yours and `plain` is what it should do.
///
/// # Panics
/// As [`steps`].
#[track_caller]
pub fn tensor_steps<O: Optimizer>(
    yours: impl FnOnce(&Parameter) -> Result<O>,
    plain: impl FnMut(&mut [f64], &[f64]),
) {
    compare(yours, plain, |plain, tensors| (tensors, plain));
}

/// `order` puts the weights of the plain steps and those of the tensors as yours and expected.
#[track_caller]
fn compare<O: Optimizer>(
    make: impl FnOnce(&Parameter) -> Result<O>,
    mut plain: impl FnMut(&mut [f64], &[f64]),
    order: impl Fn(Vec<f64>, Vec<f64>) -> (Vec<f64>, Vec<f64>),
) {
    let key = RngKey::new(11);
    let random = |place: &str, step: u64| {
        let key = key.place(place).step(step);
        Tensor::randn(&[WEIGHTS], DType::F64, key).expect("five numbers fit in memory")
    };
    let parameter = Parameter::new("w", random("weights", 0)).expect("f64 is a parameter's dtype");
    let mut optimizer = make(&parameter).unwrap_or_else(|error| panic!("{error}"));
    let mut weights = parameter.tensor().to_f64_vec();
    for step in 1..=STEPS {
        // The gradient of Σ w·g is g.
        let grad = random("gradients", step);
        let before = weights.clone();
        let stepped = (|| {
            let sum = parameter.var().mul(&gradus_autograd::Var::constant(grad.clone()))?;
            optimizer.step(&sum.sum_all()?.backward()?)
        })();
        stepped.unwrap_or_else(|error| panic!("step {step}: {error}"));
        plain(&mut weights, &grad.to_f64_vec());
        let input = format!(
            "step {step}, weights before it {}\ngradients {}",
            list(&before),
            list(&grad.to_f64_vec())
        );
        let (yours, expected) = order(weights.clone(), parameter.tensor().to_f64_vec());
        near(&format!("the weights after step {step}"), input, &yours, &expected, 1e-10);
    }
}
