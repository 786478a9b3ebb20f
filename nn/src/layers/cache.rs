//! What a causal layer keeps of the tokens that it has seen.

use gradus_autograd::Var;
use gradus_tensor::{Result, Tensor};

/// The keys and the values of one sequence in one layer. A causal layer that has them computes the
/// next token alone: the states of the tokens before it do not change.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::{Forward, KeyValues, LayerConfig, PreNormLayer, Store};
/// # use gradus_tensor::{DType, RngKey, Tensor};
/// let config = LayerConfig { hidden: 4, heads: 2, causal: true, ..Default::default() };
/// let layer = PreNormLayer::new(&Store::new(0).root(), &config, true)?;
/// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
/// let ends = |n: u32| Tensor::from_slice(&[0, n], &[2]);
/// let all = layer.forward(&x, &ends(3)?, &Forward::inference())?;
///
/// let mut seen = KeyValues::default();
/// layer.step(&x.i(..2)?, &ends(2)?, &mut seen)?;
/// let last = layer.step(&x.i(2..)?, &ends(1)?, &mut seen)?;
/// assert_eq!(seen.len(), 3);
/// let difference = all.i(2..)?.sub(&last)?.abs()?.max(&[], false)?.item()?;
/// assert!(difference < 1e-6);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyValues {
    /// Keys and values, each `[tokens, hidden]`.
    kept: Option<[Tensor; 2]>,
}

impl KeyValues {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.kept.as_ref().map_or(0, |[keys, _]| keys.shape()[0])
    }

    /// Whether no token was seen yet.
    pub fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    /// Adds the keys and values of the next tokens; returns those of all.
    pub(crate) fn append(&mut self, next: [&Var; 2]) -> Result<[Var; 2]> {
        let next = next.map(|part| part.tensor());
        let all = match self.kept.take() {
            None => [next[0].contiguous()?, next[1].contiguous()?],
            Some([keys, values]) => {
                [Tensor::cat(&[&keys, next[0]], 0)?, Tensor::cat(&[&values, next[1]], 0)?]
            }
        };
        self.kept = Some(all.clone());
        Ok(all.map(Var::constant))
    }
}
