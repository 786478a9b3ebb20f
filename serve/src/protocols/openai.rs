//! OpenAI's embeddings: `POST /v1/embeddings`, `GET /v1/models[/{model}]`.
//!
//! OpenAI's Python client asks for base64 (little-endian f32) by default, and tries again on 429
//! and 5xx.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::shared::model;
use super::shared::texts::inputs;
use crate::answer::{Computed, small_json};
use crate::app::App;
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::pipeline::Task;
use crate::question::Question;
use crate::registry::Listed;

/// The fields of a request. Others are refused, as OpenAI refuses them.
pub const FIELDS: [&str; 5] = ["input", "model", "encoding_format", "dimensions", "user"];

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/embeddings", post(embeddings))
        .route("/v1/models", get(models))
}

/// `{"error":{"message","type","param","code"}}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    let (kind, code) = match problem.kind {
        Kind::Unauthorized => ("invalid_request_error", Some("invalid_api_key")),
        Kind::NoModel | Kind::NoVersion => ("invalid_request_error", Some("model_not_found")),
        Kind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
        Kind::Overloaded => ("rate_limit_error", Some("rate_limit_exceeded")),
        Kind::Internal | Kind::Unavailable | Kind::Timeout => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let body =
        json!({"message": problem.message, "type": kind, "param": problem.param, "code": code});
    (problem.kind.status(), json!({"error": body}))
}

/// A vector in the encoding that the client asked for.
#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
struct Embeddings {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Tokens,
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: usize,
    total_tokens: usize,
}

async fn embeddings(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::of_task(&call, &mut fields, &[Task::Embed])?;
    let base64 = match fields.string("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Problem::field("encoding_format", "must be `float` or `base64`")),
    };
    let dimensions = fields.count("dimensions")?;
    let texts = inputs(&call, fields.required("input")?, "input")?;
    // The user behind the request changes no answer.
    fields.string("user")?;
    fields.end(&FIELDS)?;
    call.count(texts.len(), "input")?;
    let question = Question::new(texts, call.default_options(), call.caller);
    let asked = served.embed(question, true, dimensions).await?;
    let numbers = asked.answers.iter().map(Vec::len).sum();
    let vector = move |numbers: Vec<f32>| match base64 {
        false => Vector::Numbers(numbers),
        true => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    };
    let data = asked.answers.into_iter().enumerate().map(|(index, numbers)| Embedding {
        object: "embedding",
        index,
        embedding: vector(numbers),
    });
    let tokens = asked.usage.tokens;
    let body = Embeddings {
        object: "list",
        data: data.collect(),
        model: served.name.clone(),
        usage: Tokens { prompt_tokens: tokens, total_tokens: tokens },
    };
    Computed::json(body, numbers, asked.usage).await
}

fn about(listed: &Listed, name: &str) -> Value {
    let served = listed.versions.iter().find(|served| served.version == listed.default);
    let created = served.and_then(|s| s.loaded.duration_since(UNIX_EPOCH).ok());
    json!({
        "id": name,
        "object": "model",
        "created": created.unwrap_or_default().as_secs(),
        "owned_by": "gradus",
    })
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let mut data = Vec::new();
    for listed in app.models.list() {
        data.push(about(&listed, &listed.name));
        data.extend(app.models.aliases.of(&listed.name).iter().map(|alias| about(&listed, alias)));
    }
    small_json(&json!({"object": "list", "data": data}))
}

/// OpenAI's part of the answer to `GET /v1/models/{model}`. The path is TensorFlow Serving's too,
/// and one object has the fields of both.
pub fn described(app: &App, name: &str) -> Result<Value> {
    Ok(about(&app.models.versions(name)?, name))
}
