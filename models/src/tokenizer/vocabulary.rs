//! A tokenizer from the files of its vocabulary, where there is no `tokenizer.json`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::class::{CONVERT, Class};
use super::file::text;
use super::options::Options;
use super::sentencepiece;
use crate::error::{Error, Result};
use crate::files;

/// The names of a SentencePiece model.
const MODELS: [&str; 3] = ["sentencepiece.bpe.model", "spiece.model", "sentencepiece.model"];

/// The files that a tokenizer may be in, the first that is there: `tokenizer.json`, or a vocabulary.
pub(crate) const TOKENIZERS: [&str; 6] =
    ["tokenizer.json", "vocab.txt", "vocab.json", MODELS[0], MODELS[1], MODELS[2]];

/// Whether a folder has a tokenizer of its own.
pub(crate) fn has_tokenizer(dir: &Path) -> bool {
    TOKENIZERS.iter().any(|name| dir.join(name).is_file())
}

/// Builds the file of a tokenizer of `class` from the vocabulary in `dir`, without the parts that the
/// class decides; returns the path of the vocabulary too.
///
/// # Errors
/// When the vocabulary of the class is missing or malformed; the message says what to do.
pub(super) fn read(
    dir: &Path,
    class: Class,
    names: &[String; 5],
    options: &Options,
) -> Result<(Value, PathBuf)> {
    match class {
        Class::Bert | Class::MPNet => words(dir, names, options),
        Class::Roberta | Class::Gpt2 => merges(dir),
        Class::XlmRoberta | Class::Camembert => {
            let Some(path) = MODELS.map(|name| dir.join(name)).into_iter().find(|p| p.is_file())
            else {
                return Err(none(dir, "sentencepiece.bpe.model"));
            };
            let file = sentencepiece::read(&path, class, names);
            Ok((file.map_err(|message| Error::tokenizer(&path, message))?, path))
        }
        Class::AsFile => Err(none(dir, "a vocabulary that Gradus reads without it")),
    }
}

/// The error of a folder without the vocabulary of its class.
fn none(dir: &Path, wanted: &str) -> Error {
    let others: Vec<&str> =
        TOKENIZERS.into_iter().filter(|name| dir.join(name).is_file()).collect();
    let help = match others.as_slice() {
        [] => "copy one from the model it belongs to".to_string(),
        others => format!(
            "it has {}, of another class than tokenizer_config.json or config.json say; name the \
             class there (tokenizer_class), or write tokenizer.json with\n  {CONVERT}",
            others.join(", ")
        ),
    };
    Error::tokenizer(dir, format!("the folder has neither tokenizer.json nor {wanted}; {help}"))
}

/// A file of a model, with an empty vocabulary beside it.
fn file(model: Value) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "model": model,
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    })
}

/// `vocab.txt`: WordPiece.
fn words(dir: &Path, names: &[String; 5], options: &Options) -> Result<(Value, PathBuf)> {
    let path = dir.join("vocab.txt");
    if !path.is_file() {
        return Err(none(dir, "vocab.txt"));
    }
    let text = text(&path)?;
    let vocab: Vec<&str> = text.lines().collect();
    let is_added = |name: &str| options.added.values().any(|t| t["content"] == name);
    let lacks = |name: &&String| !vocab.contains(&name.as_str()) && !is_added(name);
    if let Some(missing) = names.iter().skip(1).take(3).find(lacks) {
        return Err(Error::tokenizer(&path, format!("the vocabulary has no {missing} token")));
    }
    Ok((word_piece(&vocab), path))
}

/// The file of a WordPiece vocabulary, without the other parts.
pub(super) fn word_piece(vocab: &[&str]) -> Value {
    let ids: Map<String, Value> =
        vocab.iter().enumerate().map(|(id, token)| (token.to_string(), json!(id))).collect();
    file(json!({"type": "WordPiece", "vocab": ids}))
}

/// The file of a byte-level vocabulary, without the other parts.
pub(super) fn byte_pairs(symbols: &[String], merges: &[[String; 2]]) -> Value {
    let ids: Map<String, Value> =
        symbols.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    file(json!({"type": "BPE", "vocab": ids, "merges": merges}))
}

/// `vocab.json` and `merges.txt`: byte-level BPE.
fn merges(dir: &Path) -> Result<(Value, PathBuf)> {
    let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
    match (vocab.is_file(), merges.is_file()) {
        (true, true) => {}
        (false, _) => return Err(none(dir, "vocab.json with merges.txt")),
        (true, false) => {
            let message = "the folder has vocab.json, but no merges.txt; copy it from the model it \
                           belongs to";
            return Err(Error::tokenizer(dir, message));
        }
    }
    let ids: Map<String, Value> = files::parse_json(&files::read(&vocab)?)
        .map_err(|e| Error::tokenizer(&vocab, format!("not a JSON object of ids: {e}")))?;
    let mut pairs = Vec::new();
    for (line, merge) in (1..).zip(text(&merges)?.lines()) {
        if merge.is_empty() || (line == 1 && merge.starts_with("#version")) {
            continue;
        }
        match merge.split(' ').collect::<Vec<_>>().as_slice() {
            [left, right] if !left.is_empty() && !right.is_empty() => {
                pairs.push(json!([left, right]));
            }
            _ => {
                let message = format!("line {line}: `{merge}` is not two pieces with a space");
                return Err(Error::tokenizer(&merges, message));
            }
        }
    }
    Ok((file(json!({"type": "BPE", "vocab": ids, "merges": pairs})), vocab))
}

/// The file of a Unigram vocabulary, without the other parts.
pub(super) fn unigram(pieces: &[(String, f64)], normalizer: Value, added: Vec<Value>) -> Value {
    let mut file = file(json!({"type": "Unigram", "vocab": pieces}));
    file["normalizer"] = normalizer;
    file["added_tokens"] = json!(added);
    file
}
