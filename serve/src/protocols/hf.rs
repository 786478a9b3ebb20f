//! The shapes of Hugging Face's pipelines, for `InferenceClient`: `POST /` for the first model, `POST /models/{model}`
//! for one by name.
//!
//! `{"inputs": …, "parameters": {…}}`: text classification is nested (`[[{"label","score"}]]`, of which the client
//! takes the first), fill-mask a list of `{"score","token","token_str","sequence"}` (a list a mask where there are
//! several), feature extraction a vector a text, sentence similarity a list of numbers, token classification a list of
//! words or spans.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::post;
use gradus_models::pipelines::{Fill, Tag, spans};
use serde::Serialize;
use serde_json::Value;

use super::tei;
use crate::app::App;
use crate::ask::{Encode, Question, Scores, Text, dot};
use crate::call::{Call, answer, with_usage};
use crate::error::{Kind, Problem, Result};
use crate::json::{Fields, expected, string, strings};
use crate::pipeline::Task;
use crate::registry::{Served, Version};

/// The paths; `/models/{model}` stands with TorchServe's, which has other methods there.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/", post(first))
}

async fn first(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = match fields.string("model")? {
        Some(name) => call.app.models.get(&name, &Version::Default)?,
        None => {
            let any = call.app.models.any();
            any.ok_or_else(|| Problem::new(Kind::Unavailable, "no model is loaded"))?
        }
    };
    pipeline(served, call, fields).await
}

/// `POST /models/{model}`.
pub async fn named(Path(model): Path<String>, call: Call) -> Result<Response> {
    let served = call.app.models.get(&model, &Version::Default)?;
    let fields = call.fields().await?;
    pipeline(served, call, fields).await
}

/// How logits become scores.
pub const FUNCTIONS: [&str; 3] = ["none", "softmax", "sigmoid"];
/// How words are grouped.
pub const STRATEGIES: [&str; 5] = ["none", "simple", "first", "average", "max"];

/// The options of single tasks.
struct Pipes {
    function: Option<String>,
    strategy: Option<String>,
    top_k: Option<usize>,
}

async fn pipeline(served: Arc<Served>, call: Call, mut fields: Fields) -> Result<Response> {
    let mut parameters = fields.object("parameters")?;
    let inputs = fields.required("inputs")?;
    // The client puts a task's own options beside the inputs or among the parameters.
    let truncate = parameters.bool("truncate")?.or(fields.bool("truncate")?);
    let options = Encode {
        truncate: truncate.unwrap_or(call.app.limits.truncate),
        left: false,
        prompt: parameters.string("prompt_name")?.or(fields.string("prompt_name")?),
    };
    // Options of other tasks are read too: what is no option is refused whatever the model.
    let pipes = Pipes {
        function: one_of(&mut parameters, "function_to_apply", &FUNCTIONS)?,
        strategy: one_of(&mut parameters, "aggregation_strategy", &STRATEGIES)?,
        top_k: top_k(&mut parameters)?,
    };
    match served.task() {
        Task::Embed if inputs.is_object() => similarity(served, call, inputs, options).await,
        Task::Embed => {
            let normalize = parameters.bool("normalize")?.or(fields.bool("normalize")?);
            let texts = tei::texts(inputs, "inputs")?;
            call.count(texts.len(), "inputs")?;
            let normalize = normalize.unwrap_or(true);
            let asked =
                served.embed(Question::new(texts, options, call.caller), normalize, None).await?;
            let numbers = asked.answers.iter().map(Vec::len).sum();
            Ok(with_usage(answer(asked.answers, numbers).await?, &asked.usage))
        }
        Task::Classify => classify(served, call, inputs, &pipes, options).await,
        Task::FillMask => fill_mask(served, call, inputs, &pipes, options).await,
        Task::Tag => tag(served, call, inputs, &pipes, options).await,
    }
}

async fn similarity(
    served: Arc<Served>,
    call: Call,
    inputs: Value,
    options: Encode,
) -> Result<Response> {
    let mut inputs = Fields::of(inputs, "inputs")?;
    let source = string(inputs.required("source_sentence")?, "inputs.source_sentence")?;
    let sentences = strings(inputs.required("sentences")?, "inputs.sentences")?;
    call.count(sentences.len(), "inputs.sentences")?;
    if source.is_empty() || sentences.iter().any(String::is_empty) {
        return Err(Problem::new(Kind::Empty, "`inputs` has an empty sentence; send texts"));
    }
    let texts = std::iter::once(source).chain(sentences).map(Text::Plain).collect();
    let asked = served.embed(Question::new(texts, options, call.caller), true, None).await?;
    let (source, others) = match asked.answers.split_first() {
        Some((source, others)) => (source.as_slice(), others),
        None => (&[][..], &[][..]),
    };
    let similarities: Vec<f32> = others.iter().map(|other| dot(source, other)).collect();
    let numbers = similarities.len();
    Ok(with_usage(answer(similarities, numbers).await?, &asked.usage))
}

/// A text, or `{"text", "text_pair"}`.
fn text(value: Value, at: &str) -> Result<Text> {
    match value {
        Value::String(text) => Ok(Text::Plain(text)),
        Value::Object(_) => {
            let mut fields = Fields::of(value, at)?;
            let text = string(fields.required("text")?, &fields.at("text"))?;
            match fields.string("text_pair")? {
                Some(pair) => Ok(Text::Pair(text, pair)),
                None => Ok(Text::Plain(text)),
            }
        }
        other => Err(expected(at, "a text, or an object with `text`", &other)),
    }
}

/// Texts, and whether there is one by itself.
fn texts(inputs: Value) -> Result<(Vec<Text>, bool)> {
    match inputs {
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            let texts = items.map(|(i, item)| text(item, &format!("inputs[{i}]")));
            Ok((texts.collect::<Result<_>>()?, false))
        }
        other => Ok((vec![text(other, "inputs")?], true)),
    }
}

/// A parameter that is one of some words.
fn one_of(parameters: &mut Fields, key: &str, words: &[&str]) -> Result<Option<String>> {
    match parameters.string(key)? {
        Some(word) if !words.contains(&word.as_str()) => {
            let message = format!("must be one of {}", words.join(", "));
            Err(Problem::field(&parameters.at(key), message))
        }
        word => Ok(word),
    }
}

/// How many answers are wanted, at least one.
fn top_k(parameters: &mut Fields) -> Result<Option<usize>> {
    match parameters.count("top_k")? {
        Some(0) => Err(Problem::field(&parameters.at("top_k"), "is 0; it must be 1 or more")),
        count => Ok(count),
    }
}

async fn classify(
    served: Arc<Served>,
    call: Call,
    inputs: Value,
    pipes: &Pipes,
    options: Encode,
) -> Result<Response> {
    let scores = match pipes.function.as_deref() {
        Some("none") => Scores::Raw,
        _ => Scores::Model,
    };
    let top_k = pipes.top_k.unwrap_or(usize::MAX);
    let (texts, _) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let asked = served.classify(Question::new(texts, options, call.caller), scores).await?;
    let mut answers = asked.answers;
    answers.iter_mut().for_each(|labels| labels.truncate(top_k));
    let numbers = 10 * answers.iter().map(Vec::len).sum::<usize>();
    Ok(with_usage(answer(answers, numbers).await?, &asked.usage))
}

/// A word for a mask.
#[derive(Serialize)]
struct Filled {
    score: f32,
    token: u32,
    token_str: String,
    sequence: String,
}

impl From<Fill> for Filled {
    fn from(fill: Fill) -> Filled {
        Filled { score: fill.score, token: fill.id, token_str: fill.token, sequence: fill.sequence }
    }
}

/// A list a mask; of a single mask the list itself.
#[derive(Serialize)]
#[serde(untagged)]
enum Masks {
    One(Vec<Filled>),
    Several(Vec<Vec<Filled>>),
}

impl From<Vec<Vec<Fill>>> for Masks {
    fn from(masks: Vec<Vec<Fill>>) -> Masks {
        let mut masks: Vec<Vec<Filled>> =
            masks.into_iter().map(|fills| fills.into_iter().map(Filled::from).collect()).collect();
        match masks.len() {
            1 => Masks::One(masks.pop().unwrap_or_default()),
            _ => Masks::Several(masks),
        }
    }
}

async fn fill_mask(
    served: Arc<Served>,
    call: Call,
    inputs: Value,
    pipes: &Pipes,
    options: Encode,
) -> Result<Response> {
    let top_k = pipes.top_k.unwrap_or(5);
    let (texts, single) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let asked = served.fill_mask(Question::new(texts, options, call.caller), top_k).await?;
    let numbers = 20 * asked.answers.iter().flatten().map(Vec::len).sum::<usize>();
    let mut answers = asked.answers.into_iter().map(Masks::from);
    let response = match (single, answers.next()) {
        (true, Some(one)) => answer(one, numbers).await?,
        (_, first) => answer(first.into_iter().chain(answers).collect::<Vec<_>>(), numbers).await?,
    };
    Ok(with_usage(response, &asked.usage))
}

/// A word by itself, or a span.
#[derive(Serialize)]
#[serde(untagged)]
enum Tagged {
    Word { entity: String, score: f32, index: usize, word: String, start: usize, end: usize },
    Span { entity_group: String, score: f32, word: String, start: usize, end: usize },
}

async fn tag(
    served: Arc<Served>,
    call: Call,
    inputs: Value,
    pipes: &Pipes,
    options: Encode,
) -> Result<Response> {
    // InferenceClient's default is `simple`.
    let group = pipes.strategy.as_deref() != Some("none");
    let (texts, single) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let plain: Vec<String> = texts
        .iter()
        .map(|text| match text {
            Text::Plain(text) | Text::Pair(text, _) => text.clone(),
            Text::Ids(_) => String::new(),
        })
        .collect();
    let asked = served.tag(Question::new(texts, options, call.caller)).await?;
    let word = |(index, tag): (usize, Tag)| Tagged::Word {
        entity: tag.label,
        score: tag.score,
        index: index + 1,
        word: tag.text,
        start: tag.start,
        end: tag.end,
    };
    let span = |tag: Tag| Tagged::Span {
        entity_group: tag.label,
        score: tag.score,
        word: tag.text,
        start: tag.start,
        end: tag.end,
    };
    let mut answers = plain.iter().zip(asked.answers).map(|(text, words)| match group {
        true => spans(text, &words).into_iter().map(span).collect::<Vec<_>>(),
        false => {
            let words = words.into_iter().enumerate().filter(|(_, tag)| tag.label != "O");
            words.map(word).collect()
        }
    });
    let numbers = 20 * plain.iter().map(String::len).sum::<usize>();
    let response = match (single, answers.next()) {
        (true, Some(one)) => answer(one, numbers).await?,
        (_, first) => answer(first.into_iter().chain(answers).collect::<Vec<_>>(), numbers).await?,
    };
    Ok(with_usage(response, &asked.usage))
}
