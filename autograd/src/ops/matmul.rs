//! Matrix products: dA = G·Bᵀ, dB = Aᵀ·G.

use gradus_tensor::ops::unary::UnaryOp;
use gradus_tensor::{DType, LowPrecision, Result, Tensor, bail};

use crate::context::Context;
use crate::mode;
use crate::op::Op;
use crate::trace::{SavedTensor, Told};
use crate::var::Var;

impl Var {
    /// See [`Tensor::matmul`](gradus_tensor::Tensor::matmul).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let a = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// let b = Var::leaf(Tensor::from_slice(&[10f32, 20.0], &[2, 1])?);
    /// let y = a.matmul(&b)?; // [1·10 + 2·20, 3·10 + 4·20]
    /// assert_eq!(y.to_string(), "[[ 50.]\n [110.]]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&a).unwrap().to_string(), "[[10. 20.]\n [10. 20.]]");
    /// assert_eq!(grads.get(&b).unwrap().to_string(), "[[4.]\n [6.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn matmul(&self, other: &Var) -> Result<Var> {
        let (a, b) = (&self.lowered()?, &other.lowered()?);
        let y = a.tensor().matmul(b.tensor())?;
        Var::record(Op::Matmul, y, &[a, b], |c| {
            let g = c.grad();
            c.each(&[&|| g.matmul(&c.input(1).t()?)?.sum_to(c.input_shape(0)), &|| {
                c.input(0).t()?.matmul(g)?.sum_to(c.input_shape(1))
            }])
        })
    }

    /// See [`Tensor::linear`](gradus_tensor::Tensor::linear): dx = G·W, dW = Gᵀ·x, db = ΣG.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let w = Var::leaf(Tensor::from_slice(&[3f32, 4.0, 5.0, 6.0], &[2, 2])?); // [out, in]
    /// let b = Var::leaf(Tensor::from_slice(&[0.5f32, -0.5], &[2])?);
    /// let y = x.linear(&w, Some(&b))?; // 1·3 + 2·4 + 0.5 and 1·5 + 2·6 − 0.5
    /// assert_eq!(y.to_string(), "[[11.5 16.5]]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_string(), "[[ 8. 10.]]");
    /// assert_eq!(grads.get(&w).unwrap().to_string(), "[[1. 2.]\n [1. 2.]]");
    /// assert_eq!(grads.get(&b).unwrap().to_string(), "[1. 1.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let inputs: Vec<&Var> = [Some(self), Some(weight), bias].into_iter().flatten().collect();
        let operands = Operands::of(&inputs)?;
        let (x, w, bias) = (&operands.x, &operands.w, bias.map(Var::tensor));
        let y = match operands.low {
            Some(low) => x.linear_low(w, bias, low)?,
            None => x.linear(w, bias)?,
        };
        Var::record(Op::Linear, y, &inputs, move |c| operands.rule(c, c.grad()))
    }

    /// See [`Tensor::linear_gelu`](gradus_tensor::Tensor::linear_gelu): with z = x·Wᵀ + b, the rule
    /// of [`linear`](Var::linear) for the gradient G·GELU′(z). It saves z as well as the inputs.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let w = Var::constant(Tensor::from_slice(&[3f32, -1.0], &[1, 2])?);
    /// assert_eq!(x.linear_gelu(&w, None)?.to_string(), "[[0.8413]]"); // GELU(1)
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_gelu(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let inputs: Vec<&Var> = [Some(self), Some(weight), bias].into_iter().flatten().collect();
        let keep = Var::is_recorded(&inputs);
        let operands = Operands::of(&inputs)?;
        let (x, w, bias) = (&operands.x, &operands.w, bias.map(Var::tensor));
        let (y, z) = match operands.low {
            Some(low) => x.linear_gelu_low(w, bias, keep, low)?,
            None => x.linear_gelu(w, bias, keep)?,
        };
        let told = Told::new().holds(SavedTensor::Inner, &z);
        Var::record_told(Op::LinearGelu, y, &inputs, told, move |c| {
            if c.create_graph() {
                let half = operands.half();
                return c.composed(|x| {
                    mode::autocast(half, || linear_gelu_composed(x[0], x[1], x.get(2).copied()))
                });
            }
            let Some(z) = &z else { unreachable!("what is recorded was kept") };
            let grad = z.unary_backward(UnaryOp::Gelu, c.grad().tensor())?;
            operands.rule(c, &Var::constant(grad))
        })
    }
}

impl Var {
    /// See [`Tensor::linear_cat`](gradus_tensor::Tensor::linear_cat): with G the gradient, dx =
    /// G·[W₁; W₂; …] in one product, dWᵢ = rows of Gᵀ·x and dbᵢ = parts of ΣG, views of one tensor
    /// where all are wanted.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let query = Var::constant(Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
    /// let key = Var::constant(Tensor::from_slice(&[5f32, 6.0], &[1, 2])?);
    /// assert_eq!(x.linear_cat(&[&query, &key], &[])?.to_string(), "[[11. 17.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_cat(&self, weights: &[&Var], biases: &[&Var]) -> Result<Var> {
        let inputs = [&[self], weights, biases].concat();
        let of = |vars: &[&Var]| vars.iter().map(|v| v.tensor().clone()).collect::<Vec<_>>();
        let (ws, bs) = (of(weights), of(biases));
        let low = low_of(&inputs)?;
        let half = weights.first().and_then(|w| autocast_of(w));
        let x = match half {
            Some(half) => self.tensor().to_dtype(half)?,
            None => self.tensor().clone(),
        };
        let y = match low {
            Some(low) => x.linear_cat_low(&refs(&ws), &refs(&bs), low)?,
            None => x.linear_cat(&refs(&ws), &refs(&bs))?,
        };
        let layers = ws.len();
        Var::record(Op::LinearCat, y, &inputs, move |c| {
            if c.create_graph() {
                return c.composed(|v| {
                    let (ws, bs) = v[1..].split_at(layers);
                    mode::autocast(half, || linear_cat_composed(v[0], ws, bs))
                });
            }
            let (x_in, g) = (c.input(0), c.grad().tensor());
            let input = |i: usize| c.input(i).tensor();
            let ws: Vec<&Tensor> = (1..=layers).map(input).collect();
            let bs: Vec<&Tensor> = (1 + layers..c.inputs()).map(input).collect();
            let rows = x_in.shape()[..x_in.rank() - 1].iter().product();
            let g = g.reshape(&[rows, g.size(-1)?])?;
            let x_flat = x.reshape(&[rows, x.size(-1)?])?;
            let dx = || {
                let dx = match low {
                    Some(_) => g.matmul_bf16(&Tensor::cat(&ws, 0)?)?,
                    None => g.linear_cat_backward(&ws, &bs)?.to_dtype(x_in.dtype())?,
                };
                dx.reshape(c.input_shape(0)).map(Var::constant)
            };
            let mut grads = vec![c.wants(0).then(dx).transpose()?];
            grads.extend(parameter_gradients(c, layers, (&g, &x_flat), low)?);
            Ok(grads)
        })
    }
}

fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

/// The gradients of the weights of `layers` side by side (inputs 1 to `layers`) and of their
/// biases, if they have any (the inputs after them), from the gradient G `[rows, Σout]` and the
/// input `[rows, in]`. They have the parameters' dtype: under autocast the sums in f32, not
/// rounded. They are computed together where all are wanted, else one by one.
fn parameter_gradients(
    c: &Context,
    layers: usize,
    (g, x): (&Tensor, &Tensor),
    low: Option<LowPrecision>,
) -> Result<Vec<Option<Var>>> {
    let (weights, biases) = (1..1 + layers, 1 + layers..c.inputs());
    let dtype = |mut inputs: std::ops::Range<usize>| inputs.next().map(|i| c.input(i).dtype());
    let all = |mut inputs: std::ops::Range<usize>| inputs.all(|i| c.wants(i));
    let dw = |g: &Tensor| product(low, &g.t()?, x, dtype(weights.clone()).unwrap_or(g.dtype()));
    let db = |g: &Tensor| g.sum_in(&[0], false, dtype(biases.clone()).unwrap_or(g.dtype()));
    let (all_w, all_b) = (all(weights.clone()), all(biases.clone()) && !biases.is_empty());
    let one_dtype = dtype(weights.clone()) == dtype(biases.clone());
    let (w, b) = match (all_w, all_b, dtype(weights.clone())) {
        (true, true, Some(dtype)) if one_dtype && low.is_none() => {
            let (w, b) = g.linear_parameters_backward(x, dtype)?;
            (Some(w), Some(b))
        }
        _ => (all_w.then(|| dw(g)).transpose()?, all_b.then(|| db(g)).transpose()?),
    };
    let mut grads = Vec::with_capacity(c.inputs() - 1);
    let mut parts = |inputs: std::ops::Range<usize>,
                     all: Option<Tensor>,
                     make: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let mut column = 0;
        for i in inputs {
            let n = c.input_shape(i)[0];
            let grad = || match &all {
                Some(all) => all.narrow(0, column, n),
                None => make(&g.narrow(1, column, n)?),
            };
            grads.push(c.wants(i).then(grad).transpose()?.map(Var::constant));
            column += n;
        }
        Ok::<_, gradus_tensor::Error>(())
    };
    parts(weights.clone(), w, &dw)?;
    parts(biases.clone(), b, &db)?;
    Ok(grads)
}

/// The composed reference of [`Var::linear_cat`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::Tensor;
/// # use gradus_autograd::ops::matmul::linear_cat_composed;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
/// let query = Var::constant(Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
/// let key = Var::constant(Tensor::from_slice(&[5f32, 6.0], &[1, 2])?);
/// assert_eq!(linear_cat_composed(&x, &[&query, &key], &[])?.to_string(), "[[11. 17.]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn linear_cat_composed(x: &Var, weights: &[&Var], biases: &[&Var]) -> Result<Var> {
    let layers = weights.iter().enumerate();
    let parts = layers
        .map(|(i, weight)| x.linear(weight, biases.get(i).copied()))
        .collect::<Result<Vec<_>>>()?;
    Var::cat(&parts.iter().collect::<Vec<_>>(), -1)
}

/// A product of a rule, in `dtype`; in bf16, with sums in f32, where that of its layer was.
fn product(low: Option<LowPrecision>, a: &Tensor, b: &Tensor, dtype: DType) -> Result<Tensor> {
    match low {
        Some(_) => a.matmul_bf16(b),
        None => a.matmul_out_dtype(b, dtype),
    }
}

/// In how many bits a layer of these inputs is computed, where it is not in its dtype.
fn low_of(inputs: &[&Var]) -> Result<Option<LowPrecision>> {
    let low = mode::low();
    if low == Some(LowPrecision::Int8) && Var::is_recorded(inputs) {
        bail!("linear", "weights in 8 bits have no gradient; run the model under no_grad");
    }
    Ok(low)
}

/// The composed reference of [`Var::linear_gelu`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::Tensor;
/// # use gradus_autograd::ops::matmul::linear_gelu_composed;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
/// let w = Var::constant(Tensor::from_slice(&[3f32, -1.0], &[1, 2])?);
/// assert_eq!(linear_gelu_composed(&x, &w, None)?.to_string(), "[[0.8413]]"); // GELU(1)
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn linear_gelu_composed(x: &Var, weight: &Var, bias: Option<&Var>) -> Result<Var> {
    x.linear(weight, bias)?.gelu()
}

/// The dtype to which autocast converts a layer's operands, by its weight.
fn autocast_of(w: &Var) -> Option<DType> {
    mode::autocast_dtype().filter(|&low| low != w.dtype() && w.dtype() == DType::F32)
}

/// The operands of a linear layer as its kernel takes them: converted under autocast.
struct Operands {
    x: Tensor,
    w: Tensor,
    /// Dtype of the weight itself, where it was converted.
    from: Option<DType>,
    /// What the kernel rounds them to.
    low: Option<LowPrecision>,
}

impl Operands {
    /// Of input, weight and perhaps bias.
    fn of(inputs: &[&Var]) -> Result<Operands> {
        let (x, w, low) = (inputs[0], inputs[1], low_of(inputs)?);
        let Some(half) = autocast_of(w) else {
            return Ok(Operands { x: x.tensor().clone(), w: w.tensor().clone(), from: None, low });
        };
        let x = x.tensor().to_dtype(half)?;
        Ok(Operands { x, w: w.tensor().to_dtype_kept(half)?, from: Some(w.dtype()), low })
    }

    /// The dtype to which they were converted.
    fn half(&self) -> Option<DType> {
        self.from.map(|_| self.w.dtype())
    }

    /// The gradients of x·Wᵀ + b, whose own is `g`.
    fn rule(&self, c: &Context, g: &Var) -> Result<Vec<Option<Var>>> {
        let (x, w) = (c.input(0), c.input(1));
        let rows = x.shape()[..x.rank() - 1].iter().product();
        let g = g.reshape(&[rows, w.size(0)?])?;
        if !c.create_graph() {
            let (g, x_flat) = (g.tensor(), self.x.reshape(&[rows, w.size(1)?])?);
            let dx = || {
                let dx = product(self.low, g, &self.w, g.dtype())?.to_dtype(x.dtype())?;
                dx.reshape(c.input_shape(0)).map(Var::constant)
            };
            let mut grads = vec![c.wants(0).then(dx).transpose()?];
            grads.extend(parameter_gradients(c, 1, (g, &x_flat), self.low)?);
            return Ok(grads);
        }
        // Recorded, all in the weight's dtype.
        let (low, g) = (x.dtype(), g.in_dtype(w.dtype())?);
        let x = x.in_dtype(w.dtype())?;
        let dx = || g.matmul(w)?.in_dtype(low)?.reshape(c.input_shape(0));
        let dw = || g.t()?.matmul(&x.reshape(&[rows, w.size(1)?])?);
        let db = || g.sum(&[0], false)?.in_dtype(c.input(2).dtype());
        if c.inputs() == 3 { c.each(&[&dx, &dw, &db]) } else { c.each(&[&dx, &dw]) }
    }
}
