//! BERT for Gradus: configuration, tokenizer, data sets, packed batches, the model, its training
//! and its pipelines.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | [`EncoderConfig`]: a Hugging Face `config.json`, read, checked and written |
//! | [`hub`] | [`resolve`], [`resolve_data`]: from the name of a model or a data set to a folder on disk |
//! | [`tokenizer`] | [`Tokenizer`]: text to ids, truncation, training a vocabulary |
//! | [`data`] | [`Dataset`], [`Labels`], [`read_inputs`]: reads texts from `.csv`, `.tsv`, `.jsonl`, `.parquet`, `.txt`; tagged words; questions |
//! | [`batch`] | [`PackedBatch`]: sequences end to end; the order of batches |
//! | [`masking`] | masks for the masked language model |
//! | [`encoder`] | [`Encoder`] and its heads |
//! | [`pretrained`] | [`Pretrained`]: a model folder opened; [`save_folder`]: one written |
//! | [`checkpoint`] | [`Checkpoint`]: its weights |
//! | [`folder`] | the keys of its files, and what Gradus does with each |
//! | [`interchange`] | the files that other programs need to run it |
//! | [`training`] | [`training::Trainer`]: the training loop, step by step; resuming |
//! | [`tasks`] | what models are trained for: classification, tagging of words, masked words, embeddings, answers to questions; from a teacher |
//! | [`pipelines`] | from texts to labels, embeddings, filled masks, answers |
//! | [`evaluation`] | how well a model does: accuracy, precision, recall, F1, confusions, entities, answers |
//! | [`error`] | [`Error`], [`Result`] |
//!
//! Two features: `hub` (on unless switched off) fetches from the Hugging Face hub, `parquet` reads
//! Apache Parquet. Without one, what needs it is an error that names the feature.

mod adapter;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod data;
pub mod encoder;
pub mod error;
pub mod evaluation;
mod family;
pub mod files;
pub mod folder;
pub mod generation;
pub mod hub;
pub mod interchange;
mod label_maps;
pub mod masking;
mod own_keys;
pub mod pipelines;
pub mod pretrained;
mod task;
pub mod tasks;
pub mod tokenizer;
pub mod training;

pub use adapter::merge;
pub use batch::PackedBatch;
pub use checkpoint::Checkpoint;
pub use config::{EncoderConfig, Pooling};
pub use data::{Columns, Dataset, Example, Labels, Split, read_inputs};
pub use encoder::{
    CausalLm, Encoder, EncoderInput, KeyValueCache, MaskedLm, SentenceEncoder, SequenceClassifier,
    SpanPredictor, TokenClassifier,
};
pub use error::{Error, Result};
pub use gradus_nn::Precision;
pub use hub::{is_hub_data, resolve, resolve_data};
pub use pretrained::{Base, ModelRef, Pretrained, save_folder};
pub use task::Task;
pub use tokenizer::{Encoding, Tokenizer, Window};
