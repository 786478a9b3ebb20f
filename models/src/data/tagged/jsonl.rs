//! JSON lines, and rows of Parquet files: `{"tokens": […], "tags": […]}`.

use std::path::Path;

use serde_json::{Map, Value};

use super::{TaggedColumns, TaggedSentence};
use crate::data::Format;
use crate::data::read::{key, kind, records};
use crate::error::{Error, Result};

pub(super) fn sentences(
    path: &Path,
    bytes: Vec<u8>,
    columns: &TaggedColumns,
    tags: bool,
) -> Result<Vec<TaggedSentence>> {
    let words_key = columns.words.as_deref().unwrap_or("tokens");
    let tags_key = columns.tags.as_deref().unwrap_or("tags");
    let sentence = |line: u64, object: &Map<String, Value>| {
        let error = |message| Error::data(path, line, message);
        let words = key(path, line, object, words_key)?;
        let words = list(words_key, words, word).map_err(error)?;
        let mut sentence = TaggedSentence { words, tags: Vec::new(), line, word_a_line: false };
        if tags {
            let tags = key(path, line, object, tags_key)?;
            sentence.tags = list(tags_key, tags, tag).map_err(error)?;
            check_lengths(&sentence).map_err(error)?;
        }
        Ok(sentence)
    };
    records(path, Format::of(path)?, bytes, "{\"tokens\": […], \"tags\": […]}", sentence)
}

/// The elements of an array, each by `of`.
fn list(
    name: &str,
    value: &Value,
    of: impl Fn(&Value) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let Value::Array(elements) = value else {
        return Err(format!("`{name}` is {}, not an array", kind(value)));
    };
    let element = |(at, value)| of(value).map_err(|why| format!("`{name}`[{at}] {why}"));
    elements.iter().enumerate().map(element).collect()
}

fn word(value: &Value) -> Result<String, String> {
    match value {
        Value::String(word) => Ok(word.clone()),
        other => Err(format!("is {}, not a string", kind(other))),
    }
}

fn tag(value: &Value) -> Result<String, String> {
    match value {
        Value::String(tag) if tag.trim().is_empty() => {
            Err("is empty; write O for no entity".into())
        }
        Value::String(tag) => Ok(tag.clone()),
        Value::Number(tag) if tag.is_u64() => Ok(tag.to_string()),
        other => Err(format!("is {}, not a string", kind(other))),
    }
}

fn check_lengths(TaggedSentence { words, tags, .. }: &TaggedSentence) -> Result<(), String> {
    match words.len() == tags.len() {
        true => Ok(()),
        false => Err(format!(
            "{} words and {} tags; every word needs one tag (O for no entity)",
            words.len(),
            tags.len()
        )),
    }
}
