//! Matrix products: dA = G·Bᵀ, dB = Aᵀ·G.

use gradus_tensor::ops::unary::UnaryOp;
use gradus_tensor::{DType, Result, Tensor, bail};

use crate::backward::Context;
use crate::mode;
use crate::op::Op;
use crate::var::Var;

impl Var {
    /// See [`Tensor::matmul`](gradus_tensor::Tensor::matmul).
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
    pub fn linear(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let inputs: Vec<&Var> = [Some(self), Some(weight), bias].into_iter().flatten().collect();
        if mode::has_int8_weights() {
            return linear_int8(&inputs, false);
        }
        let operands = Operands::of(self, weight)?;
        let y = operands.x.linear(&operands.w, bias.map(Var::tensor))?;
        Var::record(Op::Linear, y, &inputs, move |c| operands.rule(c, c.grad()))
    }

    /// See [`Tensor::linear_gelu`](gradus_tensor::Tensor::linear_gelu): with z = x·Wᵀ + b, the rule
    /// of [`linear`](Var::linear) for the gradient G·GELU′(z). Saves z besides the inputs.
    pub fn linear_gelu(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let inputs: Vec<&Var> = [Some(self), Some(weight), bias].into_iter().flatten().collect();
        if mode::has_int8_weights() {
            return linear_int8(&inputs, true);
        }
        let keep = Var::is_recorded(&inputs);
        let operands = Operands::of(self, weight)?;
        let (y, z) = operands.x.linear_gelu(&operands.w, bias.map(Var::tensor), keep)?;
        Var::record(Op::LinearGelu, y, &inputs, move |c| {
            if c.create_graph() {
                let low = operands.low();
                return c.composed(|x| {
                    mode::autocast(low, || linear_gelu_composed(x[0], x[1], x.get(2).copied()))
                });
            }
            let Some(z) = &z else { unreachable!("what is recorded was kept") };
            let grad = z.unary_backward(UnaryOp::Gelu, c.grad().tensor())?;
            operands.rule(c, &Var::constant(grad))
        })
    }
}

/// The layer with its weight in 8 bits, of input, weight and perhaps bias.
fn linear_int8(inputs: &[&Var], gelu: bool) -> Result<Var> {
    if Var::is_recorded(inputs) {
        bail!("linear", "weights of 8 bits have no gradient; run the model under no_grad");
    }
    let bias = inputs.get(2).map(|bias| bias.tensor());
    Ok(Var::constant(inputs[0].tensor().linear_int8(inputs[1].tensor(), bias, gelu)?))
}

/// The composed reference of [`Var::linear_gelu`].
pub fn linear_gelu_composed(x: &Var, weight: &Var, bias: Option<&Var>) -> Result<Var> {
    x.linear(weight, bias)?.gelu()
}

/// The operands of a linear layer as its kernel takes them: converted under autocast.
struct Operands {
    x: Tensor,
    w: Tensor,
    /// Dtype of the weight itself, where it was converted.
    from: Option<DType>,
}

impl Operands {
    fn of(x: &Var, w: &Var) -> Result<Operands> {
        let low = mode::autocast_dtype().filter(|&low| low != w.dtype() && w.dtype() == DType::F32);
        let Some(low) = low else {
            return Ok(Operands { x: x.tensor().clone(), w: w.tensor().clone(), from: None });
        };
        let x = x.tensor().to_dtype(low)?;
        Ok(Operands { x, w: w.tensor().to_dtype_kept(low)?, from: Some(w.dtype()) })
    }

    /// The dtype to which they were converted.
    fn low(&self) -> Option<DType> {
        self.from.map(|_| self.w.dtype())
    }

    /// The gradients of x·Wᵀ + b, whose own is `g`.
    fn rule(&self, c: &Context, g: &Var) -> Result<Vec<Option<Var>>> {
        let (x, w) = (c.input(0), c.input(1));
        let rows = x.shape()[..x.rank() - 1].iter().product();
        let g = g.reshape(&[rows, w.size(0)?])?;
        // The sums of the weight's and the bias's gradients are f32 already; they are not rounded.
        if let (Some(from), false) = (self.from, c.create_graph()) {
            let (g, x_low) = (g.tensor(), self.x.reshape(&[rows, w.size(1)?])?);
            let of = |t: Result<Tensor>| Ok(Var::constant(t?));
            let dx = || of(g.matmul(&self.w)?.to_dtype(x.dtype())?.reshape(c.input_shape(0)));
            let dw = || of(g.t()?.matmul_out_dtype(&x_low, from));
            let db = || of(g.sum_in(&[0], false, c.input(2).dtype()));
            return if c.inputs() == 3 { c.each(&[&dx, &dw, &db]) } else { c.each(&[&dx, &dw]) };
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
