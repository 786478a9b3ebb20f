//! The operations of TensorFlow Serving.

use serde_json::{Value, json};

use crate::openapi::operation::{Errors, Operation, TEXT, TFSERVING};
use crate::openapi::schemas::{any_of, example, list, object, reference, some, string, words};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let paths = [
        [
            "/v1/models/{model}",
            "/v1/models/{model}/metadata",
            "/v1/models/{model}:predict",
            "/v1/models/{model}:classify",
        ],
        [
            "/v1/models/{model}/versions/{version}",
            "/v1/models/{model}/versions/{version}/metadata",
            "/v1/models/{model}/versions/{version}:predict",
            "/v1/models/{model}/versions/{version}:classify",
        ],
        [
            "/v1/models/{model}/labels/{label}",
            "/v1/models/{model}/labels/{label}/metadata",
            "/v1/models/{model}/labels/{label}:predict",
            "/v1/models/{model}/labels/{label}:classify",
        ],
    ];
    paths.into_iter().flat_map(of_model).collect()
}

/// The operations of a model, or of one of its versions.
fn of_model([path, metadata, predicts, classifies]: [&'static str; 4]) -> [Operation; 4] {
    let get = |path, about| Operation::get(TFSERVING, path, Errors::Missing, about);
    let ask = |path, about, body| Operation::ask(TFSERVING, path, about, body);
    [
        get(path, "Versions; of a model by its name also OpenAI's object").gives(states()),
        get(metadata, "Inputs and outputs").gives(object([
            ("model_spec", json!({"type": "object"})),
            ("metadata", json!({"type": "object"})),
        ])),
        ask(predicts, "The model's answers, row by row or in columns", predict()).gives(any_of([
            object([("predictions", list(reference("Answer")))]),
            object([("outputs", reference("Answer"))]),
        ])),
        ask(classifies, "Labels with scores", classify()).gives(classes()),
    ]
}

/// A text, or a pair of texts.
fn features() -> Value {
    object([("text", string()), ("text_pair?", string())])
}

fn signature() -> Value {
    words(["", "serving_default"])
}

fn predict() -> Value {
    let texts = || any_of([string(), some(string())]);
    let column = any_of([texts(), object([("text", texts()), ("text_pair?", texts())])]);
    let instance = any_of([string(), features()]);
    let rows = object([("instances", some(instance)), ("signature_name?", signature())]);
    let columns = object([("inputs", column), ("signature_name?", signature())]);
    example(any_of([rows, columns]), json!({"instances": [TEXT]}))
}

fn classify() -> Value {
    let fields = object([
        ("examples", some(features())),
        ("context?", json!({"type": "object"})),
        ("signature_name?", signature()),
    ]);
    example(fields, json!({"examples": [{"text": TEXT}]}))
}

fn classes() -> Value {
    let class =
        json!({"type": "array", "description": "[label, score]", "minItems": 2, "maxItems": 2});
    object([("results", list(list(class)))])
}

fn states() -> Value {
    let status = json!({"type": "object"});
    let state = object([("version", string()), ("state", string()), ("status", status)]);
    object([("model_version_status", list(state))])
}
