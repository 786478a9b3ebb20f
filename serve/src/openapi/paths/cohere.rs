//! The operations of Cohere's rankings.

use serde_json::{Value, json};

use crate::openapi::operation::{COHERE, Operation, TEXT};
use crate::openapi::schemas::{
    any_of, boolean, closed, count, example, list, number, object, reference, some, string, words,
};

/// A request with `documents`.
pub fn request() -> Value {
    let document = || any_of([string(), json!({"type": "object"})]);
    let fields = object([
        ("query", reference("Text")),
        ("documents", some(document())),
        ("model?", reference("ModelName")),
        ("top_n?", count(1)),
        ("return_documents?", boolean()),
        ("rank_fields?", list(string())),
        ("max_tokens_per_doc?", count(1)),
        ("max_chunks_per_doc?", json!({"type": "integer", "minimum": 1, "maximum": 1})),
        ("truncate?", boolean()),
        ("truncation_direction?", words(["Left", "Right"])),
        ("raw_scores?", boolean()),
        ("priority?", json!({"type": "integer", "minimum": 0, "maximum": 0})),
        ("user?", string()),
    ]);
    let documents = json!(["my card", "the weather"]);
    example(closed(fields), json!({"query": TEXT, "documents": documents, "top_n": 1}))
}

/// The answer to it.
pub fn ranking() -> Value {
    let ranked = object([
        ("index", count(0)),
        ("relevance_score", number()),
        ("document?", json!({"type": "object"})),
    ]);
    object([
        ("id", string()),
        ("model", string()),
        ("results", list(ranked)),
        ("usage", object([("prompt_tokens", count(0)), ("total_tokens", count(0))])),
        ("meta", json!({"type": "object"})),
    ])
}

/// The operations.
pub fn operations() -> Vec<Operation> {
    let about = "Documents by how well they answer a query, as clients of Cohere, Jina, vLLM and infinity ask";
    ["/v1/rerank", "/v2/rerank"]
        .map(|path| Operation::ask(COHERE, path, about, request()).gives(ranking()))
        .into()
}
