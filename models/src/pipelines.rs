//! Pipelines: from texts to labels, embeddings, filled masks, tagged words.
//!
//! Each opens a model folder or a hub id, is `Send + Sync`, and answers through `&self` any number
//! of texts at once:
//!
//! | pipeline | a text becomes | needs in the checkpoint |
//! | --- | --- | --- |
//! | [`TextClassifier`] | labels with scores | `classifier.*` |
//! | [`TextEmbedder`] | a vector | the encoder |
//! | [`FillMask`] | the words that may stand for `[MASK]` | `cls.predictions.*` |
//! | [`TokenTagger`] | a label for every word, or the spans that the labels make | `classifier.*` |
//!
//! A checkpoint that lacks a parameter of its pipeline is refused, with the names: a head that was
//! begun at random must never answer.
//!
//! Texts are encoded in parallel, sorted by length and run in packed batches of at most
//! [`DEFAULT_BATCH_SIZE`] texts (see `set_batch_size`) and about [`BATCH_TOKENS`] tokens; the
//! results are in the order of the texts, and do not depend on the batches (within rounding, 1e-6).
//! **Truncation**: a text of more than `max_length` tokens is cut at its end (or its beginning,
//! where `truncation_side` says so): by default at what the folder says (`max_seq_length`, else the
//! tokenizer's `model_max_length`), and at most as many as the model has positions; `truncated`
//! counts the texts that were. Nothing is recorded for a backward pass.

mod classify;
mod embed;
mod fill_mask;
mod runner;
mod stages;
mod tag;
mod task;

pub use classify::{ClassificationFunction, Score, TextClassifier};
pub use embed::TextEmbedder;
pub use fill_mask::{Fill, FillMask};
pub use runner::{BATCH_TOKENS, DEFAULT_BATCH_SIZE};
pub use tag::{Tag, TokenTagger, WordLabel, groups, spans};
pub use task::{Task, task};
