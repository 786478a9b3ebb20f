//! The operations of Hugging Face's pipelines.

use serde_json::json;

use crate::openapi::operation::{HUGGING_FACE, Operation, TEXT};
use crate::openapi::schemas::{
    any_of, boolean, closed, count, example, list, object, reference, some, string, words,
};
use crate::protocols::hf::{FUNCTIONS, STRATEGIES};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let text = || reference("Text");
    let pair = || object([("text", string()), ("text_pair?", string())]);
    let sentences = object([("source_sentence", text()), ("sentences", some(text()))]);
    let body = || {
        let fields = object([
            // Texts or token ids to embed, texts or pairs of the other tasks.
            ("inputs", any_of([reference("Inputs"), sentences.clone(), pair(), some(pair())])),
            // Each task has some of them, and refuses those of the others.
            (
                "parameters?",
                closed(object([
                    ("top_k?", count(1)),
                    ("function_to_apply?", words(FUNCTIONS)),
                    ("targets?", any_of([string(), some(string())])),
                    ("aggregation_strategy?", words(STRATEGIES)),
                    ("ignore_labels?", list(string())),
                    ("normalize?", boolean()),
                    ("dimensions?", count(1)),
                    ("prompt_name?", string()),
                    ("truncate?", boolean()),
                    ("truncation_direction?", words(["Left", "Right"])),
                ])),
            ),
        ]);
        example(fields, json!({"inputs": TEXT}))
    };
    let of_hub = "The same for a name of two parts, `organisation/model`: the path has both";
    let about = "The first model as a pipeline: classification, fill-mask, feature extraction, similarity, tagging";
    vec![
        Operation::ask(HUGGING_FACE, "/", about, body()).gives(reference("Answer")),
        Operation::ask(HUGGING_FACE, "/models/{model}", "A model by name as a pipeline", body())
            .gives(reference("Answer")),
        Operation::ask(HUGGING_FACE, "/models/{model}/{version}", of_hub, body())
            .gives(reference("Answer")),
    ]
}
