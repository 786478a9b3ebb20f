//! The operations of what operators and people look at.

use serde_json::json;

use crate::openapi::operation::{Errors, OPERATION, Operation};
use crate::openapi::schemas::{object, string};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let status = || object([("status", string())]);
    let get = Operation::get;
    vec![
        get(OPERATION, "/health", Errors::Health, "Whether the server takes requests")
            .gives_nothing(),
        get(OPERATION, "/ping", Errors::Health, "The same, in TorchServe's words")
            .gives(status())
            .gives_as(503, "application/json", status()),
        get(OPERATION, "/metrics", Errors::Plain, "Metrics for Prometheus").gives_as(
            200,
            "text/plain",
            string(),
        ),
        get(OPERATION, "/openapi.json", Errors::Plain, "This document")
            .gives(json!({"type": "object"})),
        get(OPERATION, "/", Errors::Plain, "A page to try the models").gives_as(
            200,
            "text/html",
            string(),
        ),
        get(OPERATION, "/docs", Errors::Plain, "A page that lists it").gives_as(
            200,
            "text/html",
            string(),
        ),
    ]
}
