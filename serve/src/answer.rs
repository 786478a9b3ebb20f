//! Answers as JSON, and the headers that tell what they took.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use gradus_tensor::Device;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Kind, Problem, Result};
use crate::offload::offload;
use crate::usage::Usage;

/// An answer that a model computed. Its headers tell what it took, as text-embeddings-inference
/// does; times are in milliseconds.
pub struct Computed {
    response: Response,
    usage: Usage,
}

impl Computed {
    /// An answer with this body.
    pub fn new(response: Response, usage: Usage) -> Computed {
        Computed { response, usage }
    }

    /// An answer in JSON, with about this many numbers or words.
    ///
    /// # Errors
    /// Never in practice: the answers are numbers and strings.
    pub async fn json(
        value: impl Serialize + Send + 'static,
        numbers: usize,
        usage: Usage,
    ) -> Result<Computed> {
        Ok(Computed::new(large_json(value, numbers).await?, usage))
    }
}

impl IntoResponse for Computed {
    fn into_response(self) -> Response {
        let Computed { mut response, usage } = self;
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: u128| {
            headers.insert(name, HeaderValue::from(value.min(u64::MAX.into()) as u64));
        };
        set("x-compute-time", (usage.tokenized + usage.computed).as_millis());
        set("x-compute-characters", usage.characters as u128);
        set("x-compute-tokens", usage.tokens as u128);
        set("x-total-time", usage.total.as_millis());
        set("x-tokenization-time", usage.tokenized.as_millis());
        set("x-queue-time", usage.queued.as_millis());
        set("x-inference-time", usage.computed.as_millis());
        let kind = if usage.device == Device::Cpu { "cpu" } else { "gpu" };
        headers.insert("x-compute-type", HeaderValue::from_static(kind));
        response
    }
}

/// One answer to a single input, or a list of answers to a list of inputs.
#[derive(Serialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// The answer to a single input.
    One(T),
    /// The answers to a list of inputs.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The answers to a list of inputs, or to one that was not in a list (`single`).
    pub fn new(mut answers: Vec<T>, single: bool) -> Self {
        match answers.pop() {
            Some(one) if single => OneOrMany::One(one),
            last => {
                answers.extend(last);
                OneOrMany::Many(answers)
            }
        }
    }
}

/// A JSON response with about this many numbers or words. A large one is serialized on a thread
/// that may block.
///
/// # Errors
/// Never in practice: the answers are numbers and strings.
pub async fn large_json(
    value: impl Serialize + Send + 'static,
    numbers: usize,
) -> Result<Response> {
    // A number takes some ten bytes and a twentieth of a microsecond.
    let bytes = offload(numbers / 4, move || {
        serde_json::to_vec(&value).map_err(|e| Problem::new(Kind::Internal, e.to_string()))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// A small JSON response.
pub fn small_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_stands_alone_only_if_its_input_did() {
        let json = |answers, single| {
            serde_json::to_string(&OneOrMany::<u8>::new(answers, single)).unwrap()
        };
        assert_eq!(json(vec![1], true), "1");
        assert_eq!(json(vec![1], false), "[1]");
        assert_eq!(json(vec![1, 2], false), "[1,2]");
        assert_eq!(json(vec![], true), "[]");
    }
}
