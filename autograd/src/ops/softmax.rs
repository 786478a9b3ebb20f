//! Softmax: dx = y·(g − Σg·y). Log-softmax: dx = g − eʸ·Σg.

use gradus_tensor::Result;

use crate::op::Op;
use crate::var::Var;

impl Var {
    /// See [`Tensor::softmax`](gradus_tensor::Tensor::softmax).
    pub fn softmax(&self, dim: isize) -> Result<Var> {
        let x = &self.raised()?;
        Var::record(Op::Softmax, x.tensor().softmax(dim)?, &[x], move |c| {
            let (y, g) = (c.output(), c.grad());
            Ok(vec![Some(if c.create_graph() {
                y.mul(&g.sub(&g.mul(&y)?.sum(&[dim], true)?)?)?
            } else {
                Var::constant(y.tensor().softmax_backward(g.tensor(), dim)?)
            })])
        })
    }

    /// See [`Tensor::log_softmax`](gradus_tensor::Tensor::log_softmax).
    pub fn log_softmax(&self, dim: isize) -> Result<Var> {
        let x = &self.raised()?;
        Var::record(Op::LogSoftmax, x.tensor().log_softmax(dim)?, &[x], move |c| {
            let (y, g) = (c.output(), c.grad());
            Ok(vec![Some(if c.create_graph() {
                g.sub(&y.exp()?.mul(&g.sum(&[dim], true)?)?)?
            } else {
                Var::constant(y.tensor().log_softmax_backward(g.tensor(), dim)?)
            })])
        })
    }
}
