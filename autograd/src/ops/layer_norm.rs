//! Layer normalisation (Ba et al., arXiv:1607.06450).

use gradus_tensor::Result;

use crate::op::Op;
use crate::var::Var;

/// The composed reference of [`Var::layer_norm`].
pub fn layer_norm_composed(x: &Var, weight: &Var, bias: &Var, eps: f64) -> Result<Var> {
    let centred = x.sub(&x.mean(&[-1], true)?)?;
    let variance = centred.square()?.mean(&[-1], true)?;
    let normed = centred.mul(&variance.add_scalar(eps)?.rsqrt()?)?;
    normed.mul(weight)?.add(bias)
}

impl Var {
    /// See [`Tensor::layer_norm`](gradus_tensor::Tensor::layer_norm). Fused, forward and backward.
    pub fn layer_norm(&self, weight: &Var, bias: &Var, eps: f64) -> Result<Var> {
        let y = self.tensor().layer_norm(weight.tensor(), bias.tensor(), eps)?;
        let (mean, rstd) = (y.mean, y.rstd);
        let y = Var::record(Op::LayerNorm, y.output, &[self, weight, bias], move |c| {
            if c.create_graph() {
                return c.composed(|v| {
                    let x = v[0].in_dtype(v[1].dtype())?;
                    layer_norm_composed(&x, v[1], v[2], eps)?.in_dtype(v[0].dtype())
                });
            }
            let (dx, dw, db) = c.input(0).tensor().layer_norm_backward(
                c.input(1).tensor(),
                &mean,
                &rstd,
                c.grad().tensor(),
            )?;
            Ok([dx, dw, db].into_iter().map(|t| Some(Var::constant(t))).collect())
        })?;
        y.lowered()
    }
}
