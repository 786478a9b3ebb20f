//! `lm`: the next word of raw text (Radford et al. 2019).

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward};
use gradus_tensor::{RngKey, Tensor};

use super::guess::{Guess, all_guesses, batch_of, ids_on};
use super::reading::Reading;
use crate::data::Corpus;
use crate::encoder::MAX_LOGITS;
use crate::evaluation::{Evaluation, Examiner, Metric};
use crate::training::{ReadTokens, Task};
use crate::{CausalLm, EncoderInput, Error, Result, Tokenizer};

/// Text as blocks of tokens, for an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The tokens of each block. A block begins with the last token of the one before it, so that
    /// every token but the first is predicted once.
    pub ids: Vec<Vec<u32>>,
    /// The bytes of the text.
    pub bytes: usize,
}

impl Blocks {
    /// The blocks of a text, of at most `length` tokens.
    ///
    /// # Errors
    /// When the text cannot be encoded, or a block has no room for a token and the next.
    pub fn of(text: &str, tokenizer: &Tokenizer, length: usize) -> Result<Self> {
        let ids = tokenizer.encode_long(text)?;
        Ok(Blocks { ids: blocks(&ids, length, 0)?, bytes: text.len() })
    }

    /// The numbers of all predicted tokens of some blocks, from a text of so many bytes.
    pub fn evaluation(found: &[Guess], blocks: usize, bytes: u64) -> Evaluation {
        let (loss, accuracy) = Guess::loss_and_accuracy(found);
        let bits = Guess::nats(found) / std::f64::consts::LN_2;
        let values = [
            ("perplexity", loss.exp()),
            ("bits_per_byte", bits / bytes.max(1) as f64),
            ("accuracy", accuracy),
        ];
        Evaluation::new(blocks, loss, values)
    }
}

/// Cuts tokens into blocks of `length`, of which the first ends after `shift` tokens if that is
/// above 0. Neighbours share a token.
fn blocks(ids: &[u32], length: usize, shift: usize) -> Result<Vec<Vec<u32>>> {
    if length < 2 {
        return Err(Error::Input(format!(
            "a maximum length of {length} has no room for a token and the next one"
        )));
    }
    let (mut blocks, mut start, mut end) = (Vec::new(), 0, if shift > 0 { shift } else { length });
    while start + 1 < ids.len() {
        end = end.min(ids.len());
        if end - start > 1 {
            blocks.push(ids[start..end].to_vec());
        }
        (start, end) = (end - 1, end - 1 + length);
    }
    Ok(blocks)
}

/// Training of a [`CausalLm`] on raw text.
///
/// The text is read window by window ([`Corpus`]), so that memory does not grow with it. In each
/// epoch blocks begin at other places, which are drawn from (seed, epoch, window).
pub struct CausalLanguageModel {
    model: CausalLm,
    text: Reading,
    tokenizer: Tokenizer,
    max_length: usize,
    /// The tokens of the open window.
    ids: Vec<u32>,
    train: Vec<Vec<u32>>,
    lengths: Vec<usize>,
    examples: usize,
}

impl CausalLanguageModel {
    /// The task of training `model` on the text of `corpus`, in blocks of `max_length` tokens.
    ///
    /// # Errors
    /// When the first window cannot be read or holds fewer than two tokens.
    pub fn new(
        model: CausalLm,
        corpus: Corpus,
        tokenizer: Tokenizer,
        (max_length, seed): (usize, u64),
    ) -> Result<Self> {
        let (ids, train, lengths) = (Vec::new(), Vec::new(), Vec::new());
        let mut task = CausalLanguageModel {
            model,
            text: Reading::new(corpus, seed),
            tokenizer,
            max_length,
            ids,
            train,
            lengths,
            examples: 0,
        };
        task.open_window(0, 0)?;
        if task.train.is_empty() {
            return Err(Error::Input("the first part of the text has no two tokens".into()));
        }
        task.examples = task.text.examples(task.train.len());
        Ok(task)
    }

    /// The model.
    pub fn model(&self) -> &CausalLm {
        &self.model
    }

    /// The text.
    pub fn corpus(&self) -> &Corpus {
        &self.text.corpus
    }

    /// The window of the text that is in memory.
    pub fn open(&self) -> usize {
        self.text.open
    }

    /// The blocks of the open window.
    pub fn blocks(&self) -> &[Vec<u32>] {
        &self.train
    }
}

/// What a model says of each token of some blocks but the first of a block. `numbers` reads a
/// tensor.
pub(crate) fn next_guesses(
    model: &CausalLm,
    blocks: &[&[u32]],
    numbers: impl Fn(&Tensor) -> Result<Vec<f32>>,
) -> Result<Vec<Guess>> {
    let (input, [places, next]) = packed(model, blocks)?;
    let states = model.encoder().forward(&input, &Forward::inference())?;
    // Not all logits at once.
    let rows = (MAX_LOGITS / model.encoder().config().vocab_size).max(1);
    let mut found = Vec::with_capacity(next.len());
    for (places, truths) in places.chunks(rows).zip(next.chunks(rows)) {
        let places = ids_on(model.encoder().device(), places)?;
        let logits = model.decode(&states.index_select(0, &places)?)?;
        found.extend(Guess::of_logits(logits.tensor(), truths, &numbers)?);
    }
    Ok(found)
}

/// A batch of blocks, the places whose next token is in the block too, and those tokens.
fn packed(model: &CausalLm, blocks: &[&[u32]]) -> Result<(EncoderInput, [Vec<u32>; 2])> {
    let (input, batch) = batch_of(model.encoder(), blocks)?;
    let places = batch.ranges().flat_map(|range| range.start..range.end - 1);
    let places = places.map(|place| place as u32).collect();
    let next = blocks.iter().flat_map(|block| &block[1..]).copied().collect();
    Ok((input, [places, next]))
}

const METRICS: [Metric; 3] = [
    Metric::number("perplexity", "perplexity").lower_is_better(),
    Metric::number("bits_per_byte", "bits per byte of the text").lower_is_better(),
    Metric::percent("accuracy", "accuracy of the next token"),
];

impl Task for CausalLanguageModel {
    type Set = Blocks;
    /// The tokens, in the order of the text.
    type Findings = Vec<Guess>;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn sequences(&self, batch: &[usize], _: &[String]) -> Vec<ReadTokens> {
        let blocks = batch.iter().map(|&i| self.train[i].clone());
        blocks.map(|ids| ReadTokens { ids, target: None }).collect()
    }

    fn terms(&self, batch: &[usize]) -> f64 {
        batch.iter().map(|&i| (self.lengths[i] - 1) as f64).sum()
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let blocks: Vec<&[u32]> = batch.iter().map(|&i| &self.train[i][..]).collect();
        let (input, [places, next]) = packed(&self.model, &blocks)?;
        let device = self.model.encoder().device();
        let (places, next) = (ids_on(device, &places)?, ids_on(device, &next)?);
        self.model.loss(&input, &places, &next, &CrossEntropy::default(), forward)
    }

    fn is_head(&self, name: &str) -> bool {
        crate::family::is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        &METRICS
    }

    fn examine(
        &self,
        set: &Blocks,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let lengths: Vec<usize> = set.ids.iter().map(Vec::len).collect();
        let found = all_guesses(
            &lengths,
            |i| &set.ids[i][1..],
            examiner,
            |batch| {
                let blocks: Vec<&[u32]> = batch.iter().map(|&i| &set.ids[i][..]).collect();
                next_guesses(&self.model, &blocks, |tensor| Ok(tensor.to_vec::<f32>()?))
            },
        )?;
        Ok((Blocks::evaluation(&found, set.ids.len(), set.bytes as u64), found))
    }

    fn examples(&self) -> usize {
        self.examples
    }

    fn windows(&self) -> usize {
        self.text.corpus.windows()
    }

    fn open_window(&mut self, epoch: u64, window: usize) -> Result<()> {
        if let Some(text) = self.text.next(epoch, window)? {
            self.ids = self.tokenizer.encode_long(&text)?;
        }
        let key = RngKey::new(self.text.seed).place("blocks");
        let drawn = key.step(epoch).step(window as u64).word(0) as usize;
        // The first epoch begins at the first token.
        let shift = if epoch == 0 { 0 } else { drawn % self.max_length.max(1) };
        self.train = blocks(&self.ids, self.max_length, shift)?;
        self.lengths = self.train.iter().map(Vec::len).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_predict_every_token_once() {
        let ids: Vec<u32> = (0..23).collect();
        for shift in 0..8 {
            for n in [0, 1, 2, 7, 8, 9, 15, 16, 23] {
                let blocks = blocks(&ids[..n], 8, shift).unwrap();
                let predicted: Vec<u32> = blocks.iter().flat_map(|b| b[1..].to_vec()).collect();
                assert_eq!(predicted, ids[1.min(n)..n], "{n} tokens, shift {shift}");
                assert!(blocks.iter().all(|block| (2..=8).contains(&block.len())));
            }
        }
        assert!(blocks(&ids, 1, 0).is_err());
    }
}
