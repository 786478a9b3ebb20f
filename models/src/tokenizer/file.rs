//! The file of a tokenizer, `tokenizer.json`: made from a vocabulary, or adapted to the settings in
//! other files.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::normalizers::BertNormalizer;

use super::options::{Options, content};
use super::wordpiece;
use crate::error::{Error, Result};
use crate::files;

/// The special tokens of BERT, in the order of their ids in a vocabulary trained here.
pub(crate) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Classes whose vocabulary is read as BERT's.
const OF_VOCAB: [&str; 7] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "LayoutLMTokenizer",
    "ConvBertTokenizer",
    "RetriBertTokenizer",
];

/// Classes that split words by programs of their own and do not read tokenizer.json.
const OF_PYTHON: [&str; 4] =
    ["BertJapaneseTokenizer", "BertweetTokenizer", "TapasTokenizer", "RoCBertTokenizer"];

/// Refuses a tokenizer that Gradus would read as another one.
pub(crate) fn check_class(options: &Options, has_file: bool, path: &Path) -> Result<()> {
    let Some(class) = options.class() else { return Ok(()) };
    if OF_PYTHON.contains(&class) {
        let message = format!("tokenizer_class is `{class}`, which Gradus does not have");
        return Err(Error::tokenizer(path, message));
    }
    if !has_file && !OF_VOCAB.contains(&class) {
        let message = format!(
            "tokenizer_class is `{class}`, and Gradus cannot use the vocabulary of this class; \
             save the tokenizer in Python as tokenizer.json \
             (`AutoTokenizer.from_pretrained(…).save_pretrained(…)`)"
        );
        return Err(Error::tokenizer(path, message));
    }
    Ok(())
}

/// Whether `transformers` builds BERT's tokenizer from the vocabulary instead of using
/// tokenizer.json as it is.
pub(crate) fn is_berts(options: &Options, file: &Value) -> bool {
    let is_wordpiece = file["model"]["type"].as_str().is_none_or(|kind| kind == "WordPiece");
    matches!(options.class(), None | Some("BertTokenizer"))
        && is_wordpiece
        && file["model"]["vocab"].is_object()
}

/// BERT's normaliser by the settings, with the defaults of `transformers`.
pub(crate) fn normalizer(options: &Options) -> BertNormalizer {
    BertNormalizer::new(
        true,
        options.flag("tokenize_chinese_chars").unwrap_or(true),
        options.flag("strip_accents"),
        options.flag("do_lower_case").unwrap_or(true),
    )
}

/// BERT's pipeline over a vocabulary: normaliser, words and punctuation, WordPiece, `[CLS]` and
/// `[SEP]`.
pub(crate) fn assemble(vocab: &[&str], names: &[String; 5], normalizer: BertNormalizer) -> Value {
    let ids: Map<String, Value> =
        vocab.iter().enumerate().map(|(id, token)| (token.to_string(), json!(id))).collect();
    let added: Vec<Value> = vocab
        .iter()
        .enumerate()
        .filter(|(_, token)| names.iter().any(|name| name == *token))
        .map(|(id, token)| special_token(json!(id), token))
        .collect();
    let model = json!({
        "type": "WordPiece", "continuing_subword_prefix": wordpiece::PREFIX,
        "max_input_chars_per_word": wordpiece::MAX_WORD_CHARS, "vocab": ids,
    });
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "model": model,
        "decoder": {"type": "WordPiece", "prefix": wordpiece::PREFIX, "cleanup": true},
    });
    set_bert(&mut file, names, normalizer);
    file
}

fn special_token(id: Value, content: &str) -> Value {
    json!({
        "id": id, "content": content, "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

/// Gives BERT's parts to a file with a WordPiece vocabulary.
fn set_bert(file: &mut Value, names: &[String; 5], normalizer: BertNormalizer) {
    let [_, unk, cls, sep, _] = names;
    file["normalizer"] = json!(normalizer);
    file["normalizer"]["type"] = json!("BertNormalizer");
    file["pre_tokenizer"] = json!({"type": "BertPreTokenizer"});
    file["model"]["unk_token"] = json!(unk);
    if let (Some(cls_id), Some(sep_id)) = (id_of(file, cls), id_of(file, sep)) {
        file["post_processor"] = template((cls, cls_id), (sep, sep_id));
    }
}

/// `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`.
fn template((cls, cls_id): (&str, u32), (sep, sep_id): (&str, u32)) -> Value {
    let special = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let sequence = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let entry = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let single = [special(cls, 0), sequence("A", 0), special(sep, 0)];
    let pair = [&single[..], &[sequence("B", 1), special(sep, 1)][..]].concat();
    json!({
        "type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": {cls: entry(cls, cls_id), sep: entry(sep, sep_id)},
    })
}

/// The id that a file gives to a token.
fn id_of(file: &Value, name: &str) -> Option<u32> {
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

/// Changes a WordPiece file as `transformers` does under BERT's class: the vocabulary stays, and
/// the settings decide the other parts. The notes tell where the file said something else.
pub(crate) fn as_berts(file: &mut Value, names: &[String; 5], options: &Options) -> Vec<String> {
    let before = parts(file);
    set_bert(file, names, normalizer(options));
    file["model"]["type"] = json!("WordPiece");
    file["model"]["continuing_subword_prefix"] = json!(wordpiece::PREFIX);
    file["model"]["max_input_chars_per_word"] = json!(wordpiece::MAX_WORD_CHARS);
    let mut differing = Vec::new();
    for (part, keys) in [
        (
            "normalizer",
            &["type", "lowercase", "strip_accents", "handle_chinese_chars", "clean_text"][..],
        ),
        ("pre_tokenizer", &["type"]),
        ("post_processor", &["type"]),
    ] {
        // A template and BERT's own processor give the same tokens.
        let same_kind = part == "post_processor" && !before[part].is_null();
        let (old, new) = (&before[part], &file[part]);
        differing.extend(keys.iter().filter(|_| !same_kind).filter(|k| old[**k] != new[**k]).map(
            |key| match old.is_null() {
                true => format!("no {part}"),
                false => format!("{part}.{key} {}", old[*key]),
            },
        ));
    }
    differing.dedup();
    match differing.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "tokenizer.json says {}; Gradus follows tokenizer_config.json (do_lower_case, strip_accents and \
             tokenize_chinese_chars, or their defaults), as transformers does",
            differing.join(", ")
        )],
    }
}

/// The parts of a file that BERT's class decides, without the vocabulary, which is large.
fn parts(file: &Value) -> Value {
    let part = |name: &str| file.get(name).cloned().unwrap_or_default();
    json!({
        "normalizer": part("normalizer"), "pre_tokenizer": part("pre_tokenizer"),
        "post_processor": part("post_processor"),
    })
}

/// Adds the tokens of the settings to a file. A token of the vocabulary that is in `names` becomes
/// special.
///
/// # Errors
/// When a token has two ids.
pub(crate) fn add_tokens(
    file: &mut Value,
    options: &Options,
    names: &[String],
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
        next = next.saturating_add(u32::from(token["id"] == next));
        put(file, name, token, false);
    }
    for name in names {
        if let Some(id) = id_of(file, name) {
            put(file, name, special_token(json!(id), name), false);
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
