//! text-embeddings-inference's paths: `/embed`, `/embed_all`, `/embed_sparse`, `/predict`, `/rerank`, `/similarity`,
//! `/tokenize`, `/decode`, `/info`, `/health`, `/metrics`.
//!
//! With several models, the first registered one with the right task answers, or the one that the
//! field `model` names. text-embeddings-inference has no such field.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gradus_models::Precision;
use gradus_models::tokenizer::char_offsets;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cohere;
use super::shared::ranking::{query, ranked, ranker};
use super::shared::similarity::similarities;
use super::shared::texts::{empty, inputs, one_or_pair, plain, texts};
use super::shared::token::Token;
use super::shared::{model, options};
use crate::answer::{Computed, OneOrMany, large_json, small_json};
use crate::app::App;
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::{expected, list, strings};
use crate::offload::encode_within;
use crate::pipeline::{Pipeline, Task};
use crate::question::{EncodeOptions, Question, Text, check_copies};
use crate::served::Served;

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/embed", post(embed))
        .route("/embed_all", post(embed_all))
        .route("/embed_sparse", post(embed_sparse))
        .route("/predict", post(predict))
        .route("/rerank", post(rerank))
        .route("/similarity", post(similarity))
        .route("/tokenize", post(tokenize))
        .route("/decode", post(decode))
        .route("/info", get(info))
        .merge(health_route())
}

/// The path that tells whether the server takes requests.
pub fn health_route() -> Router<Arc<App>> {
    Router::new().route("/health", get(health))
}

/// The path that Prometheus reads.
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

async fn embed(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::of_task(&call, &mut fields, &[Task::Embed])?;
    let options = options::encoding(&call, &mut fields)?;
    let normalize = fields.bool("normalize")?.unwrap_or(true);
    let dimensions = fields.count("dimensions")?;
    let texts = inputs(&call, fields.required("inputs")?, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let question = Question::new(texts, options, call.caller);
    let asked = served.embed(question, normalize, dimensions).await?;
    let numbers = asked.answers.iter().map(Vec::len).sum();
    Computed::json(asked.answers, numbers, asked.usage).await
}

async fn embed_all(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::of_task(&call, &mut fields, &[Task::Embed])?;
    let options = options::encoding(&call, &mut fields)?;
    let texts = inputs(&call, fields.required("inputs")?, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let asked = served.embed_tokens(Question::new(texts, options, call.caller)).await?;
    let numbers = asked.answers.iter().flatten().map(Vec::len).sum();
    Computed::json(asked.answers, numbers, asked.usage).await
}

async fn embed_sparse(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::of_task(&call, &mut fields, &[Task::FillMask])?;
    let options = options::encoding(&call, &mut fields)?;
    let texts = inputs(&call, fields.required("inputs")?, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let asked = served.embed_sparse(Question::new(texts, options, call.caller)).await?;
    let numbers = 4 * asked.answers.iter().map(Vec::len).sum::<usize>();
    Computed::json(asked.answers, numbers, asked.usage).await
}

async fn predict(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::of_task(&call, &mut fields, &[Task::Classify])?;
    let options = options::encoding(&call, &mut fields)?;
    let scores = options::scores(&mut fields)?;
    let (texts, single) = match fields.required("inputs")? {
        Value::String(text) => (vec![plain(text, "inputs")?], true),
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
    Computed::json(OneOrMany::new(asked.answers, single), numbers, asked.usage).await
}

/// A text's place in a ranking.
#[derive(Serialize)]
struct Rank {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

async fn rerank(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    // Clients of Cohere and its kin use this path too.
    if fields.has("documents") {
        return cohere::rerank(call, fields, "1").await;
    }
    fields.refuse(
        &["return_documents", "rank_fields", "max_chunks_per_doc", "max_tokens_per_doc"],
        "goes with `documents`, not with `texts`",
    )?;
    let served = ranker(&call, &mut fields)?;
    let options = options::encoding(&call, &mut fields)?;
    let scores = options::scores(&mut fields)?;
    let return_text = fields.bool("return_text")?.unwrap_or(false);
    // text-embeddings-inference has no such field, but clients send it.
    let top_n = options::top(&mut fields, "top_n")?.unwrap_or(usize::MAX);
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
    Computed::json(ranks, numbers, asked.usage).await
}

async fn similarity(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::of_task(&call, &mut fields, &[Task::Embed])?;
    // Options are in `parameters`, as in sentence-similarity pipelines.
    let mut parameters = fields.object("parameters")?;
    let options = options::encoding(&call, &mut parameters)?;
    let inputs = fields.required("inputs")?;
    similarities(&call, &served, inputs, options).await
}

/// Most tokens of an answer of `/tokenize`: each takes some hundred bytes.
const MAX_TOKENS: usize = 1 << 18;

async fn tokenize(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = model::any(&call, &mut fields)?;
    let add_special = fields.bool("add_special_tokens")?.unwrap_or(true);
    // Without `prompt_name`, the tokens of the texts alone.
    let prompt = match fields.string("prompt_name")? {
        Some(name) => {
            let options = EncodeOptions { prompt: Some(name), ..EncodeOptions::default() };
            served.prompt(&options)?.unwrap_or_default().to_string()
        }
        None => String::new(),
    };
    let texts = match fields.required("inputs")? {
        Value::String(text) => vec![text],
        other => strings(other, "inputs")?,
    };
    call.count(texts.len(), "inputs")?;
    if let Some(i) = texts.iter().position(String::is_empty) {
        return Err(empty(&format!("inputs[{i}]")));
    }
    let texts: Vec<String> = texts.iter().map(|text| format!("{prompt}{text}")).collect();
    let bytes = texts.iter().map(String::len).sum();
    let tokens = encode_within(bytes, call.caller.deadline, move || {
        let mut left = MAX_TOKENS;
        texts.iter().map(|text| tokens(&served, text, add_special, &mut left)).collect()
    });
    let tokens: Vec<Vec<Token>> = tokens.await?;
    let numbers = 10 * tokens.iter().map(Vec::len).sum::<usize>();
    large_json(tokens, numbers).await
}

/// The tokens of a text; they count against `left`.
fn tokens(served: &Served, text: &str, special_too: bool, left: &mut usize) -> Result<Vec<Token>> {
    let encoded = served.pipeline().tokenizer().encode(text, None, *left);
    let encoded = encoded.map_err(|e| Problem::invalid(e.to_string()))?;
    if encoded.truncated {
        let message = format!("has more than {MAX_TOKENS} tokens; send parts of it");
        return Err(Problem { kind: Kind::TooLarge, ..Problem::field("inputs", message) });
    }
    *left = (*left - encoded.len()).max(2);
    let places = char_offsets(text, &encoded.offsets);
    let tokens = encoded.ids.iter().zip(encoded.tokens).zip(encoded.special).zip(places);
    Ok(tokens
        .filter(|((_, special), _)| special_too || !special)
        .map(|(((&id, text), special), place)| Token::new(id, text, special, place))
        .collect())
}

async fn decode(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = model::any(&call, &mut fields)?;
    let skip_special = fields.bool("skip_special_tokens")?.unwrap_or(true);
    let sequences = texts(fields.required("ids")?, "ids")?;
    call.count(sequences.len(), "ids")?;
    let ids = sequences.into_iter().enumerate().map(|(i, sequence)| match sequence {
        Text::Ids(ids) => Ok(ids),
        _ => Err(Problem::field(&format!("ids[{i}]"), "must be a list of token ids")),
    });
    let sequences = ids.collect::<Result<Vec<Vec<u32>>>>()?;
    let count = sequences.iter().map(Vec::len).sum();
    let texts = encode_within(count, call.caller.deadline, move || {
        let text = |ids: &Vec<u32>| {
            served.check_ids(ids)?;
            let text = served.pipeline().tokenizer().decode(ids, skip_special);
            text.map_err(|e| Problem::invalid(e.to_string()))
        };
        sequences.iter().map(text).collect::<Result<Vec<String>>>()
    })
    .await?;
    let numbers = texts.iter().map(String::len).sum();
    large_json(texts, numbers).await
}

async fn info(State(app): State<Arc<App>>) -> Result<Response> {
    let served = app.models.any();
    let served = served.ok_or_else(|| Problem::new(Kind::Unavailable, "no model is loaded"))?;
    let dtype = match app.models.compute().precision {
        Precision::F32 => "float32",
        Precision::F16 => "float16",
        Precision::Bf16 => "bfloat16",
        Precision::Int8 => "int8",
    };
    let options = app.models.options();
    Ok(small_json(&json!({
        "model_id": served.origin(app.store.as_deref()),
        "model_sha": null,
        "model_dtype": dtype,
        "served_model_name": served.name,
        "model_type": model_type(served.pipeline()),
        "architecture": served.pipeline().config().model_type,
        "max_concurrent_requests": options.max_queue,
        "max_input_length": served.pipeline().max_length(),
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

fn model_type(pipeline: &Pipeline) -> Value {
    let labels = pipeline.labels().iter().enumerate();
    let id2label: Map<String, Value> =
        labels.clone().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
    let label2id: Map<String, Value> =
        labels.map(|(id, label)| (label.clone(), id.into())).collect();
    let labels = json!({"id2label": id2label, "label2id": label2id});
    match pipeline {
        Pipeline::Embed(p) => json!({"embedding": {"pooling": p.pooling()}}),
        Pipeline::Classify(p) if p.labels().len() == 1 => json!({"reranker": labels}),
        Pipeline::Classify(_) => json!({"classifier": labels}),
        Pipeline::Tag(_) => json!({"token_classifier": labels}),
        // As text-embeddings-inference calls it.
        Pipeline::FillMask(p) if p.is_sparse() => json!({"embedding": {"pooling": "splade"}}),
        Pipeline::FillMask(_) => json!({"fill_mask": {}}),
        Pipeline::Answer(_) => json!({"question_answerer": {}}),
    }
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
    let versions = app.models.list().into_iter().flat_map(|listed| listed.versions);
    let loads = versions.map(|s| (s.name.clone(), s.version, s.scheduler.load()));
    let text = app.metrics.render(loads);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
