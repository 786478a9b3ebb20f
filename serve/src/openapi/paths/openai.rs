//! The operations of OpenAI.

use serde_json::json;

use crate::openapi::operation::{Errors, OPENAI, Operation, TEXT};
use crate::openapi::schemas::{
    any_of, closed, count, example, list, object, reference, string, words,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let ask = || {
        example(
            closed(object([
                ("input", reference("Inputs")),
                ("model?", reference("ModelName")),
                ("encoding_format?", words(["float", "base64"])),
                ("dimensions?", count(1)),
                ("user?", string()),
            ])),
            json!({"input": TEXT}),
        )
    };
    let base64 = json!({"type": "string", "description": "base64 of little-endian f32"});
    let embeddings = object([
        ("object", words(["list"])),
        (
            "data",
            list(object([
                ("object", words(["embedding"])),
                ("index", count(0)),
                ("embedding", any_of([reference("Vector"), base64])),
            ])),
        ),
        ("model", string()),
        ("usage", object([("prompt_tokens", count(0)), ("total_tokens", count(0))])),
    ]);
    let model = object([
        ("id", string()),
        ("object", words(["model"])),
        ("created", count(0)),
        ("owned_by", string()),
    ]);
    vec![
        Operation::ask(OPENAI, "/v1/embeddings", "Embeddings", ask()).gives(embeddings.clone()),
        Operation::ask(OPENAI, "/embeddings", "The same", ask()).gives(embeddings),
        Operation::get(OPENAI, "/v1/models", Errors::Plain, "All models")
            .gives(object([("object", words(["list"])), ("data", list(model))])),
    ]
}
