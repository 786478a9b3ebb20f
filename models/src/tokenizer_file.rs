//! The files of a tokenizer: `tokenizer.json` and `tokenizer_config.json`.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::normalizers::BertNormalizer;

use crate::error::{Error, Result};
use crate::files;
use crate::wordpiece;

/// BERT's pipeline over a vocabulary: normaliser, words and punctuation, WordPiece, `[CLS]` and `[SEP]`.
pub(crate) fn assemble(
    vocab: &[&str],
    names: &[String; 5],
    normalizer: BertNormalizer,
    path: &Path,
) -> Result<tokenizers::Tokenizer> {
    let ids: Map<String, Value> =
        vocab.iter().enumerate().map(|(id, token)| (token.to_string(), json!(id))).collect();
    let [_, unk, cls, sep, _] = names;
    let added: Vec<Value> = vocab
        .iter()
        .enumerate()
        .filter(|(_, token)| names.iter().any(|name| name == *token))
        .map(|(id, token)| {
            json!({
                "id": id, "content": token, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let special = |name: &String, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let sequence = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let entry = |name: &String| json!({"id": name, "ids": [ids.get(name)], "tokens": [name]});
    let single = [special(cls, 0), sequence("A", 0), special(sep, 0)];
    let pair = [&single[..], &[sequence("B", 1), special(sep, 1)][..]].concat();
    let mut normalizer = json!(normalizer);
    normalizer["type"] = json!("BertNormalizer");
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": {cls.as_str(): entry(cls), sep.as_str(): entry(sep)},
        },
        "decoder": {"type": "WordPiece", "prefix": wordpiece::PREFIX, "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": wordpiece::PREFIX,
            "max_input_chars_per_word": wordpiece::MAX_WORD_CHARS, "vocab": ids,
        },
    });
    parse(file, path)
}

/// Builds a tokenizer from its file. The crate panics on JSON that is cut short (hence the value, already parsed) and
/// on some parts that are malformed.
pub(crate) fn parse(file: Value, path: &Path) -> Result<tokenizers::Tokenizer> {
    let built = std::panic::catch_unwind(|| serde_json::from_value(file));
    let message = match built {
        Ok(Ok(tokenizer)) => return Ok(tokenizer),
        Ok(Err(e)) => format!("not a tokenizer file: {e}"),
        Err(_) => "not a tokenizer file: one of its parts is malformed".to_string(),
    };
    Err(Error::tokenizer(path, message))
}

/// How `tokenizer_config.json` calls a special token: a string, or an object with its `content`.
pub(crate) fn special_name(options: &Map<String, Value>, default: &str) -> String {
    let key = format!("{}_token", default.trim_matches(['[', ']']).to_lowercase());
    let value = options.get(&key);
    let name = value.and_then(|v| v.as_str().or_else(|| v.get("content")?.as_str()));
    name.unwrap_or(default).to_string()
}

pub(crate) fn parse_config(config: Option<&str>, source: &Path) -> Result<Map<String, Value>> {
    let Some(config) = config else {
        return Ok(Map::new());
    };
    serde_json::from_str(config).map_err(|e| {
        Error::tokenizer(
            source.with_file_name("tokenizer_config.json"),
            format!("not a JSON object: {e}"),
        )
    })
}

pub(crate) fn optional(path: &Path) -> Result<Option<String>> {
    path.is_file().then(|| text(path)).transpose()
}

pub(crate) fn text(path: &Path) -> Result<String> {
    String::from_utf8(files::read(path)?).map_err(|e| {
        Error::tokenizer(path, format!("invalid UTF-8 at byte {}", e.utf8_error().valid_up_to()))
    })
}
