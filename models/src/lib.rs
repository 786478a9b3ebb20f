//! BERT for Gradus: configuration, tokenizer, data sets, packed batches, the model, training it and
//! running it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | [`BertConfig`]: a Hugging Face `config.json`, read, checked and written |
//! | [`hub`] | [`resolve`]: a folder or a hub id becomes a folder on disk |
//! | [`tokenizer`] | [`Tokenizer`]: text to ids, truncation, training a vocabulary |
//! | [`data`] | [`Dataset`], [`Labels`], [`read_inputs`]: texts from `.csv`, `.tsv`, `.jsonl`, `.txt` |
//! | [`batch`] | [`PackedBatch`]: sequences end to end; the order of batches; masking for the masked LM |
//! | [`bert`] | [`Bert`] and its heads |
//! | [`pretrained`] | [`Pretrained`]: a model folder opened; [`save_folder`]: one written |
//! | [`checkpoint`] | [`Checkpoint`]: its weights |
//! | [`folder`] | what its files say, key by key |
//! | [`interchange`] | what other programs need to run it |
//! | [`training`] | [`training::Trainer`]: the training loop, step by step; resuming |
//! | [`pipelines`] | from texts to labels, embeddings, filled masks |
//! | [`evaluation`] | accuracy, precision, recall, F1 and confusions of a classifier |
//! | [`error`] | [`Error`], [`Result`] |

pub mod batch;
pub mod bert;
pub mod checkpoint;
pub mod config;
pub mod data;
pub mod error;
pub mod evaluation;
mod excerpt;
pub mod files;
pub mod folder;
pub mod hub;
pub mod interchange;
mod label_maps;
pub mod pipelines;
pub mod pretrained;
mod task;
pub mod tokenizer;
mod tokenizer_file;
mod tokenizer_options;
pub mod training;
mod wordpiece;

pub use batch::{MaskedTokens, PackedBatch};
pub use bert::{Bert, BertInput, MaskedLm, SequenceClassifier, TokenClassifier};
pub use checkpoint::Checkpoint;
pub use config::{BertConfig, Pooling};
pub use data::{Columns, Dataset, Example, Labels, Split, read_inputs};
pub use error::{Error, Result};
pub use gradus_nn::Precision;
pub use hub::resolve;
pub use pretrained::{Pretrained, save_folder};
pub use task::Task;
pub use tokenizer::{Encoding, Tokenizer};
