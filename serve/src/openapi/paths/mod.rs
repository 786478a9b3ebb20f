//! The operations of the OpenAPI document, one file a protocol.

mod cohere;
mod hf;
mod kserve;
mod native;
mod openai;
mod operation;
mod tei;
mod tfserving;
mod torchserve;

use serde_json::Value;

use super::schemas::{object, string};
use super::{Errors, Operation};

const TEI: &str = "text-embeddings-inference";
const OPENAI: &str = "OpenAI";
const COHERE: &str = "Cohere and Jina";
const TORCHSERVE: &str = "TorchServe";
const TFSERVING: &str = "TensorFlow Serving";
const KSERVE: &str = "KServe v2";
const HUGGING_FACE: &str = "Hugging Face";
const NATIVE: &str = "Gradus";
const OPERATION: &str = "Operation";

/// The protocols, in the order of the page.
pub const TAGS: [&str; 9] =
    [TEI, OPENAI, COHERE, TORCHSERVE, TFSERVING, KSERVE, HUGGING_FACE, NATIVE, OPERATION];

impl Operation {
    fn new(
        tag: &'static str,
        method: &'static str,
        path: &'static str,
        errors: Errors,
        summary: &'static str,
    ) -> Operation {
        let (query, body, answers) = (Vec::new(), None, Vec::new());
        Operation { method, path, tag, summary, errors, query, body, answers }
    }

    fn get(
        tag: &'static str,
        path: &'static str,
        errors: Errors,
        summary: &'static str,
    ) -> Operation {
        Operation::new(tag, "get", path, errors, summary)
    }

    /// A question with a body of JSON.
    fn ask(tag: &'static str, path: &'static str, summary: &'static str, body: Value) -> Operation {
        let operation = Operation::new(tag, "post", path, Errors::Question, summary);
        Operation { body: Some((vec![("application/json", body)], true)), ..operation }
    }

    fn manage(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
        let operation = Operation::new(TORCHSERVE, method, path, Errors::Management, summary);
        operation.gives(object([("status", string())]))
    }

    fn gives(self, schema: Value) -> Operation {
        self.gives_as(200, "application/json", schema)
    }

    fn gives_as(mut self, code: u16, kind: &'static str, schema: Value) -> Operation {
        self.answers.push((code, kind, schema));
        self
    }

    fn query(mut self, name: &'static str, schema: Value, about: &'static str) -> Operation {
        self.query.push((name, schema, about, false));
        self
    }
}

const TEXT: &str = "How do I locate my card?";

/// All operations.
pub fn operations() -> Vec<Operation> {
    [
        tei::operations(),
        openai::operations(),
        cohere::operations(),
        torchserve::operations(),
        tfserving::operations(),
        kserve::operations(),
        hf::operations(),
        native::operations(),
        operation::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
