//! Matrix products: dA = G·Bᵀ, dB = Aᵀ·G.

use gradus_tensor::Result;
use gradus_tensor::ops::unary::UnaryOp;

use crate::backward::Context;
use crate::op::Op;
use crate::var::Var;

impl Var {
    /// See [`Tensor::matmul`](gradus_tensor::Tensor::matmul).
    pub fn matmul(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().matmul(other.tensor())?;
        Var::record(Op::Matmul, y, &[self, other], |c| {
            let g = c.grad();
            c.each(&[&|| g.matmul(&c.input(1).t()?)?.sum_to(c.input_shape(0)), &|| {
                c.input(0).t()?.matmul(g)?.sum_to(c.input_shape(1))
            }])
        })
    }

    /// See [`Tensor::linear`](gradus_tensor::Tensor::linear): dx = G·W, dW = Gᵀ·x, db = ΣG.
    pub fn linear(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let y = self.tensor().linear(weight.tensor(), bias.map(Var::tensor))?;
        let inputs: Vec<&Var> = [Some(self), Some(weight), bias].into_iter().flatten().collect();
        Var::record(Op::Linear, y, &inputs, move |c| linear_rule(c, c.grad()))
    }

    /// See [`Tensor::linear_gelu`](gradus_tensor::Tensor::linear_gelu): with z = x·Wᵀ + b, the rule
    /// of [`linear`](Var::linear) for the gradient G·GELU′(z). Saves z besides the inputs.
    pub fn linear_gelu(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let inputs: Vec<&Var> = [Some(self), Some(weight), bias].into_iter().flatten().collect();
        let keep = Var::is_recorded(&inputs);
        let (y, z) = self.tensor().linear_gelu(weight.tensor(), bias.map(Var::tensor), keep)?;
        Var::record(Op::LinearGelu, y, &inputs, move |c| {
            if c.create_graph() {
                return c.composed(|x| linear_gelu_composed(x[0], x[1], x.get(2).copied()));
            }
            let Some(z) = &z else { unreachable!("what is recorded was kept") };
            let grad = z.unary_backward(UnaryOp::Gelu, c.grad().tensor())?;
            linear_rule(c, &Var::constant(grad))
        })
    }
}

/// The composed reference of [`Var::linear_gelu`].
pub fn linear_gelu_composed(x: &Var, weight: &Var, bias: Option<&Var>) -> Result<Var> {
    x.linear(weight, bias)?.gelu()
}

/// The gradients of x·Wᵀ + b, whose own is `g`.
fn linear_rule(c: &Context, g: &Var) -> Result<Vec<Option<Var>>> {
    let (x, w) = (c.input(0), c.input(1));
    let rows = x.shape()[..x.rank() - 1].iter().product();
    let g = g.reshape(&[rows, w.size(0)?])?;
    let dx = || g.matmul(w)?.reshape(c.input_shape(0));
    let dw = || g.t()?.matmul(&x.reshape(&[rows, w.size(1)?])?);
    let db = || g.sum(&[0], false);
    if c.inputs() == 3 { c.each(&[&dx, &dw, &db]) } else { c.each(&[&dx, &dw]) }
}
