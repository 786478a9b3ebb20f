//! The operations that no other server's protocol has.

use serde_json::{Value, json};

use crate::openapi::operation::{Errors, NATIVE, Operation, TEXT};
use crate::openapi::schemas::{
    any_of, boolean, closed, count, example, list, number, object, reference, string, words,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let model = object([
        ("name", string()),
        ("version", string()),
        ("task", string()),
        ("layers", count(1)),
        ("heads", count(1)),
        ("hidden", count(1)),
        ("vocabulary", count(1)),
        ("max_length", count(1)),
        ("labels", count(0)),
        ("mask?", string()),
    ]);
    let token = object([
        ("id", count(0)),
        ("text", string()),
        ("special", boolean()),
        ("start?", count(0)),
        ("stop?", count(0)),
        ("segment", count(0)),
    ]);
    let pair: Value = json!({"type": "array", "items": string(), "minItems": 2, "maxItems": 2});
    let about = "What the tokens of a text, or of a pair, attend to: by layer, head and token. Too many numbers are \
        refused (413); ask for a layer, or a head, then";
    vec![
        Operation::get(NATIVE, "/describe", Errors::Plain, "The models, their tasks and sizes")
            .gives(object([
                ("models", list(model)),
                ("most_attention", count(1)),
                ("metrics", boolean()),
                ("traces", boolean()),
                ("version", string()),
            ])),
        Operation::ask(
            NATIVE,
            "/attention",
            about,
            example(
                closed(object([
                    ("inputs", any_of([reference("Text"), pair.clone()])),
                    ("model?", reference("ModelName")),
                    ("layer?", count(0)),
                    ("head?", count(0)),
                    ("truncate?", boolean()),
                    ("truncation_direction?", words(["Left", "Right"])),
                    ("prompt_name?", string()),
                ])),
                json!({"inputs": TEXT, "layer": 0, "head": 0}),
            ),
        )
        .gives(object([
            ("model", string()),
            ("version", string()),
            ("tokens", list(token)),
            ("truncated", boolean()),
            ("layers", list(count(0))),
            ("heads", list(count(0))),
            ("attention", list(list(list(list(number()))))),
        ])),
        Operation::ask(
            NATIVE,
            "/trace",
            "A page about what a model does with a text, or a pair, operation by operation; with a `target`, a label, \
             also the way back from the loss. Only with --trace",
            example(
                closed(object([
                    ("inputs", any_of([reference("Text"), pair])),
                    ("model?", reference("ModelName")),
                    ("target?", string()),
                ])),
                json!({"inputs": TEXT}),
            ),
        )
        .gives_as(200, "text/html", string()),
    ]
}
