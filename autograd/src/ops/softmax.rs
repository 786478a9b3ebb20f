//! Softmax: dx = y·(g − Σg·y). Log-softmax: dx = g − eʸ·Σg.

use gradus_tensor::Result;
use serde_json::json;

use crate::op::Op;
use crate::trace::Told;
use crate::var::Var;

impl Var {
    /// See [`Tensor::softmax`](gradus_tensor::Tensor::softmax).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[0f32, 0.0, 1.0], &[3])?);
    /// let p = x.softmax(0)?;
    /// assert_eq!(p.to_string(), "[0.2119 0.2119 0.5761]");
    /// let grads = p.i(2)?.backward()?; // p₂·(0 − p₀), p₂·(0 − p₁), p₂·(1 − p₂)
    /// assert_eq!(grads.get(&x).unwrap().to_string(), "[-0.1221 -0.1221  0.2442]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn softmax(&self, dim: isize) -> Result<Var> {
        let x = &self.raised()?;
        let told = Told::new().set("dim", || json!(dim));
        Var::record_told(Op::Softmax, x.tensor().softmax(dim)?, &[x], told, move |c| {
            let (y, g) = (c.output(), c.grad());
            Ok(vec![Some(if c.create_graph() {
                y.mul(&g.sub(&g.mul(&y)?.sum(&[dim], true)?)?)?
            } else {
                Var::constant(y.tensor().softmax_backward(g.tensor(), dim)?)
            })])
        })
    }

    /// See [`Tensor::log_softmax`](gradus_tensor::Tensor::log_softmax).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[0f32, 0.0], &[2])?);
    /// let y = x.log_softmax(0)?;
    /// assert_eq!(y.to_string(), "[-0.6931 -0.6931]"); // −ln 2
    /// let grads = y.i(1)?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_string(), "[-0.5  0.5]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn log_softmax(&self, dim: isize) -> Result<Var> {
        let x = &self.raised()?;
        let told = Told::new().set("dim", || json!(dim));
        Var::record_told(Op::LogSoftmax, x.tensor().log_softmax(dim)?, &[x], told, move |c| {
            let (y, g) = (c.output(), c.grad());
            Ok(vec![Some(if c.create_graph() {
                g.sub(&y.exp()?.mul(&g.sum(&[dim], true)?)?)?
            } else {
                Var::constant(y.tensor().log_softmax_backward(g.tensor(), dim)?)
            })])
        })
    }
}
