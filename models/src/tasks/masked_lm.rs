//! `mlm`: masked words of raw text (Devlin et al. 2019, section 3.1).

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward, Reduction};
use gradus_tensor::{Device, Tensor};

use super::blocks::{Block, blocks};
use super::reading::Reading;
use crate::batch::each_batch;
use crate::data::Corpus;
use crate::evaluation::{Evaluation, Examiner, Metric};
use crate::masking::{MaskedTokens, Masking, mask_tokens};
use crate::training::Task;
use crate::{EncoderInput, Error, MaskedLm, PackedBatch, Result, Tokenizer};

/// The part of the tokenizer and the masking in a task: how text becomes masked blocks.
#[derive(Clone)]
pub struct Masked {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The tokens of a block.
    pub max_length: usize,
    /// How the blocks are masked.
    pub masking: Masking,
}

impl Masked {
    /// The blocks of a text, masked as those of an evaluation: always the same.
    ///
    /// # Errors
    /// When the text cannot be encoded.
    pub fn set(&self, text: &str) -> Result<Vec<MaskedTokens>> {
        self.set_after(text, 0)
    }

    /// As [`set`](Masked::set), for a part of a text whose earlier parts had `before` blocks.
    ///
    /// # Errors
    /// When the text cannot be encoded.
    pub fn set_after(&self, text: &str, before: usize) -> Result<Vec<MaskedTokens>> {
        let blocks = blocks(text, &self.tokenizer, self.max_length)?;
        self.draw(&blocks, |at| EVALUATION | (before + at) as u64)
    }

    fn draw(&self, blocks: &[Block], step: impl Fn(usize) -> u64) -> Result<Vec<MaskedTokens>> {
        let draw = |(at, block): (usize, &Block)| {
            mask_tokens(&block.ids, &block.pieces, &self.masking, step(at))
        };
        blocks.iter().enumerate().map(draw).collect()
    }
}

/// The first stream of the masks of evaluations; training counts from 0 and never comes so far.
const EVALUATION: u64 = 1 << 63;

/// Training of a [`MaskedLm`] on raw text.
///
/// The text is read window by window ([`Corpus`]), so that memory does not grow with it. The masks
/// of a block are drawn from (seed, epoch, window, block): anew in each epoch, and the same however
/// the blocks are divided into batches.
pub struct MaskedLanguageModel {
    model: MaskedLm,
    text: Reading,
    masked: Masked,
    blocks: Vec<Block>,
    train: Vec<MaskedTokens>,
    lengths: Vec<usize>,
    examples: usize,
}

impl MaskedLanguageModel {
    /// The task of training `model` on the text of `corpus`.
    ///
    /// # Errors
    /// When the first window cannot be read or holds no word; as [`Masking::validate`].
    pub fn new(model: MaskedLm, corpus: Corpus, masked: Masked) -> Result<Self> {
        masked.masking.validate()?;
        let (blocks, train, lengths) = (Vec::new(), Vec::new(), Vec::new());
        let mut task = MaskedLanguageModel {
            model,
            text: Reading::new(corpus, masked.masking.seed),
            masked,
            blocks,
            train,
            lengths,
            examples: 0,
        };
        task.open_window(0, 0)?;
        if task.blocks.is_empty() {
            return Err(Error::Input("the first part of the text holds no words".into()));
        }
        task.examples = task.text.examples(task.blocks.len());
        Ok(task)
    }

    /// The model.
    pub fn model(&self) -> &MaskedLm {
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

    /// How text becomes masked blocks.
    pub fn settings(&self) -> &Masked {
        &self.masked
    }

    /// The masked blocks of the open window.
    pub fn masked(&self) -> &[MaskedTokens] {
        &self.train
    }

    fn device(&self) -> Device {
        self.model.encoder().device()
    }

    /// The batch of some masked blocks.
    fn batch(&self, blocks: &[&MaskedTokens]) -> Result<(EncoderInput, PackedBatch)> {
        let longest = blocks.iter().map(|block| block.ids.len()).max().unwrap_or(0);
        let types = vec![0; longest];
        let parts = blocks.iter().map(|block| (&block.ids[..], &types[..block.ids.len()]));
        let packed = PackedBatch::from_parts(parts, self.model.encoder().config())?;
        Ok((EncoderInput::new(&packed)?.to_device(self.device())?, packed))
    }
}

/// The places to predict in a batch of masked blocks, and their tokens.
fn places(
    blocks: &[&MaskedTokens],
    packed: &PackedBatch,
    device: Device,
) -> Result<(Tensor, Tensor)> {
    let (mut positions, mut labels) = (Vec::new(), Vec::new());
    for (block, start) in blocks.iter().zip(&packed.offsets) {
        positions.extend(block.positions.iter().map(|place| start + place));
        labels.extend_from_slice(&block.labels);
    }
    let tensor = |ids: &[u32]| Tensor::from_slice(ids, &[ids.len()])?.to_device(device);
    Ok((tensor(&positions)?, tensor(&labels)?))
}

/// What a model says of the masked tokens of each block of a batch. `numbers` reads a tensor.
pub(crate) fn guesses(
    model: &MaskedLm,
    blocks: &[&MaskedTokens],
    (input, packed): (&EncoderInput, &PackedBatch),
    numbers: impl Fn(&Tensor) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<Guess>>> {
    let (positions, labels) = places(blocks, packed, model.encoder().device())?;
    let logits = model.forward(input, &positions, &Forward::inference())?;
    let each = CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() };
    let losses = numbers(&logits.tensor().cross_entropy(&labels, &each)?.0)?;
    let predicted = logits.tensor().argmax(-1, false)?.to_vec::<u32>()?;
    let mut each = predicted.into_iter().zip(losses);
    let of_block = |block: &&MaskedTokens| {
        let pairs = block.labels.iter().zip(each.by_ref());
        pairs.map(|(&truth, (predicted, loss))| Guess { truth, predicted, loss }).collect()
    };
    Ok(blocks.iter().map(of_block).collect())
}

/// What a model says of a masked token.
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
    /// What a rank sends of it, for [`Guess::of`]. An id is below 2^24, and so whole as a float.
    pub(super) fn numbers(self) -> [f32; 2] {
        [self.predicted as f32, self.loss]
    }

    /// The guess of a token from its numbers.
    pub(super) fn of(truth: u32, numbers: &[f32]) -> Guess {
        Guess { truth, predicted: numbers[0] as u32, loss: numbers[1] }
    }

    /// The numbers of all masked tokens of some blocks.
    pub fn evaluation(guesses: &[Guess], blocks: usize) -> Evaluation {
        let tokens = guesses.len().max(1) as f64;
        let loss = guesses.iter().map(|guess| f64::from(guess.loss)).sum::<f64>() / tokens;
        let right = guesses.iter().filter(|guess| guess.predicted == guess.truth).count();
        let values = [("perplexity", loss.exp()), ("accuracy", right as f64 / tokens)];
        Evaluation::new(blocks, loss, values)
    }
}

const METRICS: [Metric; 2] = [
    Metric::number("perplexity", "perplexity").lower_is_better(),
    Metric::percent("accuracy", "accuracy of masked tokens"),
];

impl Task for MaskedLanguageModel {
    type Set = Vec<MaskedTokens>;
    /// The masked tokens, in the order of the text.
    type Findings = Vec<Guess>;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn terms(&self, batch: &[usize]) -> f64 {
        batch.iter().map(|&i| self.train[i].labels.len() as f64).sum()
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let blocks: Vec<&MaskedTokens> = batch.iter().map(|&i| &self.train[i]).collect();
        let (input, packed) = self.batch(&blocks)?;
        let (positions, labels) = places(&blocks, &packed, self.device())?;
        self.model.loss(&input, &positions, &labels, &CrossEntropy::default(), forward)
    }

    fn is_head(&self, name: &str) -> bool {
        crate::family::is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        &METRICS
    }

    fn examine(
        &self,
        set: &Vec<MaskedTokens>,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let lengths: Vec<usize> = set.iter().map(|block| block.ids.len()).collect();
        let mut found = vec![Vec::new(); set.len()];
        let compute = |batch: &[usize]| {
            let blocks: Vec<&MaskedTokens> = batch.iter().map(|&i| &set[i]).collect();
            let (input, packed) = self.batch(&blocks)?;
            let read = |tensor: &Tensor| Ok(tensor.to_vec::<f32>()?);
            let guessed = guesses(&self.model, &blocks, (&input, &packed), read)?;
            Ok(guessed.into_iter().flatten().flat_map(Guess::numbers).collect())
        };
        each_batch(&lengths, 16, examiner, compute, |batch, numbers| {
            let mut pairs = numbers.chunks_exact(2);
            for &i in batch {
                let pairs = set[i].labels.iter().zip(pairs.by_ref());
                found[i] = pairs.map(|(&truth, pair)| Guess::of(truth, pair)).collect();
            }
            Ok(())
        })?;
        let found: Vec<Guess> = found.into_iter().flatten().collect();
        Ok((Guess::evaluation(&found, set.len()), found))
    }

    fn examples(&self) -> usize {
        self.examples
    }

    fn windows(&self) -> usize {
        self.text.corpus.windows()
    }

    fn open_window(&mut self, epoch: u64, window: usize) -> Result<()> {
        if let Some(text) = self.text.next(epoch, window)? {
            self.blocks = blocks(&text, &self.masked.tokenizer, self.masked.max_length)?;
            self.lengths = self.blocks.iter().map(|block| block.ids.len()).collect();
        }
        // 2^23 epochs, of 2^20 windows, of 2^20 blocks.
        let stream = (epoch << 40) | ((window as u64) << 20);
        self.train = self.masked.draw(&self.blocks, |at| stream | at as u64)?;
        Ok(())
    }
}
