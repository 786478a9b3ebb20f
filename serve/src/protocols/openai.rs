//! OpenAI's embeddings: `POST /v1/embeddings`, `GET /v1/models[/{model}]`.
//!
//! The Python client asks for base64 (little-endian f32) unless told otherwise, and tries again on
//! 429 and 5xx.

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

use super::tei;
use crate::app::App;
use crate::ask::{Encode, Question};
use crate::call::{Call, answer, small, with_usage};
use crate::error::{Kind, Problem, Result};
use crate::pipeline::Task;
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

/// A vector as the client asked for it.
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

async fn embeddings(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = tei::model(&call, &mut fields, &[Task::Embed])?;
    let base64 = match fields.string("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Problem::field("encoding_format", "must be `float` or `base64`")),
    };
    let dimensions = fields.count("dimensions")?;
    let options = Encode { truncate: call.app.limits.truncate, ..Encode::default() };
    let texts = tei::inputs(&call, fields.required("input")?, "input")?;
    // Whoever stands behind the request changes no answer.
    fields.string("user")?;
    fields.end(&FIELDS)?;
    call.count(texts.len(), "input")?;
    let asked = served.embed(Question::new(texts, options, call.caller), true, dimensions).await?;
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
    Ok(with_usage(answer(body, numbers).await?, &asked.usage))
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
    small(&json!({"object": "list", "data": data}))
}

/// `GET /v1/models/{model}` is TensorFlow Serving's path too; this is OpenAI's answer to it, which
/// stands beside theirs in one object.
pub fn model(app: &App, name: &str) -> Result<Value> {
    Ok(about(&app.models.versions(name)?, name))
}
