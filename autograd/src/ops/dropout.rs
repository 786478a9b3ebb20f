//! Dropout (Srivastava et al., JMLR 2014): linear, so the gradient passes the same mask.

use gradus_tensor::{Result, RngKey};

use crate::op::Op;
use crate::var::Var;

impl Var {
    /// See [`Tensor::dropout`](gradus_tensor::Tensor::dropout). The mask is made again in backward.
    pub fn dropout(&self, p: f64, key: RngKey) -> Result<Var> {
        Var::record(Op::Dropout, self.tensor().dropout(p, key)?, &[self], move |c| {
            Ok(vec![Some(c.grad().dropout(p, key)?)])
        })
    }
}
