//! The gradient check itself: it accepts right gradients and reports wrong ones.

use gradus_autograd::{GradCheck, Var, gradcheck, gradgradcheck, no_grad};
use gradus_tensor::{DType, Result, RngKey, Tensor};

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(shape, DType::F64, RngKey::new(2)).unwrap()
}

fn failure(f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor]) -> String {
    gradcheck(f, inputs, &GradCheck::new("f", 17)).err().unwrap().to_string()
}

#[test]
fn a_wrong_gradient_is_located() {
    // The gradient of the second input lacks the detached factor, at one place only.
    let f = |v: &[Var]| {
        let [head, tail] = [v[1].narrow(0, 0, 2)?, v[1].narrow(0, 2, 1)?.detach()];
        v[0].mul(&Var::cat(&[&head, &tail], 0)?)
    };
    let error = failure(f, &[random(&[3]), random(&[3])]);
    for part in ["f: argument 1 (shape [3]), index [2]", "analytic 0", "numeric", "seed 17"] {
        assert!(error.contains(part), "{error}");
    }
}

/// The value is right and the slope has the wrong sign.
#[test]
fn a_gradient_of_the_wrong_sign_is_wrong() {
    let flipped = |v: &[Var]| v[0].detach().mul_scalar(2.0)?.sub(&v[0]);
    let error = failure(flipped, &[random(&[2, 3])]);
    assert!(error.contains("index [0, 0]: analytic"), "{error}");
}

#[test]
fn large_inputs_are_checked_along_directions() {
    let x = [random(&[40, 50])];
    let options = GradCheck::new("large", 3);
    let right = |v: &[Var]| v[0].tanh()?.sum(&[1], false);
    gradcheck(right, &x, &options).unwrap();
    gradgradcheck(right, &x, &options).unwrap();
    let wrong = |v: &[Var]| v[0].add(&v[0].narrow(0, 7, 1)?.detach());
    let error = failure(wrong, &x);
    assert!(error.contains("random direction 0"), "{error}");
}

#[test]
fn an_inexact_difference_is_not_taken_for_a_wrong_gradient() {
    // The product of eight repetitions of each element, x⁸·(y⁸…), with derivatives as large as 1e7.
    // There a difference with one step has five right digits.
    let power = |v: &[Var]| v[0].broadcast_to(&[8, 3])?.prod(&[], false);
    let x = [Tensor::from_slice(&[1.9f64, -1.7, 1.3], &[3]).unwrap()];
    let options = GradCheck { atol: 1e-9, rtol: 1e-10, ..GradCheck::new("power", 5) };
    gradcheck(power, &x, &options).unwrap();
    gradgradcheck(power, &x, &options).unwrap();
    // The same with a gradient that is wrong in its sixth digit.
    let wrong = |v: &[Var]| {
        let y = power(v)?;
        y.mul_scalar(1.0 + 1e-6)?.sub(&y.mul_scalar(1e-6)?.detach())
    };
    let error = gradcheck(wrong, &x, &options).err().unwrap().to_string();
    assert!(error.contains("±"), "{error}");
}

#[test]
fn a_severed_graph_is_told_from_a_zero_gradient() {
    let severed = |v: &[Var]| no_grad(|| v[0].exp());
    let error = failure(severed, &[random(&[2])]);
    assert!(error.contains("the graph is severed"), "{error}");
    let constant = |v: &[Var]| Ok(Var::constant(v[0].tensor().zeros_like()?));
    gradcheck(constant, &[random(&[2])], &GradCheck::default()).unwrap();
    // Right at first order, but the second-order graph is cut.
    let once =
        |v: &[Var]| v[0].mul(&v[0].detach())?.affine(2.0, 0.0)?.sub(&v[0].detach().square()?);
    let error = gradgradcheck(once, &[random(&[2])], &GradCheck::default());
    assert!(error.err().unwrap().to_string().contains("second derivative of function"));
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let single = random(&[2]).to_dtype(DType::F32).unwrap();
    let error = failure(|v| v[0].exp(), &[random(&[2]), single]);
    assert!(error.contains("input 1 is f32") && error.contains("to_dtype"), "{error}");
    let error = failure(|v| v[0].to_dtype(DType::F32), &[random(&[2])]);
    assert!(error.contains("the output is f32"), "{error}");
    let error = failure(|v| v[0].add(&v[1]), &[random(&[2]), random(&[3])]);
    assert!(error.contains("[add]"), "{error}");
}
