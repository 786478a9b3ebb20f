//! The losses of pairs of texts.

use std::collections::HashSet;

use gradus_autograd::{Var, autocast};
use gradus_nn::{CrossEntropy, Reduction, losses};
use gradus_tensor::Tensor;

use super::EncodedPairs;
use crate::data::PairForm;
use crate::encoder::normalize;
use crate::{Error, Result};

/// The logit of a text that is no negative: far below all others, whose size is at most
/// 1/temperature.
const LEFT_OUT: f64 = -1e30;

/// The loss of pairs of texts.
///
/// **Pairs**, with negatives or without: the cross-entropy of finding, by the cosines divided by
/// the temperature, each first text's second text among all second texts and all negatives of the
/// batch (InfoNCE, van den Oord et al., arXiv:1807.03748; `MultipleNegativesRankingLoss`). A text
/// that is the second of the same first text, or a copy of the first text, is no negative, and a
/// text that stands there several times counts once. A pair without any negative adds 0.
///
/// **Pairs with a score**: the squared difference of cosine and score (`CosineSimilarityLoss`).
#[derive(Clone, Debug, PartialEq)]
pub struct PairLoss {
    /// What cosines are divided by.
    pub temperature: f64,
    /// Matryoshka representations (Kusupati et al., arXiv:2205.13147): the loss is the sum of the
    /// losses of the first so many numbers of the vectors, each times its weight, as
    /// `MatryoshkaLoss`. Empty for the whole vectors.
    pub dimensions: Vec<(usize, f64)>,
}

impl Default for PairLoss {
    /// A temperature of 0.05, whole vectors.
    fn default() -> Self {
        PairLoss { temperature: 0.05, dimensions: Vec::new() }
    }
}

impl PairLoss {
    /// Checks the numbers for a model whose vectors have `width` numbers.
    ///
    /// # Errors
    /// [`Error::Recipe`] for the first that is out of its range.
    pub fn validate(&self, width: usize) -> Result<()> {
        let temperature = self.temperature;
        if !(temperature.is_finite() && temperature >= 1e-6) {
            return Err(Error::recipe("temperature", temperature, "it must be 0.000001 or more"));
        }
        for (i, &(dimension, weight)) in self.dimensions.iter().enumerate() {
            if !(1..=width).contains(&dimension) {
                let requirement = format!("it must be within 1 and {width}, the model's width");
                return Err(Error::recipe("dimensions", dimension, requirement));
            }
            if self.dimensions[..i].iter().any(|known| known.0 == dimension) {
                return Err(Error::recipe("dimensions", dimension, "it must stand there once"));
            }
            if !(weight.is_finite() && weight > 0.0) {
                return Err(Error::recipe("dimension_weights", weight, "it must be above 0"));
            }
        }
        Ok(())
    }

    /// The mean loss of the examples `rows`, from the vectors of their texts: those of all first
    /// texts, then of all second ones, then of all negatives.
    pub(crate) fn of(&self, set: &EncodedPairs, rows: &[usize], vectors: &Var) -> Result<Var> {
        // The products of cosines are f32 in every precision: f16 would lose digits that the
        // temperature enlarges.
        autocast(None, || {
            let whole = [(vectors.size(-1)?, 1.0)];
            let all = if self.dimensions.is_empty() { &whole[..] } else { &self.dimensions };
            let target = Target::of(set, rows, vectors)?;
            let part = |&(dimension, weight): &(usize, f64)| -> Result<Var> {
                let unit = normalize(&vectors.narrow(-1, 0, dimension)?)?;
                Ok(self.of_unit(&target, rows.len(), &unit)?.mul_scalar(weight)?)
            };
            let parts: Vec<Var> = all.iter().map(part).collect::<Result<_>>()?;
            let mut parts = parts.into_iter();
            let first = parts.next().ok_or_else(|| Error::Input("there is no loss".into()))?;
            parts.try_fold(first, |sum, part| Ok(sum.add(&part)?))
        })
    }

    /// The loss of vectors of length 1.
    fn of_unit(&self, target: &Target, rows: usize, unit: &Var) -> Result<Var> {
        let anchors = unit.narrow(0, 0, rows)?;
        let others = unit.narrow(0, rows, unit.size(0)? - rows)?;
        match target {
            Target::Scores(scores) => {
                let cosines = anchors.mul(&others)?.sum(&[-1], false)?;
                Ok(losses::mse(&cosines, &Var::constant(scores.clone()), Reduction::Mean)?)
            }
            Target::Places { left_out, places } => {
                let logits = anchors.matmul(&others.t()?)?.mul_scalar(1.0 / self.temperature)?;
                let logits = logits.masked_fill(left_out, LEFT_OUT)?;
                Ok(logits.cross_entropy(places, &CrossEntropy::default())?)
            }
        }
    }
}

/// What the cosines of some examples should be.
enum Target {
    /// Those of each pair, `[rows]`.
    Scores(Tensor),
    /// The largest is at the row's own place.
    Places {
        /// 1 where a text is no negative of a row, u8 `[rows, texts]`.
        left_out: Tensor,
        /// u32 `[rows]`.
        places: Tensor,
    },
}

impl Target {
    fn of(set: &EncodedPairs, rows: &[usize], vectors: &Var) -> Result<Target> {
        let device = vectors.device();
        if set.form() == PairForm::Scored {
            let scores: Vec<f32> = rows.iter().map(|&row| set.rows()[row].score as f32).collect();
            let scores = Tensor::from_slice(&scores, &[rows.len()])?.to_device(device)?;
            return Ok(Target::Scores(scores));
        }
        let texts: Vec<u32> = set.order(rows).into_iter().map(|i| set.text(i)).collect();
        let (anchors, candidates) = texts.split_at(rows.len());
        let related = set.related(rows.iter().copied());
        let mut seen = HashSet::new();
        let again: Vec<bool> = candidates.iter().map(|text| !seen.insert(text)).collect();
        let mut left_out = vec![0u8; anchors.len() * candidates.len()];
        for (row, marks) in left_out.chunks_mut(candidates.len()).enumerate() {
            let belongs = &related[&anchors[row]];
            for (place, (mark, text)) in marks.iter_mut().zip(candidates).enumerate() {
                let right = belongs.contains(text) || *text == anchors[row];
                *mark = u8::from((right || again[place]) && place != row);
            }
        }
        let left_out = Tensor::from_slice(&left_out, &[anchors.len(), candidates.len()])?;
        let places: Vec<u32> = (0..rows.len() as u32).collect();
        Ok(Target::Places {
            left_out: left_out.to_device(device)?,
            places: Tensor::from_slice(&places, &[rows.len()])?.to_device(device)?,
        })
    }
}
