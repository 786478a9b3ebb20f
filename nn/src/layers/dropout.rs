//! Dropout.

use gradus_autograd::Var;
use gradus_tensor::{Result, RngKey, bail};

use crate::{Forward, Path};

/// In training, sets elements to 0 with probability p and multiplies the others by 1/(1 − p)
/// (Srivastava et al., JMLR 2014); in inference, nothing.
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
    /// # Errors
    /// If p is not within 0 and 1.
    pub fn new(path: &Path, p: f64) -> Result<Self> {
        check_probability(p).map_err(|e| e.at(path.name()))?;
        Ok(Dropout { p, place: path.name().to_string() })
    }

    /// `x`, any shape → the same shape.
    ///
    /// # Errors
    /// In training, if p is not within 0 and 1.
    pub fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        match self.drawn(forward) {
            Some((p, key)) => x.dropout(p, key).map_err(|e| e.at(&self.place)),
            None => Ok(x.clone()),
        }
    }

    /// p and the stream of this pass, for an operation that drops out by itself; `None` where
    /// nothing is dropped.
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
