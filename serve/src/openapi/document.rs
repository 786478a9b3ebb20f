//! The document, from the operations of all protocols.

use serde_json::{Map, Value, json};

use super::operation::TAGS;
use super::{paths, schemas};

/// The document.
pub fn document() -> Value {
    let mut all = Map::new();
    for operation in paths::operations() {
        let entry = all.entry(operation.path).or_insert_with(|| json!({}));
        entry[operation.method] = operation.described();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gradus serve",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "BERT over the protocols of seven servers",
            "description": "Every question takes the headers `x-request-timeout` (seconds), `x-request-id` and \
                `traceparent`; bodies may be gzip. The headers `x-…-time` of an answer say where its time went, in milliseconds.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "tags": TAGS.map(|tag| json!({"name": tag})),
        "security": [{}, {"key": []}],
        "paths": all,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })
}
