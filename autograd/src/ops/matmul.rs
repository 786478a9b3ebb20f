//! Matrix products: dA = G·Bᵀ, dB = Aᵀ·G.

use gradus_tensor::Result;

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
        let with_bias = bias.is_some();
        Var::record(Op::Linear, y, &inputs, move |c| {
            let (x, w) = (c.input(0), c.input(1));
            let rows = x.shape()[..x.rank() - 1].iter().product();
            let g = c.grad().reshape(&[rows, w.size(0)?])?;
            let dx = || g.matmul(w)?.reshape(c.input_shape(0));
            let dw = || g.t()?.matmul(&x.reshape(&[rows, w.size(1)?])?);
            let db = || g.sum(&[0], false);
            if with_bias { c.each(&[&dx, &dw, &db]) } else { c.each(&[&dx, &dw]) }
        })
    }
}
