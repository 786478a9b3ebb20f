//! Sparse vectors: a number for each token of the vocabulary, from a masked language model.
//!
//! SPLADE (Formal et al., arXiv:2109.10086): a token's number is the largest of
//! `ln(1 + max(0, logit))` over the places of a text, special tokens included; most are 0.

use std::borrow::Borrow;
use std::ops::Range;

use gradus_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::FillMask;
use crate::folder::Splade;
use crate::{Encoding, Result};

/// A number of a sparse vector that is not 0, as text-embeddings-inference writes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SparseValue {
    /// The id of the token whose number it is.
    pub index: u32,
    /// The number, above 0.
    pub value: f32,
}

/// The most logits of a batch, in elements: 128 MiB. A text that has more is a batch of its own.
const MAX_LOGITS: usize = 32 << 20;

impl FillMask {
    /// The sparse vectors of texts with a prompt before each, by ascending ids: those of
    /// `SparseEncoder.encode` in sentence-transformers for a folder of its own (`SpladePooling`), and
    /// for any other masked language model those of SPLADE with the maximum.
    ///
    /// # Errors
    /// When a text cannot be encoded, or an output is not a number (the error names the weight to
    /// blame).
    pub fn sparse<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        prompt: &str,
    ) -> Result<Vec<Vec<SparseValue>>> {
        let prompted: Vec<(String, Option<String>)> =
            texts.iter().map(|text| (format!("{prompt}{}", text.as_ref()), None)).collect();
        self.sparse_encoded(&self.encode(&prompted)?)
    }

    /// As [`FillMask::sparse`], for texts that are encoded already.
    ///
    /// # Errors
    /// When an encoding does not fit the model, or an output is not a number (the error names the
    /// weight to blame).
    pub fn sparse_encoded<E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
    ) -> Result<Vec<Vec<SparseValue>>> {
        let most = MAX_LOGITS / self.config().vocab_size.max(1);
        let mut vectors = Vec::with_capacity(encodings.len());
        let mut rest = encodings;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = |e: &&E| {
                tokens += (*e).borrow().len();
                tokens <= most
            };
            let (batch, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            vectors.extend(self.sparse_batch(batch)?);
            rest = others;
        }
        Ok(vectors)
    }

    fn sparse_batch<E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
    ) -> Result<Vec<Vec<SparseValue>>> {
        self.run(encodings, |input, packed, _| {
            let logits = self.all_logits(input, packed)?.into_tensor();
            let vector = |range: Range<usize>| {
                let rows = logits.narrow(0, range.start, range.len())?;
                let values = self.numbers(&self.splade.pooled(&rows)?)?;
                Ok(nonzero(&values))
            };
            packed.ranges().map(vector).collect()
        })
    }
}

impl Splade {
    /// The vector of a text's logits, tokens × vocabulary.
    fn pooled(self, logits: &Tensor) -> Result<Tensor> {
        let scaled = |logits: &Tensor| {
            let once = logits.relu()?.log1p()?;
            if self.twice { once.log1p() } else { Ok(once) }
        };
        // The largest number is that of the largest logit.
        Ok(match self.sum {
            true => scaled(logits)?.sum(&[0], false)?,
            false => scaled(&logits.max(&[0], false)?)?,
        })
    }
}

fn nonzero(values: &[f32]) -> Vec<SparseValue> {
    let all = (0..).zip(values).filter(|(_, value)| **value > 0.0);
    all.map(|(index, &value)| SparseValue { index, value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_takes_the_largest_or_the_sum() {
        let logits = Tensor::from_slice(&[1f32, -2.0, 0.0, 3.0, -1.0, 0.5], &[2, 3]).unwrap();
        let of =
            |sum, twice| Splade { sum, twice }.pooled(&logits).unwrap().to_vec::<f32>().unwrap();
        let ln = f32::ln_1p;
        assert_eq!(of(false, false), [ln(3.0), 0.0, ln(0.5)]);
        let close = |a: Vec<f32>, b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(of(true, false), [ln(1.0) + ln(3.0), 0.0, ln(0.5)]));
        assert!(close(of(false, true), [ln(ln(3.0)), 0.0, ln(ln(0.5))]));
        let values = nonzero(&of(false, false));
        assert_eq!(values.iter().map(|v| v.index).collect::<Vec<_>>(), [0, 2]);
    }
}
