//! Checks of gradients.

use gradus_autograd::{
    BackwardOptions, GradCheck, Op, Var, grad, gradcheck, gradgradcheck, registry,
};
use gradus_tensor::{DType, Result, RngKey, Tensor};

use crate::compare::{is_near, list, near, report, rounded};

/// The step of a finite difference.
const STEP: f64 = 1e-5;
/// By how much a value or gradient may differ from the engine's, times its size if that is above 1.
const ALLOWED: f64 = 1e-9;

/// Asserts that `yours` are the slopes of `f` at the point `at`, one for each input, by central
/// differences: (f(x + h) − f(x − h)) / 2h.
///
/// ```
/// check::slopes("x²y", |v| v[0] * v[0] * v[1], &[3.0, 2.0], &[12.0, 9.0]);
/// ```
///
/// # Panics
/// If one is off by more than 1e-6 (times its size, if that is above 1), with the difference that
/// shows it.
#[track_caller]
pub fn slopes(what: &str, f: impl Fn(&[f64]) -> f64, at: &[f64], yours: &[f64]) {
    let shifted = |i: usize, h: f64| {
        let mut x = at.to_vec();
        x[i] += h;
        f(&x)
    };
    let differences: Vec<f64> =
        (0..at.len()).map(|i| (shifted(i, STEP) - shifted(i, -STEP)) / (2.0 * STEP)).collect();
    let first = match yours.iter().zip(&differences).position(|(&a, &b)| !is_near(a, b, 1e-6)) {
        _ if yours.len() != at.len() => {
            format!("yours has {} slopes for {} inputs", yours.len(), at.len())
        }
        None => return,
        Some(i) => format!(
            "input {i}, which is {}: yours {}, finite difference ({} − {}) / {:e} = {:.6}",
            at[i],
            yours[i],
            shifted(i, STEP),
            shifted(i, -STEP),
            2.0 * STEP,
            differences[i]
        ),
    };
    let what = format!("the slopes of {what}");
    panic!(
        "{}",
        report(&what, &list(at), &list(&rounded(yours)), &list(&rounded(&differences)), &first)
    );
}

/// Asserts that the gradients of `f` at `inputs` (f64) agree with finite differences, by the
/// engine's own [`gradcheck`]: it multiplies the output by fixed random numbers u and adds up, L =
/// Σ u·f(x), and compares ∂L/∂x, element by element.
///
/// ```
/// # use gradus_tensor::Tensor;
/// let x = Tensor::from_slice(&[0.5, 1.0], &[2])?;
/// check::gradient("tanh", |v| v[0].tanh(), &[x]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Panics
/// If they do not, with the input, your gradient, and the first element that is wrong.
#[track_caller]
pub fn gradient(what: &str, f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor]) {
    if let Err(error) = gradcheck(&f, inputs, &GradCheck::new(what, 1)) {
        panic!("{}", differs(what, "gradient", inputs, &error.to_string()));
    }
}

/// As [`gradient`], for the second derivatives: the gradients of `f`, recorded and differentiated
/// again.
///
/// ```
/// # use gradus_tensor::Tensor;
/// let x = Tensor::from_slice(&[0.5, 1.0], &[2])?;
/// check::second_gradient("tanh", |v| v[0].tanh(), &[x]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Panics
/// As [`gradient`].
#[track_caller]
pub fn second_gradient(what: &str, f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor]) {
    if let Err(error) = gradgradcheck(&f, inputs, &GradCheck::new(what, 1)) {
        panic!("{}", differs(what, "second gradient", inputs, &error.to_string()));
    }
}

/// Asserts that `yours` and the engine's own operation agree at `inputs`: the value, and the
/// gradients for a random gradient of the output.
///
/// ```
/// # use gradus_tensor::Tensor;
/// let x = Tensor::from_slice(&[0.5, 1.0], &[2])?;
/// check::agrees("square", |v| v[0].mul(&v[0]), |v| v[0].square(), &[x]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Panics
/// If they do not, with the first element that differs; if one of them is an error.
#[track_caller]
pub fn agrees(
    what: &str,
    yours: impl Fn(&[Var]) -> Result<Var>,
    engine: impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
) {
    let (shown, key) = (show(inputs), RngKey::new(7));
    let (mine, theirs) = match (run(&yours, inputs, key), run(&engine, inputs, key)) {
        (Ok(mine), Ok(theirs)) => (mine, theirs),
        (Err(error), _) => panic!("{what}: yours ends with an error\n\n  {error}\n  {shown}"),
        (_, Err(error)) => panic!("{what}: the engine's ends with an error\n\n  {error}"),
    };
    near(&format!("the value of {what}"), &shown, &mine.value, &theirs.value, ALLOWED);
    let shown = format!("{shown}\ngradient of the output = {}", mine.seed);
    for (i, (a, b)) in mine.gradients.iter().zip(&theirs.gradients).enumerate() {
        near(&format!("the gradient of {what} by input {i}"), &shown, a, b, ALLOWED);
    }
}

/// The inputs of the registry's [`cases`](registry::cases) of an operation: random shapes and
/// values, always with a size 0 and a size 1 where the operation takes them.
pub fn inputs_of(op: Op) -> Vec<Vec<Tensor>> {
    registry::cases(op, RngKey::new(3)).into_iter().map(|case| case.inputs).collect()
}

/// What one run of a function gives.
struct Run {
    value: Tensor,
    /// The gradient of the output.
    seed: Tensor,
    /// The gradients of the inputs.
    gradients: Vec<Tensor>,
}

fn run(f: &dyn Fn(&[Var]) -> Result<Var>, inputs: &[Tensor], key: RngKey) -> Result<Run> {
    let leaves: Vec<Var> = inputs.iter().map(|x| Var::leaf(x.clone())).collect();
    let output = f(&leaves)?;
    let value = output.tensor().clone();
    let seed = Tensor::randn(value.shape(), DType::F64, key)?;
    let seeds = [Var::constant(seed.clone())];
    let gradients = grad(&[output], &leaves, Some(&seeds), BackwardOptions::default())?;
    let gradients = gradients
        .into_iter()
        .zip(inputs)
        .map(|(g, x)| g.map_or_else(|| x.zeros_like(), |g| Ok(g.into_tensor())))
        .collect::<Result<_>>()?;
    Ok(Run { value, seed, gradients })
}

/// Inputs as text.
fn show(inputs: &[Tensor]) -> String {
    let lines: Vec<String> =
        inputs.iter().enumerate().map(|(i, x)| format!("input {i} = {x:?}")).collect();
    lines.join("\n")
}

/// The message where a gradient differs from the finite difference.
fn differs(what: &str, kind: &str, inputs: &[Tensor], error: &str) -> String {
    let note = "(analytic: from the backward rules; numeric: the finite difference)";
    let text = format!("the {kind} of {what}: not yet right\n\n{}\n{error}\n{note}", show(inputs));
    text.replace('\n', "\n  ").replace("\n  \n", "\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::message_of;

    #[test]
    fn wrong_slopes_show_the_finite_difference() {
        let f = |v: &[f64]| v[0] * v[0] + 3.0 * v[1];
        let text = message_of(|| slopes("x² + 3y", f, &[2.0, 1.0], &[4.0, 2.0]));
        assert!(text.contains("the slopes of x² + 3y: not yet right"), "{text}");
        assert!(text.contains("yours: [4.0, 2.0]\n     expected: [4.0, 3.0]"), "{text}");
        assert!(text.contains("first wrong: input 1, which is 1: yours 2"), "{text}");
        assert!(text.contains("/ 2e-5 = 3.000000"), "{text}");
        let text = message_of(|| slopes("x² + 3y", f, &[2.0, 1.0], &[4.0]));
        assert!(text.contains("yours has 1 slopes for 2 inputs"), "{text}");
    }

    /// x² with the rule of x³.
    fn wrong(v: &[Var]) -> Result<Var> {
        Var::custom("wrong", v[0].tensor().square()?, &[&v[0]], |c| {
            Ok(vec![Some(c.grad().mul(&c.input(0).square()?.mul_scalar(3.0)?)?)])
        })
    }

    fn numbers() -> Vec<Tensor> {
        vec![Tensor::from_slice(&[2.0, -1.0], &[2]).expect("two numbers")]
    }

    #[test]
    fn a_wrong_rule_shows_the_input_and_both_gradients() {
        let text = message_of(|| gradient("my square", wrong, &numbers()));
        assert!(text.starts_with("the gradient of my square: not yet right"), "{text}");
        assert!(text.contains("input 0 = tensor([ 2., -1.]"), "{text}");
        assert!(text.contains("index [0]: analytic") && text.contains("numeric"), "{text}");
    }

    /// The rule of x², with the slope cut out of the graph: right, until it is differentiated again.
    fn severed(v: &[Var]) -> Result<Var> {
        Var::custom("severed", v[0].tensor().square()?, &[&v[0]], |c| {
            Ok(vec![Some(c.grad().mul(&c.input(0).detach().mul_scalar(2.0)?)?)])
        })
    }

    #[test]
    fn a_wrong_second_gradient_is_found() {
        gradient("my square", severed, &numbers());
        let text = message_of(|| second_gradient("my square", severed, &numbers()));
        assert!(text.starts_with("the second gradient of my square: not yet right"), "{text}");
    }

    #[test]
    fn what_differs_from_the_engine_is_named() {
        let text = message_of(|| agrees("square", wrong, |v| v[0].square(), &numbers()));
        assert!(text.starts_with("the gradient of square by input 0: not yet right"), "{text}");
        assert!(text.contains("gradient of the output = ["), "{text}");
        let text = message_of(|| agrees("cube", |v| v[0].square(), |v| v[0].powf(3.0), &numbers()));
        assert!(text.starts_with("the value of cube: not yet right"), "{text}");
        assert!(text.contains("element [0]: yours 4, expected 8"), "{text}");
    }
}
