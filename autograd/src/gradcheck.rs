//! Checking gradients against finite differences.
//!
//! A function of several tensors is reduced to one number by a fixed random projection u,
//! L(x) = Σ u·f(x). Backward gives ∂L/∂x; the central difference (L(x + h·e) − L(x − h·e))/2h must
//! agree, for every element e of every input, or along random directions where there are too many
//! elements. In f64, where the difference is good to about nine digits for functions of moderate size.
//! Where it is not (a product of many factors has large third derivatives and large values), the two
//! disagree though the gradient is right: so a disagreement is looked at again with differences over
//! many steps, extrapolated to step 0, which come with an estimate of their own error
//! (Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4, 1982).

use gradus_tensor::{DType, Error, Result, RngKey, Tensor, bail};

use crate::backward::{BackwardOptions, grad};
use crate::mode::{enable_grad, no_grad};
use crate::var::Var;

/// How to check; see [`gradcheck`].
#[derive(Clone, Debug)]
pub struct GradCheck {
    /// What is checked, for the message of a failure.
    pub label: String,
    /// Seed of the projection and of the random directions.
    pub seed: u64,
    /// The step h of the central difference, multiplied by max(1, |x|).
    pub step: f64,
    /// Analytic and numeric value may differ by `atol + rtol·|numeric|`, and by the estimated error of
    /// the numeric value, up to a hundred times that.
    pub atol: f64,
    /// See [`atol`](GradCheck::atol).
    pub rtol: f64,
    /// Inputs with at most this many elements are checked element by element.
    pub exhaustive: usize,
    /// Number of random directions in which larger inputs are checked.
    pub directions: usize,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck {
            label: "function".to_string(),
            seed: 0,
            step: 1e-5,
            atol: 1e-7,
            rtol: 1e-6,
            exhaustive: 512,
            directions: 8,
        }
    }
}

impl GradCheck {
    /// The defaults, with a label and a seed.
    pub fn new(label: impl Into<String>, seed: u64) -> Self {
        GradCheck { label: label.into(), seed, ..Default::default() }
    }

    fn key(&self, place: &str) -> RngKey {
        RngKey::new(self.seed).place(place)
    }
}

/// Compares the gradients of `f` at `inputs` (f64) with central differences, for every element of
/// every input (along random directions for inputs of more than
/// [`exhaustive`](GradCheck::exhaustive) elements).
///
/// `f` must be smooth within a step of the inputs, and the same function each time it is called.
///
/// ```
/// # fn main() -> gradus_tensor::Result<()> {
/// use gradus_autograd::{GradCheck, gradcheck};
/// use gradus_tensor::{DType, RngKey, Tensor};
///
/// let x = Tensor::randn(&[3, 4], DType::F64, RngKey::new(1))?;
/// gradcheck(|v| v[0].tanh()?.square(), &[x], &GradCheck::new("tanh²", 1))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// An input that is not f64; an error of `f`; the first gradient that is wrong, with label,
/// argument, index, both values and the seed. A missing gradient (the graph is severed) is an error
/// unless the numeric one is 0.
pub fn gradcheck(
    f: impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    options: &GradCheck,
) -> Result<(), Error> {
    for (i, input) in inputs.iter().enumerate() {
        if input.dtype() != DType::F64 {
            bail!(
                "gradcheck",
                "{}: input {i} is {}; differences need f64, convert with to_dtype",
                options.label,
                input.dtype()
            );
        }
    }
    let leaves: Vec<Var> = inputs.iter().map(|t| Var::leaf(t.clone())).collect();
    let output = enable_grad(|| f(&leaves))?;
    if output.dtype() != DType::F64 {
        bail!(
            "gradcheck",
            "{}: the output is {}; it must be f64 as the inputs are",
            options.label,
            output.dtype()
        );
    }
    let projection = random(output.shape(), options.key("projection"))?;
    let weights = projection.to_f64_vec();
    let seed = Var::constant(projection);
    let analytic = grad(
        std::slice::from_ref(&output),
        &leaves,
        Some(std::slice::from_ref(&seed)),
        BackwardOptions::default(),
    )?;
    // L at the inputs, input `i` replaced: the terms of the projection, not yet added.
    let terms = |i: usize, values: &[f64]| -> Result<Vec<f64>> {
        let mut vars: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
        vars[i] = Var::constant(Tensor::from_slice(values, inputs[i].shape())?);
        let y = no_grad(|| f(&vars))?;
        if y.shape() != output.shape() {
            bail!("gradcheck", "{}: the output's shape changes between calls", options.label);
        }
        Ok(y.tensor().to_f64_vec())
    };
    // (L(x + δ) − L(x − δ))/2; subtracted before adding up, so that large outputs cost no digits.
    let difference = |i: usize, x: &[f64], delta: &dyn Fn(usize) -> f64| -> Result<f64> {
        let shifted = |sign: f64| -> Vec<f64> {
            x.iter().enumerate().map(|(j, x)| x + sign * delta(j)).collect()
        };
        let (up, down) = (terms(i, &shifted(1.0))?, terms(i, &shifted(-1.0))?);
        Ok(weights.iter().zip(up.iter().zip(&down)).map(|(w, (u, d))| w * (u - d)).sum::<f64>()
            / 2.0)
    };
    for (i, input) in inputs.iter().enumerate() {
        let x = input.to_f64_vec();
        let gradient = analytic[i].as_ref().map(|g| g.tensor().to_f64_vec());
        let severed = gradient.is_none();
        let gradient = gradient.unwrap_or_else(|| vec![0.0; x.len()]);
        // `slope(h)` is the central difference with step h.
        let compare = |place: String,
                       analytic: f64,
                       step: f64,
                       slope: &dyn Fn(f64) -> Result<f64>|
         -> Result<()> {
            let tolerance = |numeric: f64| options.atol + options.rtol * numeric.abs();
            let mut numeric = slope(step)?;
            if (analytic - numeric).abs() <= tolerance(numeric) {
                return Ok(());
            }
            let error;
            (numeric, error) = ridders(step, slope)?;
            let difference = (analytic - numeric).abs();
            if difference <= tolerance(numeric) + error.min(100.0 * tolerance(numeric)) {
                return Ok(());
            }
            bail!(
                "gradcheck",
                "{}: argument {i} (shape {:?}), {place}: analytic {analytic:.9e}{}, numeric \
                 {numeric:.9e} ± {error:.0e}, difference {difference:.1e} (seed {})",
                options.label,
                input.shape(),
                if severed { " (no gradient: the graph is severed)" } else { "" },
                options.seed
            )
        };
        if x.len() <= options.exhaustive {
            for at in 0..x.len() {
                let slope = |h| Ok(difference(i, &x, &|j| if j == at { h } else { 0.0 })? / h);
                let step = options.step * x[at].abs().max(1.0);
                let place = format!("index {:?}", unravel(at, input.shape()));
                compare(place, gradient[at], step, &slope)?;
            }
            continue;
        }
        for direction in 0..options.directions {
            let key = options.key("direction").step(i as u64).step(direction as u64);
            let v = random(input.shape(), key)?.to_f64_vec();
            let slope = |h| Ok(difference(i, &x, &|j| h * v[j])? / h);
            let analytic = gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
            compare(format!("random direction {direction}"), analytic, options.step, &slope)?;
        }
    }
    Ok(())
}

/// Checks the second derivatives of `f`: the gradients of `f`, computed with `create_graph` and
/// reduced by a random projection, are differentiated again with respect to the inputs and to the
/// incoming gradient, and compared with central differences of the ordinary gradients (which use the
/// fused kernels: so these are compared with their composed forms as well).
///
/// # Errors
/// As [`gradcheck`]; the last argument in its messages is the incoming gradient.
pub fn gradgradcheck(
    f: impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    options: &GradCheck,
) -> Result<(), Error> {
    let constants: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
    let output = no_grad(|| f(&constants))?;
    let incoming = random(output.shape(), options.key("incoming gradient"))?;
    let projections = inputs
        .iter()
        .enumerate()
        .map(|(i, t)| random(t.shape(), options.key("gradients").step(i as u64)).map(Var::constant))
        .collect::<Result<Vec<Var>>>()?;
    let projected = |v: &[Var]| {
        let create_graph = v.iter().any(Var::requires_grad);
        enable_grad(|| {
            let x =
                v[..inputs.len()]
                    .iter()
                    .map(|v| {
                        if v.requires_grad() {
                            v.alias()
                        } else {
                            Ok(Var::leaf(v.tensor().clone()))
                        }
                    })
                    .collect::<Result<Vec<Var>>>()?;
            let y = f(&x)?;
            let options = BackwardOptions { create_graph, retain_graph: create_graph };
            let grads = grad(&[y], &x, Some(&v[inputs.len()..]), options)?;
            let mut sum = Var::constant(Tensor::zeros(&[], DType::F64)?);
            for (grad, projection) in grads.iter().zip(&projections) {
                if let Some(grad) = grad {
                    sum = sum.add(&grad.mul(projection)?.sum_all()?)?;
                }
            }
            Ok(sum)
        })
    };
    let arguments: Vec<Tensor> = inputs.iter().cloned().chain([incoming]).collect();
    let label = format!("second derivative of {}", options.label);
    gradcheck(projected, &arguments, &GradCheck { label, ..options.clone() })
}

/// The derivative that `slope(h)`, a central difference with step h, tends to for h → 0, and an
/// estimate of its error: Neville's extrapolation in h² over the steps 64, 32, …, ⅛ times `step`. The
/// entry of the tableau that its neighbours agree with best is taken, so neither the truncation of the
/// long steps nor the rounding of the short ones decides.
fn ridders(step: f64, slope: &dyn Fn(f64) -> Result<f64>) -> Result<(f64, f64)> {
    let mut h = 64.0 * step;
    let mut row = vec![slope(h)?];
    let mut best = (row[0], f64::INFINITY);
    for _ in 0..9 {
        h /= 2.0;
        let mut next = vec![slope(h)?];
        for (order, &above) in row.iter().enumerate() {
            let left = next[order];
            let here = left + (left - above) / (4f64.powi(order as i32 + 1) - 1.0);
            let error = (here - left).abs().max((here - above).abs());
            if error < best.1 {
                best = (here, error);
            }
            next.push(here);
        }
        row = next;
    }
    Ok(best)
}

/// Random numbers of size ½ to 1 and either sign: none vanishes, none dominates.
fn random(shape: &[usize], key: RngKey) -> Result<Tensor> {
    let values: Vec<f64> = Tensor::rand(shape, DType::F64, key)?
        .to_f64_vec()
        .into_iter()
        .map(|u| if u < 0.5 { u - 1.0 } else { u })
        .collect();
    Tensor::from_slice(&values, shape)
}

/// The index of a flat position.
fn unravel(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        index[d] = at % shape[d];
        at /= shape[d];
    }
    index
}
