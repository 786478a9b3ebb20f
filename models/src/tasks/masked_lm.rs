//! `mlm`: masked words of raw text (Devlin et al. 2019, section 3.1).

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward};
use gradus_tensor::Tensor;

use super::blocks::{Block, blocks};
use super::guess::{Guess, all_guesses, batch_of, ids_on};
use super::reading::Reading;
use crate::data::Corpus;
use crate::evaluation::{Evaluation, Examiner, Metric};
use crate::masking::{MaskedTokens, Masking, mask_tokens};
use crate::training::{ReadTokens, Task};
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
/// of a block are drawn from (seed, epoch, window, block): each epoch has other masks, and the division
/// into batches does not change them.
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

    /// The batch of some masked blocks.
    fn batch(&self, blocks: &[&MaskedTokens]) -> Result<(EncoderInput, PackedBatch)> {
        let ids: Vec<&[u32]> = blocks.iter().map(|block| &block.ids[..]).collect();
        batch_of(self.model.encoder(), &ids)
    }
}

/// The places to predict in a batch of masked blocks, and their tokens.
fn places(blocks: &[&MaskedTokens], packed: &PackedBatch) -> [Vec<u32>; 2] {
    let (mut positions, mut labels) = (Vec::new(), Vec::new());
    for (block, start) in blocks.iter().zip(&packed.offsets) {
        positions.extend(block.positions.iter().map(|place| start + place));
        labels.extend_from_slice(&block.labels);
    }
    [positions, labels]
}

/// What a model says of the masked tokens of each block of a batch. `numbers` reads a tensor.
pub(crate) fn guesses(
    model: &MaskedLm,
    blocks: &[&MaskedTokens],
    (input, packed): (&EncoderInput, &PackedBatch),
    numbers: impl Fn(&Tensor) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<Guess>>> {
    let [positions, labels] = places(blocks, packed);
    let positions = ids_on(model.encoder().device(), &positions)?;
    let logits = model.forward(input, &positions, &Forward::inference())?;
    let mut found = Guess::of_logits(logits.tensor(), &labels, numbers)?.into_iter();
    Ok(blocks.iter().map(|block| found.by_ref().take(block.labels.len()).collect()).collect())
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

    /// The blocks as they are masked.
    fn sequences(&self, batch: &[usize], _: &[String]) -> Vec<ReadTokens> {
        let blocks = batch.iter().map(|&i| self.train[i].ids.clone());
        blocks.map(|ids| ReadTokens { ids, target: None }).collect()
    }

    fn terms(&self, batch: &[usize]) -> f64 {
        batch.iter().map(|&i| self.train[i].labels.len() as f64).sum()
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let blocks: Vec<&MaskedTokens> = batch.iter().map(|&i| &self.train[i]).collect();
        let (input, packed) = self.batch(&blocks)?;
        let (device, [positions, labels]) = (input.ids.device(), places(&blocks, &packed));
        let (positions, labels) = (ids_on(device, &positions)?, ids_on(device, &labels)?);
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
        let found = all_guesses(
            &lengths,
            |i| &set[i].labels,
            examiner,
            |batch| {
                let blocks: Vec<&MaskedTokens> = batch.iter().map(|&i| &set[i]).collect();
                let (input, packed) = self.batch(&blocks)?;
                let numbers = |tensor: &Tensor| Ok(tensor.to_vec::<f32>()?);
                let found = guesses(&self.model, &blocks, (&input, &packed), numbers)?;
                Ok(found.into_iter().flatten().collect())
            },
        )?;
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
