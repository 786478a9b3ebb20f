//! Pipelines: from texts to labels, embeddings, filled masks, tagged words, answers, further text.
//!
//! | pipeline | a text becomes | needs in the checkpoint |
//! | --- | --- | --- |
//! | [`TextClassifier`] | labels with scores | `classifier.*` |
//! | [`TextEmbedder`] | a vector | the encoder |
//! | [`FillMask`] | the words that may stand for `[MASK]`, or a sparse vector | `cls.predictions.*` |
//! | [`TokenTagger`] | a label for every word, or the spans that the labels make | `classifier.*` |
//! | [`QuestionAnswerer`] | the parts of it that answer a question | `qa_outputs.*` |
//! | [`TextGenerator`] | the words after it | the encoder, of a causal model |
//!
//! Each opens a model folder or a hub id. [`open`] opens a model as the pipeline of the head that
//! it has, a [`Pipeline`]; it opens no [`TextGenerator`]. What all of them can do (their tokenizer,
//! the maximum length, the device …) is in [`Runner`], to which they dereference. A pipeline is
//! `Send + Sync` and answers any number of texts at once through `&self`.
//!
//! A checkpoint without a parameter of its pipeline is refused, and the error names the parameter:
//! a head with random weights must never answer.
//!
//! Texts are encoded in parallel, sorted by length and run in packed batches of at most
//! [`DEFAULT_BATCH_SIZE`] texts (see [`Runner::set_batch_size`]) and about [`BATCH_TOKENS`] tokens.
//! The results are in the order of the texts, and do not depend on the batches (within rounding,
//! 1e-6). No pipeline records anything for a backward pass.
//!
//! **Truncation**: a text of more than `max_length` tokens is cut at its end, or at its beginning
//! where `truncation_side` says so. The limit is the folder's (`max_seq_length`, else the
//! tokenizer's `model_max_length`), and never more than the model has positions;
//! [`Runner::truncated`] counts the texts that were cut.
//!
//! ```no_run
//! use gradus_models::pipelines::{self, Pipeline, TextEmbedder};
//!
//! # fn main() -> gradus_models::Result<()> {
//! let mut embedder =
//!     TextEmbedder::open("sentence-transformers/all-MiniLM-L6-v2", None, None)?;
//! embedder.set_max_length(64)?;
//! let vectors = embedder.embed(&["Where is my card?", "My card is lost."])?;
//! assert_eq!(vectors.shape(), [2, 384]);
//!
//! match pipelines::open("runs/mine")? {
//!     Pipeline::Classify(classifier) => println!("{:?}", classifier.labels()),
//!     other => println!("for {}", other.task().name()),
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod classify;
mod embed;
mod fill_mask;
mod generate;
mod runner;
mod sparse;
mod stages;
mod tag;
mod target;
mod traced;

use std::ops::{Deref, DerefMut, Range};

pub use crate::Task;
use crate::folder::Prompts;
use crate::{Encoder, Encoding, Error, ModelRef, Pretrained, Result};

pub use answer::{Answer, AnswerOptions, Answered, NoAnswer, QuestionAnswerer};
pub use classify::{ClassificationFunction, Score, TextClassifier};
pub use embed::TextEmbedder;
pub use fill_mask::{Fill, FillMask};
pub use generate::{Generated, TextGenerator};
pub use runner::{BATCH_TOKENS, DEFAULT_BATCH_SIZE, Runner};
pub use sparse::SparseValue;
pub use tag::{Tag, TokenTagger, WordLabel, best, groups, spans};
pub use traced::TracedText;

/// A model opened with the head that it has.
pub enum Pipeline {
    /// Texts to vectors.
    Embed(TextEmbedder),
    /// Texts, or pairs of texts, to labels.
    Classify(TextClassifier),
    /// Words for `[MASK]`.
    FillMask(FillMask),
    /// A label for every word.
    Tag(TokenTagger),
    /// The parts of a text that answer a question.
    Answer(QuestionAnswerer),
}

/// Opens a model folder or a hub id as the pipeline of its [`task`](Pretrained::task).
///
/// # Errors
/// When the model cannot be opened, or lacks parameters of its head; [`Error::OtherTask`] for a model
/// that generates, which only [`TextGenerator`] opens.
pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Pipeline> {
    let pretrained = Pretrained::open(model)?;
    Ok(match pretrained.task()? {
        Task::Generate => {
            return Err(Error::OtherTask {
                path: pretrained.config_path(),
                model: format!("a {}", pretrained.config.architectures.join(", ")),
                task: Task::Generate,
            });
        }
        Task::Embed => Pipeline::Embed(TextEmbedder::of(pretrained, None, None)?),
        Task::Classify => Pipeline::Classify(TextClassifier::of(pretrained)?),
        Task::FillMask => Pipeline::FillMask(FillMask::of(pretrained)?),
        Task::Tag => Pipeline::Tag(TokenTagger::of(pretrained)?),
        Task::Answer => Pipeline::Answer(QuestionAnswerer::of(pretrained)?),
    })
}

impl Pipeline {
    /// What the model does with a text.
    pub fn task(&self) -> Task {
        match self {
            Pipeline::Embed(_) => Task::Embed,
            Pipeline::Classify(_) => Task::Classify,
            Pipeline::FillMask(_) => Task::FillMask,
            Pipeline::Tag(_) => Task::Tag,
            Pipeline::Answer(_) => Task::Answer,
        }
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        match self {
            Pipeline::Embed(p) => p.encoder(),
            Pipeline::Classify(p) => p.encoder(),
            Pipeline::FillMask(p) => p.encoder(),
            Pipeline::Tag(p) => p.encoder(),
            Pipeline::Answer(p) => p.encoder(),
        }
    }

    /// Numbers of a vector of an embedder; for any other model those of a token's state.
    pub fn width(&self) -> usize {
        match self {
            Pipeline::Embed(p) => p.width(),
            other => other.config().hidden_size,
        }
    }

    /// The prompts of the folder; none for a model that does not embed.
    pub fn prompts(&self) -> Prompts {
        match self {
            Pipeline::Embed(p) => p.prompts().clone(),
            Pipeline::FillMask(p) => p.prompts().clone(),
            _ => Prompts::default(),
        }
    }

    /// The labels of the head; none where it has none.
    pub fn labels(&self) -> &[String] {
        match self {
            Pipeline::Classify(p) => p.labels(),
            Pipeline::Tag(p) => p.labels(),
            Pipeline::Embed(_) | Pipeline::FillMask(_) | Pipeline::Answer(_) => &[],
        }
    }

    /// The attention probabilities of these layers in an encoded text: a list for each layer, of
    /// `heads × tokens × tokens` values, head by head, row by row; a row sums to 1.
    ///
    /// # Errors
    /// When the encoding does not fit the model, the model has no such layers, or an output is not
    /// a number (the error names the weight to blame).
    pub fn attentions(&self, encoding: &Encoding, layers: Range<usize>) -> Result<Vec<Vec<f32>>> {
        let (runner, encoder): (&Runner, &Encoder) = (self, self.encoder());
        let layers = runner.run(&[encoding], |input, _, _| {
            let layers = encoder.attentions(input, layers.clone())?;
            let layers = layers.iter().map(|layer| runner.numbers(layer.tensor()));
            Ok(vec![layers.collect::<Result<Vec<_>>>()?])
        })?;
        Ok(layers.into_iter().next().unwrap_or_default())
    }
}

impl Deref for Pipeline {
    type Target = Runner;

    fn deref(&self) -> &Runner {
        match self {
            Pipeline::Embed(p) => p,
            Pipeline::Classify(p) => p,
            Pipeline::FillMask(p) => p,
            Pipeline::Tag(p) => p,
            Pipeline::Answer(p) => p,
        }
    }
}

impl DerefMut for Pipeline {
    fn deref_mut(&mut self) -> &mut Runner {
        match self {
            Pipeline::Embed(p) => p,
            Pipeline::Classify(p) => p,
            Pipeline::FillMask(p) => p,
            Pipeline::Tag(p) => p,
            Pipeline::Answer(p) => p,
        }
    }
}
