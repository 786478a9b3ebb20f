//! The operations of TorchServe.

use serde_json::json;

use super::{Operation, TEXT, TORCHSERVE};
use crate::openapi::Errors;
use crate::openapi::schemas::{
    any_of, boolean, count, example, list, object, reference, some, string,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let one = object([("text", string()), ("text_pair?", string())]);
    let json = any_of([
        reference("Text"),
        some(any_of([string(), object([("data", string())]), one.clone()])),
        one,
    ]);
    let mut all = Vec::new();
    for path in ["/predictions/{model}", "/predictions/{model}/{version}"] {
        for method in ["post", "put"] {
            let json = example(json.clone(), json!([TEXT]));
            let form = || object([("data", reference("Text")), ("text_pair?", string())]);
            let bodies = vec![
                ("application/json", json),
                ("text/plain", reference("Text")),
                ("application/x-www-form-urlencoded", form()),
                ("multipart/form-data", form()),
            ];
            let summary = "The model's answer to a text, or to several in a list";
            let operation = Operation::new(TORCHSERVE, method, path, Errors::Question, summary);
            all.push(
                Operation { body: Some((bodies, true)), ..operation }.gives(reference("Answer")),
            );
        }
    }
    let description = list(object([
        ("modelName", string()),
        ("modelVersion", string()),
        ("workers", list(json!({"type": "object"}))),
        (
            "jobQueueStatus",
            object([("remainingCapacity", count(0)), ("pendingRequests", count(0))]),
        ),
    ]));
    let workers = || json!({"type": "integer", "minimum": 1, "maximum": 64});
    let named = object([("modelName", string()), ("modelUrl", string())]);
    all.push(
        Operation::get(TORCHSERVE, "/models", Errors::Plain, "All models, page by page")
            .query("limit", count(1), "Models of a page at most")
            .query("next_page_token", count(0), "Where the page begins")
            .gives(object([("models", list(named))])),
    );
    let mut register = Operation::manage("post", "/models", "Register a folder of --model-store")
        .query("model_name", string(), "Its name; the folder's where it is missing")
        .query("initial_workers", workers(), "Batches that run at the same time");
    register.query.push(("url", string(), "The folder, within the store", true));
    all.push(register);
    for path in ["/models/{model}", "/models/{model}/{version}"] {
        let describe = Operation::get(TORCHSERVE, path, Errors::Missing, "Describe a model");
        all.push(describe.gives(description.clone()));
        let scale = Operation::manage("put", path, "Set how many batches run at the same time");
        all.push(
            scale
                .query("min_worker", workers(), "How many")
                .query("max_worker", workers(), "How many, where min_worker is missing")
                .query("synchronous", boolean(), "Answer 200 instead of 202")
                .gives_as(202, "application/json", object([("status", string())])),
        );
        let about = "Unregister a model; what is queued is still answered";
        all.push(Operation::manage("delete", path, about));
    }
    let path = "/models/{model}/{version}/set-default";
    all.push(Operation::manage("put", path, "Make a version the default"));
    all
}
