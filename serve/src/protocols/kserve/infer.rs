//! Inference.

use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::inputs::texts;
use super::outputs::{Output, Wanted, output, wanted_outputs};
use super::which::Which;
use crate::answer::{Computed, large_json};
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::{self, Fields, list};
use crate::protocols::shared::rows::{Row, rows_for};
use crate::question::{Caller, Text};
use crate::served::Served;

const HEADER_LENGTH: &str = "inference-header-content-length";

#[derive(Serialize)]
struct Answered {
    model_name: String,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Output>,
}

/// A question to a model.
struct Inference {
    id: Option<String>,
    /// Who asks, and until when.
    caller: Caller,
    texts: Vec<Text>,
    outputs: Vec<Wanted>,
}

/// `POST …/infer`.
pub async fn infer(Path(which): Path<Which>, call: Call) -> Result<Computed> {
    let served = which.find(&call.app.models)?;
    let Inference { id, caller, texts, outputs: wanted } = inference(&call, &served)?;
    let asked = rows_for(&served, texts, call.default_options(), caller).await?;
    let numbers = asked.answers.iter().map(Row::size).sum::<usize>() * wanted.len();
    let (mut outputs, mut after) = (Vec::new(), Vec::new());
    for want in &wanted {
        outputs.push(output(&served, want, &asked.answers, &mut after)?);
    }
    let body = Answered {
        model_name: served.name.clone(),
        model_version: served.version.to_string(),
        id,
        outputs,
    };
    let response = match after.is_empty() {
        true => large_json(body, numbers).await?,
        false => with_bytes(&body, after)?,
    };
    Ok(Computed::new(response, asked.usage))
}

/// Reads a question.
fn inference(call: &Call, served: &Served) -> Result<Inference> {
    let (header, bytes) = split(call)?;
    let mut fields = Fields::of(json::parse(header)?, "")?;
    let id = fields.string("id")?;
    let mut parameters = fields.object("parameters")?;
    let all_binary = parameters.bool("binary_data_output")?.unwrap_or(false);
    let caller = terms(call.caller, &mut parameters)?;
    let texts = texts(list(fields.required("inputs")?, "inputs")?, bytes)?;
    call.count(texts.len(), "inputs")?;
    let outputs = match fields.take("outputs") {
        None => Vec::new(),
        Some(value) => list(value, "outputs")?,
    };
    Ok(Inference { id, caller, texts, outputs: wanted_outputs(served, outputs, all_binary)? })
}

/// The caller, with the deadline of the request's parameters. Parameters about order are refused.
fn terms(mut caller: Caller, parameters: &mut Fields) -> Result<Caller> {
    let why = "asks for a sequence, but these models keep nothing from one request to the next";
    parameters.refuse(&["sequence_id", "sequence_start", "sequence_end"], why)?;
    parameters.refuse(&["priority"], "is not kept: requests take turns")?;
    if let Some(key) = parameters.keys().find(|key| key.starts_with("triton_")) {
        let key: String = key.chars().take(64).collect();
        let message = "is a name that Triton keeps for itself";
        return Err(Problem::field(&parameters.at(&key), message));
    }
    // Triton's timeout is in microseconds.
    if let Some(timeout) = parameters.count("timeout")?.filter(|&us| us > 0) {
        let timeout = Duration::from_micros(timeout.min(1 << 40) as u64);
        caller.deadline = caller.deadline.min(caller.arrived + timeout);
    }
    Ok(caller)
}

/// The JSON of a body, and the bytes after it.
fn split(call: &Call) -> Result<(&[u8], &[u8])> {
    let Some(value) = call.headers.get(HEADER_LENGTH) else { return Ok((&call.body, &[])) };
    let length = value.to_str().ok().and_then(|v| v.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| {
        Problem::invalid("the header Inference-Header-Content-Length must be a number of bytes")
    })?;
    call.body.split_at_checked(length).ok_or_else(|| {
        Problem::invalid(format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            call.body.len()
        ))
    })
}

/// An answer with bytes after the JSON.
fn with_bytes(body: &Answered, mut after: Vec<u8>) -> Result<Response> {
    let mut whole =
        serde_json::to_vec(body).map_err(|e| Problem::new(Kind::Internal, e.to_string()))?;
    let length = whole.len();
    whole.append(&mut after);
    let mut response = whole.into_response();
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    response.headers_mut().insert(HEADER_LENGTH, HeaderValue::from(length));
    Ok(response)
}
