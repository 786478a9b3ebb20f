//! BERT for Gradus: configuration, tokenizer, data sets and packed batches.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | [`BertConfig`]: a Hugging Face `config.json`, read, checked and written |
//! | [`hub`] | [`resolve`]: a folder or a hub id becomes a folder on disk |
//! | [`tokenizer`] | [`Tokenizer`]: text to ids, truncation, training a vocabulary |
//! | [`data`] | [`Dataset`], [`Labels`], [`read_inputs`]: texts from `.csv`, `.tsv`, `.jsonl`, `.txt` |
//! | [`batch`] | [`PackedBatch`]: sequences end to end; the order of batches; masking for the masked LM |
//! | [`error`] | [`Error`], [`Result`] |

pub mod batch;
pub mod config;
pub mod data;
pub mod error;
pub mod files;
pub mod hub;
mod label_maps;
pub mod tokenizer;
mod tokenizer_file;
mod wordpiece;

pub use batch::{MaskedTokens, PackedBatch};
pub use config::{Activation, BertConfig, Pooling};
pub use data::{Columns, Dataset, Example, Labels, Split, read_inputs};
pub use error::{Error, Result};
pub use hub::resolve;
pub use tokenizer::{Encoding, Tokenizer};
