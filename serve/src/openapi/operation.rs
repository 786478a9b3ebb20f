//! One operation of the document.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::schemas::{self, object, string};
use crate::error::{Kind, Problem};
use crate::protocols::Protocol;

pub const TEI: &str = "text-embeddings-inference";
pub const OPENAI: &str = "OpenAI";
pub const COHERE: &str = "Cohere and Jina";
pub const TORCHSERVE: &str = "TorchServe";
pub const TFSERVING: &str = "TensorFlow Serving";
pub const KSERVE: &str = "KServe v2";
pub const HUGGING_FACE: &str = "Hugging Face";
pub const NATIVE: &str = "Gradus";
pub const OPERATION: &str = "Operation";

/// The tags of operations, in the order of the page.
pub const TAGS: [&str; 9] =
    [TEI, OPENAI, COHERE, TORCHSERVE, TFSERVING, KSERVE, HUGGING_FACE, NATIVE, OPERATION];

/// The text of the examples.
pub const TEXT: &str = "How do I locate my card?";

/// Which errors an operation may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// Those of every path only.
    Plain,
    /// Those of a model that may be missing.
    Missing,
    /// Those of a server that may not be ready.
    Health,
    /// Those of a question to a model.
    Question,
    /// Those of management.
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

/// What the status code of an error means.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid | Kind::Http | Kind::Empty | Kind::TooLong => "The request is malformed",
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

/// A parameter of the query.
struct QueryParameter {
    name: &'static str,
    schema: Value,
    about: &'static str,
    required: bool,
}

/// One operation.
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub tag: &'static str,
    summary: &'static str,
    errors: Errors,
    query: Vec<QueryParameter>,
    /// Schemas of the body by content type, and whether there must be a body.
    body: Option<(Vec<(&'static str, Value)>, bool)>,
    /// Status, content type and schema of successes. The type is empty where there is no body.
    answers: Vec<(u16, &'static str, Value)>,
}

impl Operation {
    pub fn new(
        tag: &'static str,
        method: &'static str,
        path: &'static str,
        errors: Errors,
        summary: &'static str,
    ) -> Operation {
        let (query, body, answers) = (Vec::new(), None, Vec::new());
        Operation { method, path, tag, summary, errors, query, body, answers }
    }

    pub fn get(
        tag: &'static str,
        path: &'static str,
        errors: Errors,
        summary: &'static str,
    ) -> Operation {
        Operation::new(tag, "get", path, errors, summary)
    }

    /// A question with a JSON body.
    pub fn ask(
        tag: &'static str,
        path: &'static str,
        summary: &'static str,
        body: Value,
    ) -> Operation {
        let operation = Operation::new(tag, "post", path, Errors::Question, summary);
        operation.takes(vec![("application/json", body)], true)
    }

    /// An operation of TorchServe's management.
    pub fn manage(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
        let operation = Operation::new(TORCHSERVE, method, path, Errors::Management, summary);
        operation.gives(object([("status", string())]))
    }

    /// Adds a body: its schemas by content type, and whether there must be one.
    pub fn takes(mut self, bodies: Vec<(&'static str, Value)>, required: bool) -> Operation {
        self.body = Some((bodies, required));
        self
    }

    /// Adds a JSON answer.
    pub fn gives(self, schema: Value) -> Operation {
        self.gives_as(200, "application/json", schema)
    }

    /// Adds an answer that has no body.
    pub fn gives_nothing(self) -> Operation {
        self.gives_as(200, "", json!({}))
    }

    /// Adds an answer of this status and content type.
    pub fn gives_as(mut self, code: u16, kind: &'static str, schema: Value) -> Operation {
        self.answers.push((code, kind, schema));
        self
    }

    /// With an optional parameter of the query.
    pub fn query(mut self, name: &'static str, schema: Value, about: &'static str) -> Operation {
        self.query.push(QueryParameter { name, schema, about, required: false });
        self
    }

    /// With a parameter that the query must have.
    pub fn required_query(
        mut self,
        name: &'static str,
        schema: Value,
        about: &'static str,
    ) -> Operation {
        self.query.push(QueryParameter { name, schema, about, required: true });
        self
    }

    /// The operation as the document has it.
    pub fn described(&self) -> Value {
        let id: String = self.path.chars().filter(|c| !"{}".contains(*c)).collect();
        let mut described = json!({
            "tags": [self.tag],
            "summary": self.summary,
            "operationId": format!("{}{}", self.method, id.replace(['/', ':', '-', '.'], "_")),
            "parameters": self.parameters(),
            "responses": self.responses(),
        });
        if let Some((kinds, required)) = &self.body {
            let content: Map<String, Value> = kinds
                .iter()
                .map(|(kind, schema)| (kind.to_string(), json!({"schema": schema})))
                .collect();
            described["requestBody"] = json!({"required": required, "content": content});
        }
        described
    }

    fn parameters(&self) -> Vec<Value> {
        let in_path = self.path.split(['{', '}']).skip(1).step_by(2).map(
            |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
        );
        let in_query = self.query.iter().map(|QueryParameter { name, schema, about, required }| {
            json!({"name": name, "in": "query", "required": required, "schema": schema, "description": about})
        });
        in_path.chain(in_query).collect()
    }

    fn responses(&self) -> Map<String, Value> {
        let mut responses = Map::new();
        for (code, kind, schema) in &self.answers {
            let response = responses
                .entry(code.to_string())
                .or_insert_with(|| json!({"description": "The answer"}));
            if !kind.is_empty() {
                response["content"][*kind] = json!({"schema": schema});
            }
        }
        let method = self.method.to_uppercase();
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let protocol = Protocol::of(&method, self.path);
        for &kind in self.errors.kinds() {
            // The code that answers errors says which status the protocol has for them.
            let (status, _) = protocol.error(&Problem::new(kind, ""));
            let code = status.as_u16().to_string();
            responses.entry(code).or_insert_with(|| error_response(protocol, kind));
        }
        responses
    }
}

fn error_response(protocol: Protocol, kind: Kind) -> Value {
    let schema = schemas::reference(schemas::error(protocol));
    let content = json!({"application/json": {"schema": schema}});
    let mut response = json!({"description": meaning(kind), "content": content});
    if kind == Kind::Overloaded {
        response["headers"] =
            json!({"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}});
    }
    response
}
