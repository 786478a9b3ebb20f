//! The file of a tokenizer, `tokenizer.json`: its tokens, those that other files add, and the
//! tokenizer that it makes.

use std::path::Path;

use serde_json::{Value, json};

use super::options::{Options, content};
use crate::error::{Error, Result};
use crate::files;

/// The id that a file gives to a token.
pub(super) fn id_of(file: &Value, name: &str) -> Option<u32> {
    let in_vocab = match &file["model"]["vocab"] {
        Value::Object(vocab) => vocab.get(name).and_then(number),
        // SentencePiece: pairs of a piece and its score.
        Value::Array(pieces) => {
            let at = pieces.iter().position(|piece| piece.get(0).is_some_and(|p| p == name));
            at.and_then(|at| u32::try_from(at).ok())
        }
        _ => None,
    };
    let added = || {
        let mut tokens = file["added_tokens"].as_array().into_iter().flatten();
        tokens.find(|token| content(token) == Some(name)).and_then(|token| number(&token["id"]))
    };
    in_vocab.or_else(added)
}

/// The first id that a file gives to no token.
fn next_id(file: &Value) -> u32 {
    let vocab = match &file["model"]["vocab"] {
        Value::Object(vocab) => vocab.values().filter_map(number).max().map_or(0, |last| last + 1),
        Value::Array(pieces) => pieces.len() as u32,
        _ => 0,
    };
    let added = file["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|token| number(&token["id"])).max().map_or(0, |last| last + 1);
    vocab.max(added)
}

fn number(id: &Value) -> Option<u32> {
    id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| id < u32::MAX)
}

/// A special token as `tokenizer.json` writes it.
pub(super) fn special_token(id: u32, content: &str) -> Value {
    json!({
        "id": id, "content": content, "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

/// Adds the tokens of the settings to a file. A token of the vocabulary that is in `names` becomes
/// special; `takes_space` is the one that is written with the space before it.
///
/// # Errors
/// When a token has two ids.
pub(crate) fn add_tokens(
    file: &mut Value,
    options: &Options,
    names: &[String],
    takes_space: Option<&String>,
) -> std::result::Result<(), String> {
    if !file["added_tokens"].is_array() {
        file["added_tokens"] = json!([]);
    }
    let past = options.added.keys().max().map_or(0, |last| last.saturating_add(1));
    let mut next = next_id(file).max(past);
    for (id, token) in &options.added {
        let name = content(token).unwrap_or_default();
        if let Some(other) = id_of(file, name).filter(|other| other != id) {
            return Err(format!("the added token `{name}` has two ids, {id} and {other}"));
        }
        put(file, name, token.clone(), true);
    }
    for token in &options.named {
        let name = content(token).unwrap_or_default();
        let mut token = token.clone();
        token["id"] = json!(id_of(file, name).unwrap_or(next));
        if takes_space.is_some_and(|mask| mask == name) && !options.is_described("mask_token") {
            token["lstrip"] = json!(true);
        }
        next = next.saturating_add(u32::from(token["id"] == next));
        put(file, name, token, false);
    }
    for name in names {
        if let Some(id) = id_of(file, name) {
            let mut token = special_token(id, name);
            token["lstrip"] = json!(takes_space == Some(name));
            put(file, name, token, false);
        }
    }
    if let Some(list) = file["added_tokens"].as_array_mut() {
        list.sort_by_key(|token| token["id"].as_u64());
    }
    Ok(())
}

/// Puts a token among the added ones; it replaces one of the same name only if `over`.
fn put(file: &mut Value, name: &str, token: Value, over: bool) {
    let Some(list) = file["added_tokens"].as_array_mut() else { return };
    match list.iter().position(|other| content(other) == Some(name)) {
        Some(at) if over => list[at] = token,
        Some(_) => {}
        None => list.push(token),
    }
}

/// Builds a tokenizer from its file, and checks that its added tokens have the ids that the file
/// gives them. The crate panics on JSON that is cut short, so it gets a parsed value, and on some
/// malformed parts.
pub(crate) fn parse(file: Value, path: &Path) -> Result<tokenizers::Tokenizer> {
    let added = file["added_tokens"].clone();
    let built = std::panic::catch_unwind(|| serde_json::from_value::<tokenizers::Tokenizer>(file));
    let tokenizer = match built {
        Ok(Ok(tokenizer)) => tokenizer,
        Ok(Err(e)) => return Err(Error::tokenizer(path, format!("not a tokenizer file: {e}"))),
        Err(_) => {
            return Err(Error::tokenizer(
                path,
                "not a tokenizer file: one of its parts is malformed",
            ));
        }
    };
    for token in added.as_array().into_iter().flatten() {
        let (Some(name), Some(id)) = (content(token), token["id"].as_u64()) else { continue };
        match tokenizer.token_to_id(name) {
            Some(got) if u64::from(got) == id => {}
            got => {
                let got = got.map_or("none".to_string(), |got| got.to_string());
                return Err(Error::tokenizer(
                    path,
                    format!(
                        "the added token `{name}` has the id {id}, but its place after the \
                         vocabulary is {got}: a token before it is missing"
                    ),
                ));
            }
        }
    }
    Ok(tokenizer)
}

/// A text file.
pub(crate) fn text(path: &Path) -> Result<String> {
    String::from_utf8(files::read(path)?).map_err(|e| {
        Error::tokenizer(path, format!("invalid UTF-8 at byte {}", e.utf8_error().valid_up_to()))
    })
}
