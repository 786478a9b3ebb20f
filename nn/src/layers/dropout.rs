//! Dropout.

use gradus_autograd::{Var, within};
use gradus_tensor::{Result, RngKey, bail};

use crate::{Forward, Path};

/// In training, sets elements to 0 with probability p and multiplies the others by 1/(1 − p)
/// (Srivastava et al., JMLR 2014); in inference, it changes nothing.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// The probability of 0.
    pub p: f64,
    /// The name of this place, from which the random stream is derived.
    pub place: String,
}

impl Dropout {
    /// The dropout of the module at `path`. A module with several needs a path for each.
    ///
    /// ```
    /// # use gradus_nn::{Dropout, Store};
    /// let path = Store::new(0).root().join("embeddings");
    /// assert_eq!(Dropout::new(&path, 0.1)?.place, "embeddings");
    /// assert!(Dropout::new(&path, 1.5).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If p is not within 0 and 1.
    pub fn new(path: &Path, p: f64) -> Result<Self> {
        check_probability(p).map_err(|e| e.at(path.name()))?;
        Ok(Dropout { p, place: path.name().to_string() })
    }

    /// `x`, any shape → the same shape.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Dropout, Forward, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let dropout = Dropout::new(&Store::new(0).root(), 0.75)?;
    /// let x = Var::constant(Tensor::ones(&[100], DType::F32)?);
    /// let y = dropout.forward(&x, &Forward::training(0, 1))?; // each element 0 or 4
    /// assert!(y.eq(0.0)?.logical_or(&y.eq(4.0)?)?.all(&[], false)?.item()? == 1.0);
    /// let y = dropout.forward(&x, &Forward::inference())?;
    /// assert!(y.eq(1.0)?.all(&[], false)?.item()? == 1.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// In training, if p is not within 0 and 1.
    pub fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        match self.drawn(forward) {
            Some((p, key)) => {
                within(&self.place, || x.dropout(p, key)).map_err(|e| e.at(&self.place))
            }
            None => Ok(x.clone()),
        }
    }

    /// p and the stream of this pass, for an operation that applies the dropout itself; `None`
    /// where nothing is dropped.
    ///
    /// ```
    /// # use gradus_nn::{Dropout, Forward, Store};
    /// let dropout = Dropout::new(&Store::new(0).root().join("dropout"), 0.1)?;
    /// let pass = Forward::training(0, 1);
    /// assert_eq!(dropout.drawn(&pass), Some((0.1, pass.key.place("dropout"))));
    /// assert_eq!(dropout.drawn(&Forward::inference()), None);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn drawn(&self, forward: &Forward) -> Option<(f64, RngKey)> {
        let drops = forward.training && self.p != 0.0;
        drops.then(|| (self.p, forward.key.place(&self.place)))
    }
}

/// Checks the probability of a dropout.
pub(crate) fn check_probability(p: f64) -> Result<()> {
    if !(0.0..=1.0).contains(&p) {
        bail!("dropout", "the probability {p} is outside [0, 1]");
    }
    Ok(())
}
