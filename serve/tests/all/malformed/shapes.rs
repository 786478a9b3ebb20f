//! The error shapes of the protocols. Each function checks a shape and returns the message.

use serde_json::Value;

use crate::common::Reply;

/// The message of an error, or what is wrong with its shape.
pub type Shape = fn(&Reply) -> Result<String, String>;

/// The fields of an object, which has no others.
fn fields<const N: usize>(value: &Value, names: [&str; N]) -> Result<[Value; N], String> {
    let object = value.as_object().ok_or("it is no object")?;
    if let Some(other) = object.keys().find(|key| !names.contains(&key.as_str())) {
        return Err(format!("it has a field `{other}`"));
    }
    let found: Option<Vec<Value>> = names.iter().map(|name| object.get(*name).cloned()).collect();
    let found = found.ok_or_else(|| format!("it has not all of {names:?}"))?;
    found.try_into().map_err(|_| "it has too few fields".to_string())
}

fn message(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(text) if text.len() > 5_000 => Err(format!("the message has {} bytes", text.len())),
        Some(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err("there is no message".into()),
    }
}

fn json(reply: &Reply) -> Result<Value, String> {
    match reply.header("content-type") {
        Some("application/json") => serde_json::from_slice(&reply.body).map_err(|e| e.to_string()),
        other => Err(format!("the content type is {other:?}")),
    }
}

/// text-embeddings-inference and Hugging Face: `{"error","error_type"}`.
pub fn tei(reply: &Reply) -> Result<String, String> {
    let [error, error_type] = fields(&json(reply)?, ["error", "error_type"])?;
    let expected = match reply.code {
        400 if error.as_str().is_some_and(|text| text.contains("header Host")) => "Validation",
        400 => "Empty",
        424 | 504 => "Backend",
        429 => "Overloaded",
        503 => "Unhealthy",
        _ => "Validation",
    };
    match error_type == expected {
        true => message(&error),
        false => Err(format!("the type is {error_type}")),
    }
}

/// OpenAI: `{"error":{"message","type","param","code"}}`.
pub fn openai(reply: &Reply) -> Result<String, String> {
    let [error] = fields(&json(reply)?, ["error"])?;
    let [text, kind, param, code] = fields(&error, ["message", "type", "param", "code"])?;
    let kind_fits = match reply.code {
        504 => kind == "server_error",
        _ => kind == "invalid_request_error",
    };
    let code_fits = match reply.code {
        404 if text.as_str().is_some_and(|t| t.contains("no model")) => code == "model_not_found",
        _ => code.is_null(),
    };
    match kind_fits && code_fits && (param.is_null() || param.is_string()) {
        true => message(&text),
        false => Err(format!("type {kind}, code {code}, param {param}")),
    }
}

/// TorchServe: `{"code","type","message"}`.
pub fn torchserve(reply: &Reply) -> Result<String, String> {
    let [code, kind, text] = fields(&json(reply)?, ["code", "type", "message"])?;
    if code != reply.code {
        return Err(format!("the code is {code}"));
    }
    let known: &[&str] = match reply.code {
        400 | 415 => &["BadRequestException"],
        404 => &[
            "ModelNotFoundException",
            "ModelVersionNotFoundException",
            "ResourceNotFoundException",
        ],
        405 => &["MethodNotAllowedException"],
        409 => &["ConflictStatusException"],
        413 => &["TooLargeRequestException"],
        504 => &["RequestTimeoutException"],
        _ => &[],
    };
    match kind.as_str().is_some_and(|kind| known.contains(&kind)) {
        true => message(&text),
        false => Err(format!("the type is {kind}")),
    }
}

/// TensorFlow Serving and KServe v2: `{"error"}`.
pub fn plain(reply: &Reply) -> Result<String, String> {
    let [error] = fields(&json(reply)?, ["error"])?;
    message(&error)
}

/// Bytes that are not HTTP, or go beyond its bounds, belong to no protocol: the answer has no body.
pub fn none(reply: &Reply) -> Result<String, String> {
    match reply.body.is_empty() {
        true => Ok(String::new()),
        false => Err("it has a body".into()),
    }
}
