//! Rankings as Cohere, Jina, vLLM, infinity and LiteLLM have them: `POST /v1/rerank`, `/v2/rerank`,
//! and `/rerank` where the request has `documents`. (With `texts`, `/rerank` belongs to
//! text-embeddings-inference.)
//!
//! One shape answers all of them: `results` with `index` and `relevance_score`, best first. Each
//! has a `document` if `return_documents` asks for it. `usage` is for Jina and vLLM, `meta` for
//! Cohere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Serialize;
use serde_json::{Value, json};

use super::shared::options;
use super::shared::ranking::{query, ranked, ranker};
use crate::answer::Computed;
use crate::app::App;
use crate::call::Call;
use crate::error::{Problem, Result};
use crate::ids::answer_id;
use crate::json::{Fields, expected, list, string, strings};
use crate::offload::encode_within;
use crate::question::{Question, Text, check_copies};
use crate::served::Served;

/// The fields of a request. Others are refused, as Cohere refuses them.
pub const FIELDS: [&str; 13] = [
    "model",
    "query",
    "documents",
    "top_n",
    "return_documents",
    "rank_fields",
    "max_tokens_per_doc",
    "max_chunks_per_doc",
    "truncate",
    "truncation_direction",
    "raw_scores",
    "priority",
    "user",
];

/// Most documents that Cohere counts as one search.
const SEARCH: usize = 100;

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/rerank", post(v1)).route("/v2/rerank", post(v2))
}

/// `{"message"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    (problem.kind.status(), json!({"message": problem.message}))
}

async fn v1(call: Call) -> Result<Computed> {
    let fields = call.fields().await?;
    rerank(call, fields, "1").await
}

async fn v2(call: Call) -> Result<Computed> {
    let fields = call.fields().await?;
    rerank(call, fields, "2").await
}

/// A document as it came, and its text.
struct Document {
    shown: Value,
    text: String,
}

#[derive(Serialize)]
struct Ranked {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
}

#[derive(Serialize)]
struct Reranked {
    id: String,
    model: String,
    results: Vec<Ranked>,
    usage: BTreeMap<&'static str, usize>,
    meta: Value,
}

/// Ranks `documents`; `version` is the version of the protocol.
pub(super) async fn rerank(
    call: Call,
    mut fields: Fields,
    version: &'static str,
) -> Result<Computed> {
    let served = ranker(&call, &mut fields)?;
    let query = query(&mut fields)?;
    let rank_fields = fields.take("rank_fields").map(|v| strings(v, "rank_fields")).transpose()?;
    let documents = list(fields.required("documents")?, "documents")?;
    call.count(documents.len(), "documents")?;
    check_copies(query.len(), documents.len(), "query")?;
    let documents = documents.into_iter().enumerate();
    let documents: Vec<Document> = documents
        .map(|(i, value)| document(value, rank_fields.as_deref(), &format!("documents[{i}]")))
        .collect::<Result<_>>()?;
    let top_n = options::top(&mut fields, "top_n")?.unwrap_or(usize::MAX);
    let return_documents = fields.bool("return_documents")?.unwrap_or(false);
    let max_tokens = tokens_per_document(&mut fields)?;
    let options = options::truncation(&call, &mut fields)?;
    let scores = options::scores(&mut fields)?;
    fields.refuse(
        &["priority"],
        "asks for an order that this server does not keep; requests take turns",
    )?;
    // The user behind the request changes no answer.
    fields.string("user")?;
    fields.end(&FIELDS)?;

    let (texts, shown): (Vec<String>, Vec<Value>) =
        documents.into_iter().map(|document| (document.text, document.shown)).unzip();
    let texts = match max_tokens {
        Some(most) => cut(&served, texts, most, call.caller.deadline).await?,
        None => texts,
    };
    let searches = texts.len().div_ceil(SEARCH);
    let pairs = texts.into_iter().map(|text| Text::Pair(query.clone(), text)).collect();
    let asked = ranked(&served, Question::new(pairs, options, call.caller), scores).await?;
    let rank = |(index, relevance_score): (usize, f32)| Ranked {
        index,
        relevance_score,
        document: return_documents.then(|| shown[index].clone()),
    };
    let results: Vec<Ranked> = asked.answers.into_iter().take(top_n).map(rank).collect();
    let tokens = asked.usage.tokens;
    let numbers = 20 * results.len();
    let body = Reranked {
        id: answer_id(),
        model: served.name.clone(),
        results,
        usage: [("prompt_tokens", tokens), ("total_tokens", tokens)].into(),
        meta: json!({
            "api_version": {"version": version},
            "billed_units": {"search_units": searches},
            "tokens": {"input_tokens": tokens, "output_tokens": 0},
        }),
    };
    Computed::json(body, numbers, asked.usage).await
}

/// Reads a document: a text, or an object. The text of an object is its field `text`, or the fields
/// that `rank_fields` names, one line each if they are several.
fn document(value: Value, rank_fields: Option<&[String]>, at: &str) -> Result<Document> {
    let text = match &value {
        Value::String(text) => {
            let (shown, text) = (json!({"text": text}), text.clone());
            return Ok(Document { shown, text });
        }
        Value::Object(object) => {
            let of = |key: &str| match object.get(key) {
                None | Some(Value::Null) => {
                    Err(Problem::field(at, format!("has no field `{key}`")))
                }
                Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
                Some(value) => string(value.clone(), &format!("{at}.{key}")),
            };
            match rank_fields {
                None | Some([]) => of("text")?,
                Some([key]) => of(key)?,
                Some(keys) => {
                    let lines = keys.iter().map(|key| Ok(format!("{key}: {}", of(key)?)));
                    lines.collect::<Result<Vec<_>>>()?.join("\n")
                }
            }
        }
        other => return Err(expected(at, "a text, or an object with `text`", other)),
    };
    Ok(Document { shown: value, text })
}

/// Most tokens of a document that are read. A document is one piece here, so `max_chunks_per_doc`
/// must be 1.
fn tokens_per_document(fields: &mut Fields) -> Result<Option<usize>> {
    if fields.count("max_chunks_per_doc")?.is_some_and(|chunks| chunks != 1) {
        let message = "must be 1: a document is read in one piece, and cut where the model ends";
        return Err(Problem::field("max_chunks_per_doc", message));
    }
    options::top(fields, "max_tokens_per_doc")
}

/// The first `most` tokens of each text.
async fn cut(
    served: &Arc<Served>,
    texts: Vec<String>,
    most: usize,
    deadline: Instant,
) -> Result<Vec<String>> {
    let (served, bytes) = (Arc::clone(served), texts.iter().map(String::len).sum());
    encode_within(bytes, deadline, move || {
        let tokenizer = served.pipeline().tokenizer();
        let beginning = |mut text: String| {
            // The two special tokens are no part of the document.
            let encoded = tokenizer.encode(&text, None, most.saturating_add(2));
            let encoded = encoded.map_err(|e| Problem::invalid(e.to_string()))?;
            if encoded.truncated {
                let end = encoded.offsets.iter().map(|&(_, end)| end).max().unwrap_or(0);
                text.truncate(end);
            }
            Ok(text)
        };
        texts.into_iter().map(beginning).collect()
    })
    .await
}
