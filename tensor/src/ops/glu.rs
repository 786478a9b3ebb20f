//! Gated linear units (Dauphin et al., arXiv:1612.08083; Shazeer, arXiv:2002.05202).

use super::half::in_f32;
use super::{must_match, on_device};
use crate::{Result, Tensor, bail};
pub use gradus_base::op::glu::{Gate, Glu};

/// Checks that the last dimension has two halves.
fn check(op: &'static str, x: &Tensor) -> Result<()> {
    if x.shape().last().is_none_or(|n| n % 2 != 0) {
        bail!(op, Shape, "the last dimension must have two halves, the shape is {:?}", x.shape());
    }
    Ok(())
}

impl Tensor {
    /// The product of the two halves of the last dimension, `[…, 2·m] → […, m]`, one of them after
    /// a function: [`Glu`] says which. Computes in f32 for 16-bit floats.
    ///
    /// Composed reference: `x.chunk(2, -1)`, the function, `mul`.
    ///
    /// ```
    /// # use gradus_tensor::ops::glu::{Gate, Glu};
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[3f32, -4.0, 10.0, 20.0], &[4])?; // halves [3, −4], [10, 20]
    /// let y = x.glu(Glu { gate: Gate::Relu, gate_first: true })?;
    /// assert_eq!(y.to_string(), "[30.  0.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn glu(&self, options: Glu) -> Result<Tensor> {
        check("glu", self)?;
        let x = self.contiguous()?;
        in_f32([&x], |[x]| on_device!("glu", [x], glu::glu(x, options)))
    }

    /// The gradient of `self`, the input of [`glu`](Tensor::glu), from the result's gradient.
    ///
    /// ```
    /// # use gradus_tensor::ops::glu::{Gate, Glu};
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[3f32, -4.0, 10.0, 20.0], &[4])?;
    /// let grad = Tensor::from_slice(&[1f32, 1.0], &[2])?;
    /// let dx = x.glu_backward(&grad, Glu { gate: Gate::Relu, gate_first: true })?;
    /// assert_eq!(dx.to_string(), "[10.  0.  3.  0.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn glu_backward(&self, grad: &Tensor, options: Glu) -> Result<Tensor> {
        let op = "glu_backward";
        check(op, self)?;
        let half = self.narrow(-1, 0, self.shape()[self.rank() - 1] / 2)?;
        must_match(op, ("the gradient", grad), ("half of the input", &half))?;
        let (x, grad) = (self.contiguous()?, grad.contiguous()?);
        in_f32([&x, &grad], |[x, grad]| {
            on_device!(op, [x, grad], glu::glu_backward(x, grad, options))
        })
    }
}
