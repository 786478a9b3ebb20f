//! The operations of text-embeddings-inference.

use serde_json::{Value, json};

use super::{Operation, TEI, TEXT, cohere};
use crate::openapi::Errors;
use crate::openapi::schemas::{
    any_of, boolean, count, example, list, number, object, object_of, reference, some, string,
    words,
};

/// `inputs` and what every question of text-embeddings-inference may have besides.
fn inputs(inputs: Value, more: Vec<(&str, Value)>) -> Value {
    let mut fields = vec![
        ("inputs", inputs),
        ("truncate?", boolean()),
        ("truncation_direction?", words(["Left", "Right"])),
        ("prompt_name?", string()),
        ("model?", reference("ModelName")),
    ];
    fields.extend(more);
    example(object_of(fields), json!({"inputs": TEXT}))
}

/// The operations.
pub fn operations() -> Vec<Operation> {
    let text = || reference("Text");
    let pair = || json!({"type": "array", "items": string(), "minItems": 1, "maxItems": 2});
    let token = object([
        ("id", count(0)),
        ("text", string()),
        ("special", boolean()),
        ("start?", count(0)),
        ("stop?", count(0)),
    ]);
    let rank = object([("index", count(0)), ("score", number())]);
    vec![
        Operation::ask(TEI, "/embed", "Embeddings of texts", inputs(
            reference("Inputs"),
            vec![("normalize?", boolean()), ("dimensions?", count(1))],
        ))
        .gives(reference("Vectors")),
        Operation::ask(
            TEI,
            "/embed_all",
            "The last hidden state of every token",
            inputs(reference("Inputs"), vec![]),
        )
        .gives(list(reference("Vectors"))),
        Operation::ask(
            TEI,
            "/predict",
            "Labels of a text, of a pair (a list of two), or of a batch (a list of lists)",
            inputs(any_of([text(), pair(), some(pair())]), vec![("raw_scores?", boolean())]),
        )
        .gives(any_of([reference("Scores"), list(reference("Scores"))])),
        Operation::ask(TEI, "/rerank", "Texts by how well they answer a query; or `documents`, as Cohere has them", example(
            any_of([
                object([
                    ("query", text()),
                    ("texts", some(string())),
                    ("raw_scores?", boolean()),
                    ("return_text?", boolean()),
                    ("top_n?", count(1)),
                    ("truncate?", boolean()),
                    ("truncation_direction?", words(["Left", "Right"])),
                    ("model?", reference("ModelName")),
                ]),
                cohere::request(),
            ]),
            json!({"query": TEXT, "texts": ["my card", "the weather"]}),
        ))
        .gives(any_of([list(rank), cohere::ranking()])),
        Operation::ask(TEI, "/similarity", "The cosine of a sentence to others", example(
            object([
                ("inputs", object([("source_sentence", text()), ("sentences", some(text()))])),
                ("parameters?", object([
                    ("truncate?", boolean()),
                    ("truncation_direction?", words(["Left", "Right"])),
                    ("prompt_name?", string()),
                ])),
                ("model?", reference("ModelName")),
            ]),
            json!({"inputs": {"source_sentence": "A cat.", "sentences": ["A kitten.", "A car."]}}),
        ))
        .gives(list(number())),
        Operation::ask(TEI, "/tokenize", "The tokens of texts; places in characters", example(
            object([
                ("inputs", any_of([text(), some(text())])),
                ("add_special_tokens?", boolean()),
                ("prompt_name?", string()),
                ("model?", reference("ModelName")),
            ]),
            json!({"inputs": TEXT}),
        ))
        .gives(list(list(token))),
        Operation::ask(TEI, "/decode", "The text of token ids", example(
            object([
                ("ids", any_of([reference("TokenIds"), some(reference("TokenIds"))])),
                ("skip_special_tokens?", boolean()),
                ("model?", reference("ModelName")),
            ]),
            json!({"ids": [101, 102]}),
        ))
        .gives(list(string())),
        Operation::get(TEI, "/info", Errors::Missing, "The first model").gives(object([
            ("model_id", string()),
            ("model_type", json!({"type": "object"})),
            ("max_input_length", count(1)),
            ("max_batch_tokens", count(1)),
            ("max_client_batch_size", count(1)),
            ("version", string()),
        ])),
    ]
}
