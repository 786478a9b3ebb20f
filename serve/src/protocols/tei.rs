//! text-embeddings-inference's paths: `/embed`, `/embed_all`, `/predict`, `/rerank`, `/similarity`,
//! `/tokenize`, `/decode`, `/info`, `/health`, `/metrics`.
//!
//! With several models, the first registered one of the right task answers, or that of the field
//! `model`, which text-embeddings-inference does not have.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gradus_models::Precision;
use gradus_models::pipelines::{ClassificationFunction, Score};
use gradus_models::tokenizer::char_offsets;
use serde::Serialize;
use serde_json::{Value, json};

use super::cohere;
use crate::app::App;
use crate::ask::{Asked, Encode, Question, Scores, Text, check_copies, dot, encoding};
use crate::call::{Call, answer, small, with_usage};
use crate::error::{Kind, Problem, Result};
use crate::json::{Fields, expected, ids, list, string, strings};
use crate::pipeline::{Pipeline, Task};
use crate::registry::{Served, Version, wrong_task};

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/embed", post(embed))
        .route("/embed_all", post(embed_all))
        .route("/predict", post(predict))
        .route("/rerank", post(rerank))
        .route("/similarity", post(similarity))
        .route("/tokenize", post(tokenize))
        .route("/decode", post(decode))
        .route("/info", get(info))
        .merge(health_route())
}

/// Whether requests are taken.
pub fn health_route() -> Router<Arc<App>> {
    Router::new().route("/health", get(health))
}

/// What Prometheus asks.
pub fn metrics_route() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(metrics))
}

/// `{"error","error_type"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    let (status, error_type) = match problem.kind {
        Kind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "Validation"),
        Kind::Empty => (StatusCode::BAD_REQUEST, "Empty"),
        Kind::TooLong | Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Validation"),
        Kind::WrongTask => (StatusCode::FAILED_DEPENDENCY, "Backend"),
        Kind::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "Overloaded"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy"),
        Kind::Internal | Kind::Timeout => (problem.kind.status(), "Backend"),
        _ => (problem.kind.status(), "Validation"),
    };
    (status, json!({"error": problem.message, "error_type": error_type}))
}

/// The model of a request: the one it names, or the first of these tasks.
pub fn model(call: &Call, fields: &mut Fields, tasks: &[Task]) -> Result<Arc<Served>> {
    let wanted: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    fitting(call, fields, &wanted.join(" or "), |served| tasks.contains(&served.task()))
}

/// The model of a request: the one it names, or the first that fits.
fn fitting(
    call: &Call,
    fields: &mut Fields,
    wanted: &str,
    fits: impl Fn(&Served) -> bool,
) -> Result<Arc<Served>> {
    let Some(name) = fields.string("model")? else { return call.app.models.first(wanted, fits) };
    let served = call.app.models.get(&name, &Version::Default)?;
    match fits(&served) {
        true => Ok(served),
        false => Err(wrong_task(&served, wanted)),
    }
}

/// `truncate`, `truncation_direction`, `prompt_name`.
pub fn encode(call: &Call, fields: &mut Fields) -> Result<Encode> {
    Ok(Encode { prompt: fields.string("prompt_name")?, ..truncation(call, fields)? })
}

/// `truncate`, `truncation_direction`.
pub fn truncation(call: &Call, fields: &mut Fields) -> Result<Encode> {
    let truncate = fields.bool("truncate")?.unwrap_or(call.app.limits.truncate);
    let left = match fields.string("truncation_direction")?.as_deref() {
        None | Some("Right" | "right") => false,
        Some("Left" | "left") => true,
        Some(_) => return Err(Problem::field("truncation_direction", "must be `Left` or `Right`")),
    };
    Ok(Encode { truncate, left, prompt: None })
}

/// As [`texts`], without token ids where the server takes none (`--no-token-ids`).
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
        Value::String(text) => text_of(text, at),
        Value::Array(items) => ids_of(&items, at),
        other => Err(expected(at, "a text or a list of token ids", &other)),
    };
    match value {
        Value::String(text) => Ok(vec![text_of(text, at)?]),
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            Ok(vec![ids_of(&items, at)?])
        }
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(i, item)| one(item, &format!("{at}[{i}]"))).collect()
        }
        other => Err(expected(at, "a text or a list of texts", &other)),
    }
}

fn text_of(text: String, at: &str) -> Result<Text> {
    match text.is_empty() {
        true => Err(empty(at)),
        false => Ok(Text::Plain(text)),
    }
}

fn ids_of(items: &[Value], at: &str) -> Result<Text> {
    match items.is_empty() {
        true => Err(empty(at)),
        false => Ok(Text::Ids(ids(items, at)?)),
    }
}

fn empty(at: &str) -> Problem {
    let problem = Problem::field(at, "is empty; send a text");
    Problem { kind: Kind::Empty, ..problem }
}

async fn embed(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = model(&call, &mut fields, &[Task::Embed])?;
    let options = encode(&call, &mut fields)?;
    let normalize = fields.bool("normalize")?.unwrap_or(true);
    let dimensions = fields.count("dimensions")?;
    let texts = inputs(&call, fields.required("inputs")?, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let asked =
        served.embed(Question::new(texts, options, call.caller), normalize, dimensions).await?;
    let numbers = asked.answers.iter().map(Vec::len).sum();
    Ok(with_usage(answer(asked.answers, numbers).await?, &asked.usage))
}

async fn embed_all(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = model(&call, &mut fields, &[Task::Embed])?;
    let options = encode(&call, &mut fields)?;
    let texts = inputs(&call, fields.required("inputs")?, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let asked = served.embed_tokens(Question::new(texts, options, call.caller)).await?;
    let numbers = asked.answers.iter().flatten().map(Vec::len).sum();
    Ok(with_usage(answer(asked.answers, numbers).await?, &asked.usage))
}

/// A list of one text or of two, which are a pair.
fn one_or_pair(items: Vec<Value>, at: &str) -> Result<Text> {
    let count = items.len();
    let mut texts = strings(Value::Array(items), at)?.into_iter();
    match (texts.next(), texts.next(), count) {
        (Some(text), None, 1) => text_of(text, at),
        (Some(a), Some(b), 2) => Ok(Text::Pair(a, b)),
        (None, ..) => Err(empty(at)),
        _ => Err(Problem::field(at, format!("has {count} texts; one is a text, two are a pair"))),
    }
}

/// The labels of a text, best first.
#[derive(Serialize)]
#[serde(untagged)]
enum Predictions {
    One(Vec<Score>),
    Many(Vec<Vec<Score>>),
}

async fn predict(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = model(&call, &mut fields, &[Task::Classify])?;
    let options = encode(&call, &mut fields)?;
    let scores = raw(&mut fields)?;
    let (texts, single) = match fields.required("inputs")? {
        Value::String(text) => (vec![text_of(text, "inputs")?], true),
        Value::Array(items) if items.first().is_some_and(Value::is_array) => {
            let items = items.into_iter().enumerate().map(|(i, item)| {
                let at = format!("inputs[{i}]");
                one_or_pair(list(item, &at)?, &at)
            });
            (items.collect::<Result<_>>()?, false)
        }
        Value::Array(items) => (vec![one_or_pair(items, "inputs")?], true),
        other => return Err(expected("inputs", "a text, a pair, or a list of lists", &other)),
    };
    call.count(texts.len(), "inputs")?;
    let asked = served.classify(Question::new(texts, options, call.caller), scores).await?;
    let numbers = 10 * asked.answers.iter().map(Vec::len).sum::<usize>();
    let mut answers = asked.answers;
    let predictions = match single {
        true => Predictions::One(answers.pop().unwrap_or_default()),
        false => Predictions::Many(answers),
    };
    Ok(with_usage(answer(predictions, numbers).await?, &asked.usage))
}

pub(super) fn raw(fields: &mut Fields) -> Result<Scores> {
    Ok(match fields.bool("raw_scores")?.unwrap_or(false) {
        true => Scores::By(ClassificationFunction::None),
        false => Scores::Model,
    })
}

/// A text's place in a ranking.
#[derive(Serialize)]
struct Rank {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

async fn rerank(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    // Cohere's shape and its likes come to this path too.
    if fields.has("documents") {
        return cohere::rerank(call, fields, "1").await;
    }
    let why = "goes with `documents`, not with `texts`";
    fields.refuse(
        &["return_documents", "rank_fields", "max_chunks_per_doc", "max_tokens_per_doc"],
        why,
    )?;
    let served = ranker(&call, &mut fields)?;
    let options = encode(&call, &mut fields)?;
    let scores = raw(&mut fields)?;
    let return_text = fields.bool("return_text")?.unwrap_or(false);
    // Not text-embeddings-inference's own, but sent to it.
    let top_n = top_n(&mut fields)?;
    let query = query(&mut fields)?;
    let texts = strings(fields.required("texts")?, "texts")?;
    call.count(texts.len(), "texts")?;
    check_copies(query.len(), texts.len(), "query")?;
    let pairs = texts.iter().map(|text| Text::Pair(query.clone(), text.clone())).collect();
    let asked = ranked(&served, Question::new(pairs, options, call.caller), scores).await?;
    let rank = |(index, score): (usize, f32)| Rank {
        index,
        score,
        text: return_text.then(|| texts[index].clone()),
    };
    let ranks: Vec<Rank> = asked.answers.into_iter().take(top_n).map(rank).collect();
    let numbers = 10 * ranks.len();
    Ok(with_usage(answer(ranks, numbers).await?, &asked.usage))
}

/// The model of a request for a ranking: a classifier of a single label.
pub(super) fn ranker(call: &Call, fields: &mut Fields) -> Result<Arc<Served>> {
    fitting(call, fields, "ranking, with a single label", |served| {
        served.task() == Task::Classify && served.pipeline().labels().len() == 1
    })
}

/// How many results are wanted, at least one; all where nobody says.
pub(super) fn top_n(fields: &mut Fields) -> Result<usize> {
    match fields.count("top_n")? {
        Some(0) => Err(Problem::field(&fields.at("top_n"), "is 0; it must be 1 or more")),
        count => Ok(count.unwrap_or(usize::MAX)),
    }
}

/// What texts are ranked by.
pub(super) fn query(fields: &mut Fields) -> Result<String> {
    let query = string(fields.required("query")?, "query")?;
    match query.is_empty() {
        true => Err(empty("query")),
        false => Ok(query),
    }
}

/// The places of the pairs and their scores, the best first, equal ones in their order.
pub(super) async fn ranked(
    served: &Arc<Served>,
    pairs: Question,
    scores: Scores,
) -> Result<Asked<(usize, f32)>> {
    let Asked { answers, usage } = served.scores(pairs, scores).await?;
    let first = |scores: Vec<f32>| scores.first().copied().unwrap_or_default();
    let mut answers: Vec<(usize, f32)> = answers.into_iter().map(first).enumerate().collect();
    answers.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Asked { answers, usage })
}

async fn similarity(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = model(&call, &mut fields, &[Task::Embed])?;
    // Options stand in `parameters`, as sentence-similarity pipelines have them.
    let mut parameters = fields.object("parameters")?;
    let options = encode(&call, &mut parameters)?;
    let inputs = fields.required("inputs")?;
    similarities(&call, &served, inputs, options).await
}

/// How alike the source sentence of `inputs` is to each of its sentences.
pub(super) async fn similarities(
    call: &Call,
    served: &Arc<Served>,
    inputs: Value,
    options: Encode,
) -> Result<Response> {
    let mut inputs = Fields::of(inputs, "inputs")?;
    let source = string(inputs.required("source_sentence")?, "inputs.source_sentence")?;
    let sentences = strings(inputs.required("sentences")?, "inputs.sentences")?;
    call.count(sentences.len(), "inputs.sentences")?;
    let mut texts = vec![text_of(source, "inputs.source_sentence")?];
    for (i, sentence) in sentences.into_iter().enumerate() {
        texts.push(text_of(sentence, &format!("inputs.sentences[{i}]"))?);
    }
    let asked = served.embed(Question::new(texts, options, call.caller), true, None).await?;
    let similarities: Vec<f32> = match asked.answers.split_first() {
        Some((source, others)) => others.iter().map(|other| dot(source, other)).collect(),
        None => Vec::new(),
    };
    let numbers = similarities.len();
    Ok(with_usage(answer(similarities, numbers).await?, &asked.usage))
}

/// A token of a text; its place in characters, none for special ones.
#[derive(Serialize)]
pub(super) struct Token {
    id: u32,
    text: String,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

impl Token {
    pub(super) fn new(id: u32, text: String, special: bool, place: (usize, usize)) -> Token {
        let (start, stop) = (!special).then_some(place).unzip();
        Token { id, text, special, start, stop }
    }
}

/// The model that the field `model` names, else any.
pub(super) fn named_or_any(call: &Call, fields: &mut Fields) -> Result<Arc<Served>> {
    match fields.string("model")? {
        Some(name) => call.app.models.get(&name, &Version::Default),
        None => {
            let any = call.app.models.any();
            any.ok_or_else(|| Problem::new(Kind::Unavailable, "no model is loaded"))
        }
    }
}

/// Tokens of an answer of `/tokenize` at most: each is some hundred bytes.
const MOST_TOKENS: usize = 1 << 18;

async fn tokenize(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = named_or_any(&call, &mut fields)?;
    let add_special = fields.bool("add_special_tokens")?.unwrap_or(true);
    // Tokens of the texts alone, unless a prompt is asked for.
    let prompt = match fields.string("prompt_name")? {
        Some(name) => {
            served.prompt(&Encode { prompt: Some(name), ..Encode::default() })?.map(str::to_string)
        }
        None => None,
    };
    let texts = match fields.required("inputs")? {
        Value::String(text) => vec![text],
        other => strings(other, "inputs")?,
    };
    call.count(texts.len(), "inputs")?;
    if let Some(i) = texts.iter().position(String::is_empty) {
        return Err(empty(&format!("inputs[{i}]")));
    }
    let texts: Vec<String> = match prompt {
        Some(prompt) => texts.iter().map(|text| format!("{prompt}{text}")).collect(),
        None => texts,
    };
    let bytes = texts.iter().map(String::len).sum();
    let tokens = encoding(bytes, call.caller.deadline, move || {
        let tokenizer = served.pipeline().tokenizer();
        let mut left = MOST_TOKENS;
        let tokens = texts.iter().map(|text| {
            let encoded = tokenizer.encode(text, None, left);
            let encoded = encoded.map_err(|e| Problem::invalid(e.to_string()))?;
            if encoded.truncated {
                let message = format!("has more than {MOST_TOKENS} tokens; send parts of it");
                let problem = Problem::field("inputs", message);
                return Err(Problem { kind: Kind::TooLarge, ..problem });
            }
            left = (left - encoded.len()).max(2);
            let places = char_offsets(text, &encoded.offsets);
            let tokens = encoded.ids.iter().zip(encoded.tokens).zip(encoded.special).zip(places);
            Ok(tokens
                .filter(|((_, special), _)| add_special || !special)
                .map(|(((&id, text), special), place)| Token::new(id, text, special, place))
                .collect())
        });
        tokens.collect::<Result<Vec<Vec<Token>>>>()
    })
    .await?;
    let numbers = 10 * tokens.iter().map(Vec::len).sum::<usize>();
    answer(tokens, numbers).await
}

async fn decode(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = named_or_any(&call, &mut fields)?;
    let skip_special = fields.bool("skip_special_tokens")?.unwrap_or(true);
    let sequences = texts(fields.required("ids")?, "ids")?;
    call.count(sequences.len(), "ids")?;
    let ids = sequences.into_iter().enumerate().map(|(i, sequence)| match sequence {
        Text::Ids(ids) => Ok(ids),
        _ => Err(Problem::field(&format!("ids[{i}]"), "must be a list of token ids")),
    });
    let sequences = ids.collect::<Result<Vec<Vec<u32>>>>()?;
    let count = sequences.iter().map(Vec::len).sum();
    let texts = encoding(count, call.caller.deadline, move || {
        let text = |ids: &Vec<u32>| {
            served.check_ids(ids)?;
            let text = served.pipeline().tokenizer().decode(ids, skip_special);
            text.map_err(|e| Problem::invalid(e.to_string()))
        };
        sequences.iter().map(text).collect::<Result<Vec<String>>>()
    })
    .await?;
    let numbers = texts.iter().map(String::len).sum();
    answer(texts, numbers).await
}

async fn info(State(app): State<Arc<App>>) -> Result<Response> {
    let served = app.models.any();
    let served = served.ok_or_else(|| Problem::new(Kind::Unavailable, "no model is loaded"))?;
    let pipeline = served.pipeline();
    let labels = pipeline.labels().iter().enumerate();
    let id2label: serde_json::Map<String, Value> =
        labels.clone().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
    let label2id: serde_json::Map<String, Value> =
        labels.map(|(id, label)| (label.clone(), id.into())).collect();
    let model_type = match pipeline {
        Pipeline::Embed(p) => json!({"embedding": {"pooling": p.pooling()}}),
        Pipeline::Classify(p) if p.labels().len() == 1 => {
            json!({"reranker": {"id2label": id2label, "label2id": label2id}})
        }
        Pipeline::Classify(_) => {
            json!({"classifier": {"id2label": id2label, "label2id": label2id}})
        }
        Pipeline::Tag(_) => {
            json!({"token_classifier": {"id2label": id2label, "label2id": label2id}})
        }
        Pipeline::FillMask(_) => json!({"fill_mask": {}}),
    };
    let dtype = match app.models.compute().precision {
        Precision::F32 => "float32",
        Precision::F16 => "float16",
        Precision::Bf16 => "bfloat16",
        Precision::Int8 => "int8",
    };
    let options = app.models.options();
    Ok(small(&json!({
        "model_id": served.origin(app.store.as_deref()),
        "model_sha": null,
        "model_dtype": dtype,
        "served_model_name": served.name,
        "model_type": model_type,
        "max_concurrent_requests": options.max_queue,
        "max_input_length": pipeline.max_length(),
        "max_batch_tokens": options.max_batch_tokens,
        "max_batch_requests": null,
        "max_client_batch_size": app.limits.inputs,
        "auto_truncate": app.limits.truncate,
        "tokenization_workers": rayon::current_num_threads(),
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
    })))
}

async fn health(State(app): State<Arc<App>>) -> Result<Response> {
    match app.ready() {
        true => Ok(StatusCode::OK.into_response()),
        false if app.draining.load(Ordering::Relaxed) => {
            Err(Problem::new(Kind::Unavailable, "the server is shutting down"))
        }
        false => Err(Problem::new(Kind::Unavailable, "no model is loaded")),
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&app.models);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
