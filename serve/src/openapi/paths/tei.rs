//! The operations of text-embeddings-inference.

use serde_json::{Value, json};

use super::cohere;
use crate::openapi::operation::{Errors, Operation, TEI, TEXT};
use crate::openapi::schemas::{
    any_of, boolean, count, example, list, number, object, object_of, reference, some, string,
    words,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let mut all = embedding();
    all.extend(classification());
    all.extend(tokens());
    let info = object([
        ("model_id", string()),
        ("model_type", json!({"type": "object"})),
        ("architecture", string()),
        ("max_input_length", count(1)),
        ("max_batch_tokens", count(1)),
        ("max_client_batch_size", count(1)),
        ("version", string()),
    ]);
    all.push(Operation::get(TEI, "/info", Errors::Missing, "The first model").gives(info));
    all
}

fn ask(path: &'static str, about: &'static str, body: Value) -> Operation {
    Operation::ask(TEI, path, about, body)
}

fn text() -> Value {
    reference("Text")
}

fn direction() -> Value {
    words(["Left", "Right"])
}

/// A body with `inputs`, the fields of every question, and `more`.
fn inputs(inputs: Value, more: Vec<(&str, Value)>) -> Value {
    let mut fields = vec![
        ("inputs", inputs),
        ("truncate?", boolean()),
        ("truncation_direction?", direction()),
        ("prompt_name?", string()),
        ("model?", reference("ModelName")),
    ];
    fields.extend(more);
    example(object_of(fields), json!({"inputs": TEXT}))
}

fn embedding() -> Vec<Operation> {
    let options = vec![("normalize?", boolean()), ("dimensions?", count(1))];
    let sentences = object([("source_sentence", text()), ("sentences", some(text()))]);
    let parameters = object([
        ("truncate?", boolean()),
        ("truncation_direction?", direction()),
        ("prompt_name?", string()),
    ]);
    let similarity = example(
        object([
            ("inputs", sentences),
            ("parameters?", parameters),
            ("model?", reference("ModelName")),
        ]),
        json!({"inputs": {"source_sentence": "A cat.", "sentences": ["A kitten.", "A car."]}}),
    );
    let all = "The last hidden state of every token";
    let sparse = "A number for each token of the vocabulary (SPLADE), without those that are 0";
    let value = object([("index", count(0)), ("value", number())]);
    vec![
        ask("/embed", "Embeddings of texts", inputs(reference("Inputs"), options))
            .gives(reference("Vectors")),
        ask("/embed_all", all, inputs(reference("Inputs"), vec![]))
            .gives(list(reference("Vectors"))),
        ask("/embed_sparse", sparse, inputs(reference("Inputs"), vec![])).gives(list(list(value))),
        ask("/similarity", "The cosine of a sentence to others", similarity).gives(list(number())),
    ]
}

fn classification() -> Vec<Operation> {
    let pair = || json!({"type": "array", "items": string(), "minItems": 1, "maxItems": 2});
    let texts = any_of([text(), pair(), some(pair())]);
    let texts = inputs(texts, vec![("raw_scores?", boolean())]);
    let scores = any_of([reference("Scores"), list(reference("Scores"))]);
    let ranking = object([
        ("query", text()),
        ("texts", some(string())),
        ("raw_scores?", boolean()),
        ("return_text?", boolean()),
        ("top_n?", count(1)),
        ("truncate?", boolean()),
        ("truncation_direction?", direction()),
        ("model?", reference("ModelName")),
    ]);
    let ranking = example(
        any_of([ranking, cohere::request()]),
        json!({"query": TEXT, "texts": ["my card", "the weather"]}),
    );
    let rank = object([("index", count(0)), ("score", number())]);
    let predict = "Labels of a text, of a pair (a list of two), or of a batch (a list of lists)";
    let rerank = "Texts by how well they answer a query; or `documents`, as Cohere has them";
    vec![
        ask("/predict", predict, texts).gives(scores),
        ask("/rerank", rerank, ranking).gives(any_of([list(rank), cohere::ranking()])),
    ]
}

fn tokens() -> Vec<Operation> {
    let texts = object([
        ("inputs", any_of([text(), some(text())])),
        ("add_special_tokens?", boolean()),
        ("prompt_name?", string()),
        ("model?", reference("ModelName")),
    ]);
    let ids = object([
        ("ids", any_of([reference("TokenIds"), some(reference("TokenIds"))])),
        ("skip_special_tokens?", boolean()),
        ("model?", reference("ModelName")),
    ]);
    let token = object([
        ("id", count(0)),
        ("text", string()),
        ("special", boolean()),
        ("start?", count(0)),
        ("stop?", count(0)),
    ]);
    let tokenize = "The tokens of texts; places in characters";
    vec![
        ask("/tokenize", tokenize, example(texts, json!({"inputs": TEXT})))
            .gives(list(list(token))),
        ask("/decode", "The text of token ids", example(ids, json!({"ids": [101, 102]})))
            .gives(list(string())),
    ]
}
