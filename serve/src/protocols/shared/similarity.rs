//! How similar a sentence is to others.

use std::sync::Arc;

use serde_json::Value;

use super::texts::plain;
use crate::answer::Computed;
use crate::ask::dot;
use crate::call::Call;
use crate::error::Result;
use crate::json::{Fields, string, strings};
use crate::question::{EncodeOptions, Question};
use crate::served::Served;

/// The cosine of `source_sentence` to each of `sentences`.
pub async fn similarities(
    call: &Call,
    served: &Arc<Served>,
    inputs: Value,
    options: EncodeOptions,
) -> Result<Computed> {
    let mut inputs = Fields::of(inputs, "inputs")?;
    let source = string(inputs.required("source_sentence")?, "inputs.source_sentence")?;
    let sentences = strings(inputs.required("sentences")?, "inputs.sentences")?;
    call.count(sentences.len(), "inputs.sentences")?;
    let mut texts = vec![plain(source, "inputs.source_sentence")?];
    for (i, sentence) in sentences.into_iter().enumerate() {
        texts.push(plain(sentence, &format!("inputs.sentences[{i}]"))?);
    }
    let asked = served.embed(Question::new(texts, options, call.caller), true, None).await?;
    let similarities: Vec<f32> = match asked.answers.split_first() {
        Some((source, others)) => others.iter().map(|other| dot(source, other)).collect(),
        None => Vec::new(),
    };
    let numbers = similarities.len();
    Computed::json(similarities, numbers, asked.usage).await
}
