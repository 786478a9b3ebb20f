//! The tables of [`keys`](super::keys), file by file.

mod adapter;
mod config;
mod generation;
mod sentence;
mod tokenizer;

pub(crate) use adapter::ADAPTER;
pub(crate) use config::CONFIG;
pub(crate) use generation::GENERATION;
pub(super) use sentence::ARGUMENTS;
pub(crate) use sentence::{
    DENSE, DROPOUT, LAYER_NORM, MODULES, NORMALIZE, POOLING, SENTENCE, SENTENCE_MODEL, SPLADE,
};
pub(crate) use tokenizer::TOKENIZER;

#[cfg(test)]
use super::keys::Table;
use super::keys::{Key, Rule};

const fn key(names: &'static [&'static str], rule: Rule, remark: &'static str) -> Key {
    Key { names, rule, remark }
}

/// All tables, in the order of the book.
#[cfg(test)]
pub(super) const TABLES: [&Table; 13] = [
    &CONFIG,
    &GENERATION,
    &TOKENIZER,
    &MODULES,
    &SENTENCE,
    &SENTENCE_MODEL,
    &POOLING,
    &DENSE,
    &NORMALIZE,
    &LAYER_NORM,
    &DROPOUT,
    &SPLADE,
    &ADAPTER,
];

/// Files without keys, and files that are not read.
#[cfg(test)]
pub(super) const FILES: [(&str, &str, &str); 13] = [
    ("model.safetensors", "obeyed", "the weights; an encoder that lacks one is refused"),
    (
        "model.safetensors.index.json, model-00001-of-….safetensors",
        "obeyed",
        "weights in several files",
    ),
    (
        "pytorch_model.bin",
        "refused",
        "where there is no .safetensors file; the error says how to convert it",
    ),
    (
        "tokenizer.json",
        "obeyed",
        "WordPiece, SentencePiece, BPE; the caller chooses padding and truncation, except the \
         side",
    ),
    (
        "vocab.txt; vocab.json, merges.txt; sentencepiece.bpe.model",
        "obeyed",
        "where there is no tokenizer.json: WordPiece, byte-level BPE, Unigram",
    ),
    ("added_tokens.json", "obeyed", "with vocab.txt, and with tokenizer.json"),
    (
        "sentence_roberta_config.json and the like",
        "obeyed",
        "older names of sentence_bert_config.json",
    ),
    ("router_config.json", "refused", "a Router chooses between modules; Gradus has none"),
    (
        "adapter_model.safetensors",
        "obeyed",
        "the low-rank parts of an adapter, folded into the weights of its base",
    ),
    ("adapter_model.bin", "refused", "where there is no .safetensors file"),
    (
        "modeling_gradus.py, README.md",
        "harmless",
        "what Gradus writes for a classifier on the mean of the tokens",
    ),
    ("chat_template.jinja", "harmless", "for models that chat"),
    (
        "preprocessor_config.json, processor_config.json, training_args.bin, onnx/, openvino/",
        "harmless",
        "not read",
    ),
];
