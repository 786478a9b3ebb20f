//! The OpenAPI document at `/openapi.json` and the page at `/docs` that lists it.
//!
//! A test sends every operation of the document to a server, so the document cannot name paths that
//! do not exist.

mod document;
mod fields;
mod operation;
mod page;
mod paths;
mod schemas;

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};

use crate::page::file;

/// The paths of the document and the page. `root` is the path at which a proxy shows the server.
pub fn routes<S: Clone + Send + Sync + 'static>(root: &str) -> Router<S> {
    let mut document = DOCUMENT.clone();
    if !root.is_empty() {
        document["servers"] = json!([{"url": root}]);
    }
    let document = document.to_string();
    Router::new()
        .route(
            "/openapi.json",
            get(move || async {
                ([(header::CONTENT_TYPE, "application/json")], document).into_response()
            }),
        )
        .route("/docs", get(|| async { file("text/html; charset=utf-8", &PAGE) }))
        .route(
            "/docs.css",
            get(|| async { file("text/css; charset=utf-8", include_str!("docs.css")) }),
        )
        .route(
            "/docs.js",
            get(|| async { file("text/javascript; charset=utf-8", include_str!("docs.js")) }),
        )
}

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(document::document);

static PAGE: LazyLock<String> = LazyLock::new(|| page::page(&DOCUMENT));

#[cfg(test)]
mod tests {
    use super::*;

    /// All `$ref`s of a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value {
                Value::String(target) if key == "$ref" => found.push(target.clone()),
                value => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let mut found = Vec::new();
        references(&DOCUMENT, &mut found);
        assert!(found.len() > 50);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(DOCUMENT.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn the_page_lists_every_path() {
        let paths = DOCUMENT["paths"].as_object().unwrap();
        assert!(paths.len() > 40);
        for path in paths.keys() {
            assert!(PAGE.contains(&format!("<code>{path}</code>")), "{path}");
        }
    }

    #[test]
    fn every_field_of_a_question_says_what_it_means() {
        fn check(document: &Value, schema: &Value, seen: &mut usize) {
            let target = schema["$ref"].as_str().and_then(|t| t.strip_prefix('#'));
            let schema = target.and_then(|t| document.pointer(t)).unwrap_or(schema);
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                assert!(field["description"].is_string(), "{name}");
                check(document, field, seen);
                *seen += 1;
            }
            let inner = schema["anyOf"].as_array().into_iter().flatten();
            inner.chain(schema.get("items")).for_each(|s| check(document, s, seen));
        }
        let mut seen = 0;
        for methods in DOCUMENT["paths"].as_object().unwrap().values() {
            for operation in methods.as_object().unwrap().values() {
                let bodies = operation["requestBody"]["content"].as_object();
                for body in bodies.into_iter().flat_map(|kinds| kinds.values()) {
                    check(&DOCUMENT, &body["schema"], &mut seen);
                }
            }
        }
        assert!(seen > 200, "{seen}");
        for row in
            ["parameters.function_to_apply", "inputs[].datatype", "top_n", "examples[].text_pair"]
        {
            assert!(PAGE.contains(&format!("<code>{row}</code>")), "{row}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let mut ids = std::collections::HashSet::new();
        for operation in DOCUMENT["paths"].as_object().unwrap().values() {
            for operation in operation.as_object().unwrap().values() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            }
        }
    }
}
