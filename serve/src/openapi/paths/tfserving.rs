//! The operations of TensorFlow Serving.

use serde_json::json;

use super::{Operation, TEXT, TFSERVING};
use crate::openapi::Errors;
use crate::openapi::schemas::{any_of, example, list, object, reference, some, string, words};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let example_of = || object([("text", string()), ("text_pair?", string())]);
    let instance = || any_of([string(), example_of()]);
    let signature = || words(["", "serving_default"]);
    let texts = || any_of([string(), some(string())]);
    let column = any_of([texts(), object([("text", texts()), ("text_pair?", texts())])]);
    let predict = example(
        any_of([
            object([("instances", some(instance())), ("signature_name?", signature())]),
            object([("inputs", column), ("signature_name?", signature())]),
        ]),
        json!({"instances": [TEXT]}),
    );
    let classify = example(
        object([
            ("examples", some(example_of())),
            ("context?", json!({"type": "object"})),
            ("signature_name?", signature()),
        ]),
        json!({"examples": [{"text": TEXT}]}),
    );
    let answer = any_of([
        object([("predictions", list(reference("Answer")))]),
        object([("outputs", reference("Answer"))]),
    ]);
    let classes =
        json!({"type": "array", "description": "[label, score]", "minItems": 2, "maxItems": 2});
    let results = object([("results", list(list(classes)))]);
    let state =
        object([("version", string()), ("state", string()), ("status", json!({"type": "object"}))]);
    let states = object([("model_version_status", list(state))]);
    let spec = object([
        ("model_spec", json!({"type": "object"})),
        ("metadata", json!({"type": "object"})),
    ]);
    let mut all = Vec::new();
    for (path, metadata, predicts, classifies) in [
        (
            "/v1/models/{model}",
            "/v1/models/{model}/metadata",
            "/v1/models/{model}:predict",
            "/v1/models/{model}:classify",
        ),
        (
            "/v1/models/{model}/versions/{version}",
            "/v1/models/{model}/versions/{version}/metadata",
            "/v1/models/{model}/versions/{version}:predict",
            "/v1/models/{model}/versions/{version}:classify",
        ),
        (
            "/v1/models/{model}/labels/{label}",
            "/v1/models/{model}/labels/{label}/metadata",
            "/v1/models/{model}/labels/{label}:predict",
            "/v1/models/{model}/labels/{label}:classify",
        ),
    ] {
        let about = "Versions; of a model by its name also OpenAI's object";
        all.push(Operation::get(TFSERVING, path, Errors::Missing, about).gives(states.clone()));
        let about = "Inputs and outputs";
        all.push(Operation::get(TFSERVING, metadata, Errors::Missing, about).gives(spec.clone()));
        let about = "The model's answers, row by row or in columns";
        all.push(Operation::ask(TFSERVING, predicts, about, predict.clone()).gives(answer.clone()));
        let about = "Labels with scores";
        let classify = Operation::ask(TFSERVING, classifies, about, classify.clone());
        all.push(classify.gives(results.clone()));
    }
    all
}
