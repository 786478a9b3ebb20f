//! Texts and token ids in the shapes of text-embeddings-inference and OpenAI.

use serde_json::Value;

use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::{expected, ids, strings};
use crate::question::Text;

/// As [`texts`]; refuses token ids where the server takes none (`--no-token-ids`).
pub fn inputs(call: &Call, value: Value, at: &str) -> Result<Vec<Text>> {
    let texts = texts(value, at)?;
    if texts.iter().any(|text| matches!(text, Text::Ids(_))) {
        call.app.take_token_ids(at)?;
    }
    Ok(texts)
}

/// A text, texts, token ids, or lists of token ids. Empty texts are refused.
pub fn texts(value: Value, at: &str) -> Result<Vec<Text>> {
    let one = |value: Value, at: &str| match value {
        Value::String(text) => plain(text, at),
        Value::Array(items) => token_ids(&items, at),
        other => Err(expected(at, "a text or a list of token ids", &other)),
    };
    match value {
        Value::String(text) => Ok(vec![plain(text, at)?]),
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            Ok(vec![token_ids(&items, at)?])
        }
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(i, item)| one(item, &format!("{at}[{i}]"))).collect()
        }
        other => Err(expected(at, "a text or a list of texts", &other)),
    }
}

/// A list of one text, or of two texts, which are a pair.
pub fn one_or_pair(items: Vec<Value>, at: &str) -> Result<Text> {
    let count = items.len();
    let mut texts = strings(Value::Array(items), at)?.into_iter();
    match (texts.next(), texts.next(), count) {
        (Some(text), None, 1) => plain(text, at),
        (Some(a), Some(b), 2) => Ok(Text::Pair(a, b)),
        (None, ..) => Err(empty(at)),
        _ => Err(Problem::field(at, format!("has {count} texts; send one text, or two as a pair"))),
    }
}

/// A text that must not be empty.
pub fn plain(text: String, at: &str) -> Result<Text> {
    match text.is_empty() {
        true => Err(empty(at)),
        false => Ok(Text::Plain(text)),
    }
}

fn token_ids(items: &[Value], at: &str) -> Result<Text> {
    match items.is_empty() {
        true => Err(empty(at)),
        false => Ok(Text::Ids(ids(items, at)?)),
    }
}

/// The error of an empty text.
pub fn empty(at: &str) -> Problem {
    let problem = Problem::field(at, "is empty; send a text");
    Problem { kind: Kind::Empty, ..problem }
}
