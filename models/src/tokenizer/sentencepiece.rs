//! Models of SentencePiece: protobuf files with pieces, scores and rules for characters
//! (`sentencepiece_model.proto`).
//!
//! fairseq, which XLM-RoBERTa and CamemBERT were trained with, counts its own special tokens first,
//! so that ids differ from SentencePiece's.

use std::path::Path;

use prost::Message;
use serde_json::{Value, json};
use tokenizers::normalizers::Precompiled;

use super::class::{CONVERT, Class};
use super::file::special_token;
use super::vocabulary::unigram;
use crate::files;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Rules>,
}

/// `ModelProto.SentencePiece`.
#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// `TrainerSpec`.
#[derive(Clone, PartialEq, Message)]
struct Trainer {
    /// 1 Unigram, 2 BPE, 3 words, 4 characters.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

/// `NormalizerSpec`.
#[derive(Clone, PartialEq, Message)]
struct Rules {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
}

const USER_DEFINED: i32 = 4;

/// Reads a model as the vocabulary of `class`.
///
/// # Errors
/// When it is not a Unigram model of SentencePiece.
pub(super) fn read(path: &Path, class: Class, names: &[String; 5]) -> Result<Value, String> {
    let bytes = files::read(path).map_err(|e| e.to_string())?;
    let model = Model::decode(bytes.as_slice())
        .map_err(|e| format!("not a model of SentencePiece: {e}"))?;
    let kind = model.trainer.as_ref().and_then(|trainer| trainer.model_type).unwrap_or(1);
    if kind != 1 {
        let kind = ["an unknown", "a Unigram", "a BPE", "a word", "a character"]
            .get(usize::try_from(kind).unwrap_or(0))
            .unwrap_or(&"an unknown");
        return Err(format!(
            "is {kind} model, and Gradus reads Unigram models of SentencePiece; write \
             tokenizer.json with\n  {CONVERT}"
        ));
    }
    let left_out = if class == Class::Camembert { 1 } else { 3 };
    if model.pieces.len() <= left_out {
        return Err("the model has no pieces".into());
    }
    let own = model.pieces.iter().skip(left_out);
    let own = own.map(|p| (p.piece.clone().unwrap_or_default(), f64::from(p.score.unwrap_or(0.0))));
    let mut pieces = first(class, names);
    pieces.extend(own);
    pieces.push((names[4].clone(), 0.0));
    let added = added(&model, class, &pieces);
    Ok(unigram(&pieces, rules(model)?, added))
}

/// The pieces that take the places of SentencePiece's first.
fn first(class: Class, names: &[String; 5]) -> Vec<(String, f64)> {
    let [pad, unk, cls, sep, _] = names.each_ref().map(String::as_str);
    let pieces = match class {
        Class::Camembert => vec![
            ("<s>NOTUSED", 0.0),
            (pad, 0.0),
            ("</s>NOTUSED", 0.0),
            (unk, 0.0),
            ("<unk>NOTUSED", -100.0),
        ],
        _ => vec![(cls, 0.0), (pad, 0.0), (sep, 0.0), (unk, 0.0)],
    };
    pieces.into_iter().map(|(piece, score)| (piece.to_string(), score)).collect()
}

/// The pieces that are found in a text before it is split: symbols of the model's user, and the
/// names that CamemBERT does not use.
fn added(model: &Model, class: Class, pieces: &[(String, f64)]) -> Vec<Value> {
    let of_user = model.pieces.iter().filter(|piece| piece.kind == Some(USER_DEFINED));
    let of_user = of_user.filter_map(|piece| piece.piece.as_deref());
    let unused = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"];
    let unused = unused.into_iter().filter(|_| class == Class::Camembert);
    let token = |name: &str, special: bool| {
        let id = pieces.iter().position(|(piece, _)| piece == name)?;
        let mut token = special_token(u32::try_from(id).ok()?, name);
        token["special"] = json!(special);
        Some(token)
    };
    let of_user = of_user.filter_map(|name| token(name, false));
    of_user.chain(unused.filter_map(|name| token(name, true))).collect()
}

/// The rules for characters, as `tokenizer.json` writes them.
fn rules(model: Model) -> Result<Value, String> {
    let rules = model.normalizer.and_then(|rules| rules.precompiled_charsmap);
    let Some(rules) = rules.filter(|rules| !rules.is_empty()) else { return Ok(Value::Null) };
    let normalizer = Precompiled::from(&rules)
        .map_err(|e| format!("its rules for characters are malformed: {e:?}"))?;
    Ok(json!(normalizer))
}
