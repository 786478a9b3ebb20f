//! The operations of TorchServe.

use serde_json::{Value, json};

use crate::openapi::operation::{Errors, Operation, TEXT, TORCHSERVE};
use crate::openapi::schemas::{
    any_of, boolean, count, example, list, object, reference, some, string,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let mut all = predictions();
    all.extend(management());
    for path in ["/models/{model}", "/models/{model}/{version}"] {
        all.extend(of_model(path));
    }
    let path = "/models/{model}/{version}/set-default";
    all.push(Operation::manage("put", path, "Make a version the default"));
    all
}

fn predictions() -> Vec<Operation> {
    let one = object([("text", string()), ("text_pair?", string())]);
    let json = any_of([
        reference("Text"),
        some(any_of([string(), object([("data", string())]), one.clone()])),
        one,
    ]);
    let json = example(json, json!([TEXT]));
    let form = || object([("data", reference("Text")), ("text_pair?", string())]);
    let bodies = || {
        vec![
            ("application/json", json.clone()),
            ("text/plain", reference("Text")),
            ("application/x-www-form-urlencoded", form()),
            ("multipart/form-data", form()),
        ]
    };
    let summary = "The model's answer to a text, or to several in a list";
    let paths = ["/predictions/{model}", "/predictions/{model}/{version}"];
    let doors = paths.into_iter().flat_map(|path| [("post", path), ("put", path)]);
    let operation = |(method, path)| {
        let operation = Operation::new(TORCHSERVE, method, path, Errors::Question, summary);
        operation.takes(bodies(), true).gives(reference("Answer"))
    };
    doors.map(operation).collect()
}

fn workers() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 64})
}

fn management() -> Vec<Operation> {
    let named = object([("modelName", string()), ("modelUrl", string())]);
    let models = Operation::get(TORCHSERVE, "/models", Errors::Plain, "All models, page by page")
        .query("limit", count(1), "How many models a page has")
        .query("next_page_token", count(0), "Where the page begins")
        .gives(object([("models", list(named))]));
    let register = Operation::manage("post", "/models", "Register a folder of --model-store")
        .query("model_name", string(), "The model's name; default the folder's name")
        .query("initial_workers", workers(), "How many batches run at the same time")
        .required_query("url", string(), "The folder, within the store");
    vec![models, register]
}

/// The operations of a model, or of a version of it.
fn of_model(path: &'static str) -> Vec<Operation> {
    let queue = object([("remainingCapacity", count(0)), ("pendingRequests", count(0))]);
    let description = list(object([
        ("modelName", string()),
        ("modelVersion", string()),
        ("workers", list(json!({"type": "object"}))),
        ("jobQueueStatus", queue),
    ]));
    let scale = Operation::manage("put", path, "Set how many batches run at the same time")
        .query("min_worker", workers(), "How many")
        .query("max_worker", workers(), "How many, where min_worker is missing")
        .query("synchronous", boolean(), "Answer 200 instead of 202")
        .gives_as(202, "application/json", object([("status", string())]));
    let unregister = "Unregister a model; queued requests are still answered";
    vec![
        Operation::get(TORCHSERVE, path, Errors::Missing, "Describe a model").gives(description),
        scale,
        Operation::manage("delete", path, unregister),
    ]
}
