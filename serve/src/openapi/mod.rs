//! The OpenAPI document at `/openapi.json`, made from the tables of `paths`, and the page at
//! `/docs` that lists it.
//!
//! A test asks every path with every method of the document, so that it cannot name what is not
//! there.

mod fields;
mod page;
mod paths;
mod schemas;

use std::sync::LazyLock;

use axum::Router;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::error::Kind;
use crate::page::file;
use crate::protocols::Protocol;

/// The paths of the document and the page; `root` is where a proxy shows the server.
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
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

static PAGE: LazyLock<String> = LazyLock::new(|| page::page(&DOCUMENT));

/// Which errors an operation may answer, by the shape that they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// None but those of every path.
    Plain,
    /// Of something that may not be there.
    Missing,
    /// Of whether the server is ready.
    Health,
    /// Of a question to a model.
    Question,
    /// Of management.
    Management,
}

impl Errors {
    fn kinds(self) -> &'static [Kind] {
        use Kind::*;
        match self {
            Errors::Plain => &[Invalid, Unauthorized],
            Errors::Missing => &[Invalid, Unauthorized, NoModel, Unavailable],
            Errors::Health => &[Unavailable],
            Errors::Question => &[
                Invalid,
                Empty,
                TooLong,
                TooLarge,
                MediaType,
                WrongTask,
                Unauthorized,
                Forbidden,
                SlowRequest,
                NoModel,
                Overloaded,
                Internal,
                Unavailable,
                Timeout,
            ],
            Errors::Management => &[
                Invalid,
                TooLarge,
                MediaType,
                Unauthorized,
                Forbidden,
                NoModel,
                Conflict,
                Internal,
                SlowRequest,
            ],
        }
    }
}

/// What a status code of an error says.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid | Kind::Empty | Kind::TooLong => "The request is not what it should be",
        Kind::TooLarge => "The body, a text or the number of inputs is above a limit",
        Kind::MediaType => "The content encoding or type is not known",
        Kind::WrongTask => "The model is made for something else",
        Kind::NoModel | Kind::NoVersion | Kind::NotFound => "There is no such model or version",
        Kind::Method => "The path has no such method",
        Kind::Unauthorized => "The API key is missing or wrong",
        Kind::Forbidden => "Models cannot be changed here, or another web site asks",
        Kind::Conflict => "The state of the model forbids it",
        Kind::Overloaded => {
            "There is more to do than fits the deadline; Retry-After says when to come back"
        }
        Kind::SlowRequest => "The request did not arrive in time",
        Kind::Timeout => "The deadline passed",
        Kind::Unavailable => "No model is loaded, or the server is shutting down",
        Kind::Internal => "A bug, or a damaged model",
    }
}

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    errors: Errors,
    /// Query parameters: name, schema, what it is, whether it must be there.
    query: Vec<(&'static str, Value, &'static str, bool)>,
    /// Bodies by content type, and whether there must be one.
    body: Option<(Vec<(&'static str, Value)>, bool)>,
    /// Status, content type and schema of successes; no type where there is no body.
    answers: Vec<(u16, &'static str, Value)>,
}

fn document() -> Value {
    let mut all = Map::new();
    for operation in paths::operations() {
        let entry = all.entry(operation.path).or_insert_with(|| json!({}));
        entry[operation.method] = described(&operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gradus serve",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "BERT over the protocols of seven servers",
            "description": "Every question takes the headers `x-request-timeout` (seconds), `x-request-id` and \
                `traceparent`; bodies may be gzip. Answers tell in `x-…-time` (milliseconds) where their time went.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "tags": paths::TAGS.map(|tag| json!({"name": tag})),
        "security": [{}, {"key": []}],
        "paths": all,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for (code, kind, schema) in &operation.answers {
        let response = responses
            .entry(code.to_string())
            .or_insert_with(|| json!({"description": "The answer"}));
        if !kind.is_empty() {
            response["content"][*kind] = json!({"schema": schema});
        }
    }
    // The protocol's own codes: asked of the code that answers.
    let method = operation.method.to_uppercase();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let protocol = Protocol::of(&method, operation.path);
    for &kind in operation.errors.kinds() {
        let (status, _) = protocol.error(&crate::error::Problem::new(kind, ""));
        let schema = schemas::reference(schemas::error(protocol));
        responses.entry(status.as_u16().to_string()).or_insert_with(|| {
            let content = json!({"application/json": {"schema": schema}});
            let mut response = json!({"description": meaning(kind), "content": content});
            if kind == Kind::Overloaded {
                response["headers"] =
                    json!({"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}});
            }
            response
        });
    }
    let in_path = operation.path.split(['{', '}']).skip(1).step_by(2);
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    parameters.extend(operation.query.iter().map(|(name, schema, about, required)| {
        json!({"name": name, "in": "query", "required": required, "schema": schema, "description": about})
    }));
    let id: String = operation.path.chars().filter(|c| !"{}".contains(*c)).collect();
    let mut described = json!({
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": format!("{}{}", operation.method, id.replace(['/', ':', '-', '.'], "_")),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some((kinds, required)) = &operation.body {
        let content: Map<String, Value> = kinds
            .iter()
            .map(|(kind, schema)| (kind.to_string(), json!({"schema": schema})))
            .collect();
        described["requestBody"] = json!({"required": required, "content": content});
    }
    described
}

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
