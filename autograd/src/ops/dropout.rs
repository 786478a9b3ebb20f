//! Dropout (Srivastava et al., JMLR 2014): linear, so the gradient passes the same mask.

use gradus_tensor::{Result, RngKey};
use serde_json::json;

use crate::op::Op;
use crate::trace::Told;
use crate::var::Var;

impl Var {
    /// See [`Tensor::dropout`](gradus_tensor::Tensor::dropout). The mask is made again in backward.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let x = Var::leaf(Tensor::ones(&[1000], DType::F32)?);
    /// let y = x.dropout(0.5, RngKey::new(0))?; // about half become 0, the others 2
    /// assert!(y.eq(0.0)?.logical_or(&y.eq(2.0)?)?.all(&[], false)?.item()? == 1.0);
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_f64_vec(), y.tensor().to_f64_vec());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout(&self, p: f64, key: RngKey) -> Result<Var> {
        let told = Told::new().set("p", || json!(p));
        Var::record_told(Op::Dropout, self.tensor().dropout(p, key)?, &[self], told, move |c| {
            Ok(vec![Some(c.grad().dropout(p, key)?)])
        })
    }
}
