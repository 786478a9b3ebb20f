//! Gated linear units.

use gradus_tensor::Result;
use gradus_tensor::ops::glu::Glu;
use serde_json::json;

use crate::op::Op;
use crate::trace::Told;
use crate::var::Var;

/// The composed reference of [`Var::glu`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_autograd::ops::glu::glu_composed;
/// # use gradus_tensor::Tensor;
/// let x = Var::constant(Tensor::from_slice(&[3f32, 0.0], &[2])?);
/// assert_eq!(glu_composed(&x, Default::default())?.to_string(), "[1.5]"); // 3·σ(0)
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn glu_composed(x: &Var, options: Glu) -> Result<Var> {
    let half = x.size(-1)? / 2;
    let (a, b) = (x.narrow(-1, 0, half)?, x.narrow(-1, half, half)?);
    let (gate, other) = if options.gate_first { (a, b) } else { (b, a) };
    gate.unary(options.gate.unary())?.mul(&other)
}

impl Var {
    /// See [`Tensor::glu`](gradus_tensor::Tensor::glu). Fused, forward and backward.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::ops::glu::{Gate, Glu};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[3f32, 10.0], &[2])?);
    /// let y = x.glu(Glu { gate: Gate::Relu, gate_first: true })?;
    /// assert_eq!(y.to_string(), "[30.]");
    /// assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().to_string(), "[10.  3.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn glu(&self, options: Glu) -> Result<Var> {
        let told = Told::new()
            .set("gate", || json!(options.gate.unary().name()))
            .set("gate_first", || json!(options.gate_first));
        Var::record_told(Op::Glu, self.tensor().glu(options)?, &[self], told, move |c| {
            if c.create_graph() {
                return c.composed(|x| glu_composed(x[0], options));
            }
            let dx = c.input(0).tensor().glu_backward(c.grad().tensor(), options)?;
            Ok(vec![Some(Var::constant(dx))])
        })
    }
}
