//! Pooling: from the states of the tokens to one vector for each sequence.
//!
//! The modes are those of sentence-transformers' `Pooling`. A prompt at the beginning of a sequence
//! may be left out: its tokens then count for nothing, but the other tokens keep their places.

use std::ops::Range;

use gradus_autograd::Var;
use gradus_tensor::Tensor;

use super::{EncoderInput, mean_pool};
use crate::{Pooling, Result};

/// The tokens of a batch that are pooled.
pub(crate) struct Pooled {
    /// The pooled tokens of each sequence.
    ranges: Vec<Range<usize>>,
    /// How many tokens of each sequence come before its range.
    before: Vec<usize>,
}

impl Pooled {
    /// All tokens except the first `left_out` of each sequence. A sequence without further tokens
    /// is pooled whole.
    pub fn new(input: &EncoderInput, left_out: &[usize]) -> Result<Pooled> {
        let offsets = input.offsets.to_vec::<u32>()?;
        let (mut ranges, mut before) = (Vec::new(), Vec::new());
        for (i, ends) in offsets.windows(2).enumerate() {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            let skipped = left_out.get(i).copied().unwrap_or(0);
            let skipped = if skipped < end - start { skipped } else { 0 };
            ranges.push(start + skipped..end);
            before.push(skipped);
        }
        Ok(Pooled { ranges, before })
    }

    /// One vector for each sequence by `mode`, `[sequences, hidden]`, of the states `[tokens,
    /// hidden]`.
    pub fn pool(&self, states: &Var, mode: Pooling) -> Result<Var> {
        match mode {
            Pooling::Cls => self.pick(states, |range| range.start),
            Pooling::LastToken => self.pick(states, |range| range.end - 1),
            Pooling::Max => {
                let rows: Vec<Var> = self
                    .ranges
                    .iter()
                    .map(|range| states.narrow(0, range.start, range.len())?.max(&[0], false))
                    .collect::<gradus_tensor::Result<_>>()?;
                Ok(Var::stack(&rows.iter().collect::<Vec<_>>(), 0)?)
            }
            Pooling::Mean => self.weighted(states, |n, _| 1.0 / n as f32),
            Pooling::MeanSqrtLen => self.weighted(states, |n, _| 1.0 / (n as f32).sqrt()),
            Pooling::WeightedMean => {
                let sums: Vec<f64> = self
                    .ranges
                    .iter()
                    .zip(&self.before)
                    .map(|(range, &before)| {
                        (before + 1..=before + range.len()).map(|place| place as f64).sum()
                    })
                    .collect();
                let rows = self.rows(|i, place| ((place + 1) as f64 / sums[i]) as f32);
                self.sum(states, &rows)
            }
        }
    }

    /// One token of each sequence.
    fn pick(&self, states: &Var, which: impl Fn(&Range<usize>) -> usize) -> Result<Var> {
        let ids: Vec<u32> = self.ranges.iter().map(|range| which(range) as u32).collect();
        let ids = Tensor::from_slice(&ids, &[ids.len()])?;
        Ok(states.index_select(0, &ids.to_device(states.tensor().device())?)?)
    }

    /// The sum of a sequence's tokens. The weight of a token is a function of the number of pooled
    /// tokens and of its place.
    fn weighted(&self, states: &Var, weight: impl Fn(usize, usize) -> f32) -> Result<Var> {
        let rows = self.rows(|i, place| weight(self.ranges[i].len(), place));
        self.sum(states, &rows)
    }

    /// A weight for each pooled token, from its sequence and its place in it.
    fn rows(&self, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let places = self.ranges.iter().zip(&self.before).enumerate();
        places
            .flat_map(|(i, (range, &before))| (before..before + range.len()).map(move |p| (i, p)))
            .map(|(i, place)| weight(i, place))
            .collect()
    }

    fn sum(&self, states: &Var, weights: &[f32]) -> Result<Var> {
        let device = states.tensor().device();
        let place = |values: &[u32]| Tensor::from_slice(values, &[values.len()])?.to_device(device);
        let tokens: Vec<u32> =
            self.ranges.iter().flat_map(|range| range.clone().map(|at| at as u32)).collect();
        let sequences: Vec<u32> = (0..)
            .zip(&self.ranges)
            .flat_map(|(i, range)| std::iter::repeat_n(i, range.len()))
            .collect();
        let weights = Tensor::from_slice(weights, &[weights.len(), 1])?;
        let weights = Var::constant(weights.to_dtype(states.dtype())?.to_device(device)?);
        let picked = states.index_select(0, &place(&tokens)?)?.mul(&weights)?;
        let shape = [self.ranges.len(), states.size(-1)?];
        let zeros = Var::constant(Tensor::zeros_on(&shape, states.dtype(), device)?);
        Ok(zeros.index_add(0, &place(&sequences)?, &picked)?)
    }
}

/// The vectors of all modes end to end, `[sequences, modes·hidden]`, of the states `[tokens,
/// hidden]`, without the first `left_out` tokens of each sequence.
pub(crate) fn pool(
    states: &Var,
    input: &EncoderInput,
    modes: &[Pooling],
    left_out: &[usize],
) -> Result<Var> {
    if modes == [Pooling::Mean] && left_out.iter().all(|&n| n == 0) {
        return mean_pool(states, input);
    }
    let pooled = Pooled::new(input, left_out)?;
    let vectors: Vec<Var> =
        modes.iter().map(|&mode| pooled.pool(states, mode)).collect::<Result<_>>()?;
    match vectors.as_slice() {
        [one] => Ok(one.clone()),
        several => Ok(Var::cat(&several.iter().collect::<Vec<_>>(), -1)?),
    }
}

#[cfg(test)]
mod tests {
    use gradus_tensor::Tensor;

    use super::*;
    use crate::{EncoderConfig, PackedBatch};

    fn pooled(left_out: &[usize], mode: Pooling) -> Vec<f32> {
        let config = EncoderConfig::new(9, 1, 2, 1, 2);
        let ids = [1u32; 3];
        let parts = [3usize, 1].map(|n| (&ids[..n], &ids[..n]));
        let batch =
            PackedBatch::from_parts(parts.map(|(i, _)| (i, &[0, 0, 0][..i.len()])), &config);
        let input = EncoderInput::new(&batch.unwrap()).unwrap();
        let states = [1f32, -5.0, 4.0, 2.0, 7.0, -6.0, 10.0, 20.0];
        let states = Var::constant(Tensor::from_slice(&states, &[4, 2]).unwrap());
        let pooled = Pooled::new(&input, left_out).unwrap().pool(&states, mode).unwrap();
        assert_eq!(pooled.shape(), [2, 2]);
        pooled.tensor().to_vec::<f32>().unwrap()
    }

    #[test]
    fn each_mode_pools_as_its_formula_says() {
        let root = 3f32.sqrt();
        for (mode, expected) in [
            (Pooling::Cls, [1.0, -5.0]),
            (Pooling::LastToken, [7.0, -6.0]),
            (Pooling::Max, [7.0, 2.0]),
            (Pooling::Mean, [4.0, -3.0]),
            (Pooling::MeanSqrtLen, [12.0 / root, -9.0 / root]),
            (Pooling::WeightedMean, [(1.0 + 8.0 + 21.0) / 6.0, (-5.0 + 4.0 - 18.0) / 6.0]),
        ] {
            let found = pooled(&[], mode);
            let all = [expected[0], expected[1], 10.0, 20.0];
            assert!(found.iter().zip(all).all(|(a, b)| (a - b).abs() < 1e-5), "{mode:?} {found:?}");
        }
    }

    #[test]
    fn a_prompt_is_left_out_and_the_places_stay() {
        // A text that is only its prompt is pooled whole.
        assert_eq!(pooled(&[3, 1], Pooling::Cls), [1.0, -5.0, 10.0, 20.0]);
        for (mode, expected) in [
            (Pooling::Cls, [4.0, 2.0]),
            (Pooling::Max, [7.0, 2.0]),
            (Pooling::Mean, [5.5, -2.0]),
            (Pooling::WeightedMean, [(8.0 + 21.0) / 5.0, (4.0 - 18.0) / 5.0]),
        ] {
            let found = pooled(&[1, 1], mode);
            let all = [expected[0], expected[1], 10.0, 20.0];
            assert!(found.iter().zip(all).all(|(a, b)| (a - b).abs() < 1e-5), "{mode:?} {found:?}");
        }
    }
}
