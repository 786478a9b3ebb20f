//! What a language model says of tokens, masked ones or next ones.

use gradus_nn::{CrossEntropy, Reduction};
use gradus_tensor::{Device, Tensor};

use crate::batch::each_batch;
use crate::evaluation::{Evaluation, Examiner};
use crate::{Encoder, EncoderInput, PackedBatch, Result};

/// What a model says of a token that it predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The token that stood there.
    pub truth: u32,
    /// The most probable one.
    pub predicted: u32,
    /// The negative logarithm of the probability of the true one.
    pub loss: f32,
}

impl Guess {
    /// The guesses of `truths` from their logits `[truths, vocabulary]`. `numbers` reads a tensor.
    pub(super) fn of_logits(
        logits: &Tensor,
        truths: &[u32],
        numbers: impl Fn(&Tensor) -> Result<Vec<f32>>,
    ) -> Result<Vec<Guess>> {
        let each = CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() };
        let targets = ids_on(logits.device(), truths)?;
        let losses = numbers(&logits.cross_entropy(&targets, &each)?.0)?;
        let predicted = logits.argmax(-1, false)?.to_vec::<u32>()?;
        let rows = truths.iter().zip(predicted).zip(losses);
        Ok(rows.map(|((&truth, predicted), loss)| Guess { truth, predicted, loss }).collect())
    }

    /// What a rank sends of it, for [`Guess::of`]. An id is below 2^24, and so whole as a float.
    fn numbers(self) -> [f32; 2] {
        [self.predicted as f32, self.loss]
    }

    /// The guess of a token from its numbers.
    fn of(truth: u32, numbers: &[f32]) -> Guess {
        Guess { truth, predicted: numbers[0] as u32, loss: numbers[1] }
    }

    /// The mean of the losses, in nats, and the share of the guesses that are right.
    pub(super) fn loss_and_accuracy(guesses: &[Guess]) -> (f64, f64) {
        let tokens = guesses.len().max(1) as f64;
        let right = guesses.iter().filter(|guess| guess.predicted == guess.truth).count();
        (Guess::nats(guesses) / tokens, right as f64 / tokens)
    }

    /// The sum of the losses.
    pub(super) fn nats(guesses: &[Guess]) -> f64 {
        guesses.iter().map(|guess| f64::from(guess.loss)).sum()
    }

    /// The numbers of all masked tokens of some blocks.
    pub fn evaluation(guesses: &[Guess], blocks: usize) -> Evaluation {
        let (loss, accuracy) = Guess::loss_and_accuracy(guesses);
        Evaluation::new(blocks, loss, [("perplexity", loss.exp()), ("accuracy", accuracy)])
    }
}

/// What a model says of the tokens of all blocks of an evaluation, in their order. `truths` gives the
/// tokens of a block that are predicted; `compute` gives what the model says of those of a batch.
pub(super) fn all_guesses<'a>(
    lengths: &[usize],
    truths: impl Fn(usize) -> &'a [u32],
    examiner: &mut dyn Examiner,
    compute: impl Fn(&[usize]) -> Result<Vec<Guess>> + Sync,
) -> Result<Vec<Guess>> {
    let mut found = vec![Vec::new(); lengths.len()];
    let compute =
        |batch: &[usize]| Ok(compute(batch)?.into_iter().flat_map(Guess::numbers).collect());
    each_batch(lengths, 16, examiner, compute, |batch, numbers| {
        let mut pairs = numbers.chunks_exact(2);
        for &i in batch {
            let pairs = truths(i).iter().zip(pairs.by_ref());
            found[i] = pairs.map(|(&truth, pair)| Guess::of(truth, pair)).collect();
        }
        Ok(())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// A batch of blocks of tokens, all of type 0, on the device of `encoder`.
pub(super) fn batch_of(
    encoder: &Encoder,
    blocks: &[&[u32]],
) -> Result<(EncoderInput, PackedBatch)> {
    let longest = blocks.iter().map(|block| block.len()).max().unwrap_or(0);
    let types = vec![0; longest];
    let parts = blocks.iter().map(|block| (*block, &types[..block.len()]));
    let packed = PackedBatch::from_parts(parts, encoder.config())?;
    Ok((EncoderInput::new(&packed)?.to_device(encoder.device())?, packed))
}

/// Ids or places, u32 `[n]`, on a device.
pub(super) fn ids_on(device: Device, ids: &[u32]) -> Result<Tensor> {
    Ok(Tensor::from_slice(ids, &[ids.len()])?.to_device(device)?)
}
