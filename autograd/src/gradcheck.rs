//! Checking gradients against finite differences.
//!
//! A function of several tensors is reduced to one number by a fixed random projection u, L(x) = Σ
//! u·f(x). Backward gives ∂L/∂x; the central difference (L(x + h·e) − L(x − h·e))/2h must agree,
//! for every element e of every input, or along random directions where there are too many
//! elements. The check runs in f64, where the difference is good to about nine digits for functions
//! of moderate size. Where it is not (a product of many factors has large third derivatives and
//! large values), the two disagree though the gradient is right: so a disagreement is checked again
//! with differences over many steps, extrapolated to step 0, which estimate their own error
//! (Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4,
//! 1982).

use std::cell::Cell;

use gradus_tensor::{DType, Error, Result, RngKey, Tensor, bail};

use crate::backward::grad;
use crate::mode::{enable_grad, no_grad};
use crate::var::Var;
use crate::walk::BackwardOptions;

/// How to check; see [`gradcheck`].
#[derive(Clone, Debug)]
pub struct GradCheck {
    /// What is checked, for the message of a failure.
    pub label: String,
    /// Seed of the projection and of the random directions.
    pub seed: u64,
    /// The step h of the central difference, multiplied by max(1, |x|).
    pub step: f64,
    /// Analytic and numeric value may differ by `atol + rtol·|numeric|`, and by the estimated error
    /// of the numeric value, up to a hundred times that.
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
    ///
    /// ```
    /// # use gradus_autograd::{GradCheck, gradcheck};
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 2.0], &[2])?;
    /// let strict = GradCheck { rtol: 1e-8, ..GradCheck::new("square", 0) };
    /// gradcheck(|v| v[0].square(), &[x], &strict)?;
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
/// use gradus_autograd::{GradCheck, gradcheck};
/// use gradus_tensor::{DType, RngKey, Tensor};
///
/// let x = Tensor::randn(&[3, 4], DType::F64, RngKey::new(1))?;
/// gradcheck(|v| v[0].tanh()?.square(), &[x], &GradCheck::new("tanh²", 1))?;
/// # Ok::<(), gradus_tensor::Error>(())
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
    largest_difference(f, inputs, options).map(drop)
}

/// As [`gradcheck`]; tells by how much the gradients and the differences disagree at most.
///
/// ```
/// use gradus_autograd::{GradCheck, largest_difference};
/// use gradus_tensor::Tensor;
///
/// let x = Tensor::from_slice(&[0.5, 1.0], &[2])?;
/// let most = largest_difference(|v| v[0].tanh(), &[x], &GradCheck::new("tanh", 1))?;
/// assert!(most < 1e-9);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// As [`gradcheck`].
pub fn largest_difference(
    f: impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    options: &GradCheck,
) -> Result<f64, Error> {
    if let Some(i) = inputs.iter().position(|input| input.dtype() != DType::F64) {
        bail!(
            "gradcheck",
            DType,
            "{}: input {i} is {}; differences need f64, convert with to_dtype",
            options.label,
            inputs[i].dtype()
        );
    }
    let leaves: Vec<Var> = inputs.iter().map(|t| Var::leaf(t.clone())).collect();
    let output = enable_grad(|| f(&leaves))?;
    if output.dtype() != DType::F64 {
        bail!(
            "gradcheck",
            DType,
            "{}: the output is {}; it must be f64 as the inputs are",
            options.label,
            output.dtype()
        );
    }
    let projection = random(output.shape(), options.key("projection"))?;
    let shape = output.shape().to_vec();
    let (weights, largest) = (projection.to_f64_vec(), Cell::new(0.0));
    let check = Check { f, inputs, shape, weights, options, largest };
    let gradients =
        grad(&[output], &leaves, Some(&[Var::constant(projection)]), BackwardOptions::default())?;
    for (argument, gradient) in gradients.iter().enumerate() {
        check.argument(argument, gradient.as_ref().map(Var::tensor))?;
    }
    Ok(check.largest.get())
}

/// A check under way: L(x) = Σ weights·f(x).
struct Check<'a, F> {
    f: F,
    inputs: &'a [Tensor],
    /// The output's shape.
    shape: Vec<usize>,
    weights: Vec<f64>,
    options: &'a GradCheck,
    /// The largest difference so far.
    largest: Cell<f64>,
}

/// One number of the gradient, and how to find it by differences.
struct Slope<'a> {
    argument: usize,
    place: String,
    /// What backward says; `None` if no gradient arrived.
    analytic: Option<f64>,
    /// The step of the difference.
    step: f64,
    /// By how much each element changes in a step of 1.
    direction: &'a dyn Fn(usize) -> f64,
}

impl<F: Fn(&[Var]) -> Result<Var>> Check<'_, F> {
    /// Compares the gradient of one argument, element by element or along random directions.
    fn argument(&self, argument: usize, gradient: Option<&Tensor>) -> Result<()> {
        let (input, options) = (&self.inputs[argument], self.options);
        let gradient = gradient.map(Tensor::to_f64_vec);
        if input.numel() <= options.exhaustive {
            for (at, x) in input.to_f64_vec().into_iter().enumerate() {
                self.compare(Slope {
                    argument,
                    place: format!("index {:?}", unravel(at, input.shape())),
                    analytic: gradient.as_ref().map(|g| g[at]),
                    step: options.step * x.abs().max(1.0),
                    direction: &|j| if j == at { 1.0 } else { 0.0 },
                })?;
            }
            return Ok(());
        }
        for direction in 0..options.directions {
            let key = options.key("direction").step(argument as u64).step(direction as u64);
            let v = random(input.shape(), key)?.to_f64_vec();
            self.compare(Slope {
                argument,
                place: format!("random direction {direction}"),
                analytic: gradient.as_ref().map(|g| g.iter().zip(&v).map(|(g, v)| g * v).sum()),
                step: options.step,
                direction: &|j| v[j],
            })?;
        }
        Ok(())
    }

    /// An error if backward and the difference disagree.
    fn compare(&self, slope: Slope) -> Result<()> {
        let options = self.options;
        let tolerance = |numeric: f64| options.atol + options.rtol * numeric.abs();
        let analytic = slope.analytic.unwrap_or(0.0);
        let numeric = self.difference(&slope, slope.step)?;
        let difference = (analytic - numeric).abs();
        if difference <= tolerance(numeric) {
            self.largest.set(self.largest.get().max(difference));
            return Ok(());
        }
        let (numeric, error) = ridders(slope.step, &|h| self.difference(&slope, h))?;
        let difference = (analytic - numeric).abs();
        if difference <= tolerance(numeric) + error.min(100.0 * tolerance(numeric)) {
            self.largest.set(self.largest.get().max(difference));
            return Ok(());
        }
        bail!(
            "gradcheck",
            "{}: argument {} (shape {:?}), {}: analytic {analytic:.9e}{}, numeric {numeric:.9e} \
             ± {error:.0e}, difference {difference:.1e} (seed {})",
            options.label,
            slope.argument,
            self.inputs[slope.argument].shape(),
            slope.place,
            if slope.analytic.is_none() { " (no gradient: the graph is severed)" } else { "" },
            options.seed
        )
    }

    /// (L(x + h·v) − L(x − h·v))/2h; subtracted before adding up, so that large outputs cost no
    /// digits.
    fn difference(&self, slope: &Slope, h: f64) -> Result<f64> {
        let x = self.inputs[slope.argument].to_f64_vec();
        let shifted = |h: f64| -> Vec<f64> {
            x.iter().enumerate().map(|(j, x)| x + h * (slope.direction)(j)).collect()
        };
        let up = self.outputs(slope.argument, &shifted(h))?;
        let down = self.outputs(slope.argument, &shifted(-h))?;
        let terms = self.weights.iter().zip(up.iter().zip(&down)).map(|(w, (u, d))| w * (u - d));
        Ok(terms.sum::<f64>() / 2.0 / h)
    }

    /// f at the inputs, one of them replaced.
    fn outputs(&self, argument: usize, values: &[f64]) -> Result<Vec<f64>> {
        let mut vars: Vec<Var> = self.inputs.iter().map(|t| Var::constant(t.clone())).collect();
        vars[argument] = Var::constant(Tensor::from_slice(values, self.inputs[argument].shape())?);
        let y = no_grad(|| (self.f)(&vars))?;
        if y.shape() != self.shape {
            bail!(
                "gradcheck",
                Shape,
                "{}: the output's shape changes between calls",
                self.options.label
            );
        }
        Ok(y.tensor().to_f64_vec())
    }
}

/// Checks the second derivatives of `f`: the gradients of `f`, computed with `create_graph` and
/// reduced by a random projection, are differentiated again with respect to the inputs and to the
/// incoming gradient, and compared with central differences of the ordinary gradients (which use
/// the fused kernels: so these are compared with their composed forms as well).
///
/// ```
/// # use gradus_autograd::{GradCheck, gradgradcheck};
/// # use gradus_tensor::Tensor;
/// let x = Tensor::from_slice(&[0.5, 1.0, 2.0], &[3])?;
/// gradgradcheck(|v| v[0].log(), &[x], &GradCheck::new("log", 1))?;
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
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
/// estimate of its error: Neville's extrapolation in h² over the steps 64, 32, …, ⅛ times `step`.
/// The entry of the tableau that its neighbours agree with best is taken, so neither the truncation
/// of the long steps nor the rounding of the short ones decides.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The slopes 2 + 3h² + 5h⁴ tend to 2, which the third row of the tableau has exactly.
    #[test]
    fn extrapolation_finds_the_limit_and_its_own_error() {
        let slope = |h: f64| Ok(2.0 + 3.0 * h.powi(2) + 5.0 * h.powi(4));
        let (limit, error) = ridders(0.01, &slope).unwrap();
        assert!((limit - 2.0).abs() < 1e-13, "{limit}");
        assert!(error < 1e-12, "{error}");
        // The differences of eˣ at 1, with the rounding of the short steps.
        let slope = |h: f64| Ok(((1.0 + h).exp() - (1.0 - h).exp()) / (2.0 * h));
        let (limit, error) = ridders(1e-3, &slope).unwrap();
        assert!((limit - 1f64.exp()).abs() < 1e-11, "{limit}");
        assert!(error < 1e-10, "{error}");
    }

    #[test]
    fn projections_have_either_sign_and_no_small_numbers() {
        let values = random(&[200], RngKey::new(1)).unwrap().to_f64_vec();
        assert!(values.iter().all(|v| (0.5..1.0).contains(&v.abs()) || *v == -1.0), "{values:?}");
        assert!(values.iter().any(|v| *v < 0.0) && values.iter().any(|v| *v > 0.0));
    }

    #[test]
    fn a_flat_position_has_one_index() {
        let all = (0..24).map(|at| unravel(at, &[2, 3, 4])).collect::<Vec<_>>();
        assert_eq!(
            (&all[0][..], &all[5][..], &all[23][..]),
            (&[0, 0, 0][..], &[0, 1, 1][..], &[1, 2, 3][..])
        );
        assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
