//! The operations of the OpenAPI document.

use serde_json::{Value, json};

use super::schemas::{
    any_of, boolean, count, example, list, number, object, object_of, reference, some, string,
    words,
};
use super::{Errors, Operation};

const TEI: &str = "text-embeddings-inference";
const OPENAI: &str = "OpenAI";
const TORCHSERVE: &str = "TorchServe";
const TFSERVING: &str = "TensorFlow Serving";
const KSERVE: &str = "KServe v2";
const HUGGING_FACE: &str = "Hugging Face";
const OPERATION: &str = "Operation";

/// The protocols, in the order of the page.
pub const TAGS: [&str; 7] = [TEI, OPENAI, TORCHSERVE, TFSERVING, KSERVE, HUGGING_FACE, OPERATION];

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
    let all = [tei(), openai(), torchserve(), tfserving(), kserve(), hugging_face(), operation()];
    all.into_iter().flatten().collect()
}

/// `inputs` and what every question of text-embeddings-inference may have besides.
fn inputs(inputs: Value, more: Vec<(&str, Value)>) -> Value {
    let mut fields = vec![
        ("inputs", inputs),
        ("truncate?", boolean()),
        ("truncation_direction?", words(["Left", "Right"])),
        ("prompt_name?", string()),
        ("model?", reference("ModelName")),
    ];
    fields.extend(more);
    example(object_of(fields), json!({"inputs": TEXT}))
}

fn tei() -> Vec<Operation> {
    let text = || reference("Text");
    let pair = || json!({"type": "array", "items": string(), "minItems": 1, "maxItems": 2});
    let token = object([
        ("id", count(0)),
        ("text", string()),
        ("special", boolean()),
        ("start?", count(0)),
        ("stop?", count(0)),
    ]);
    let rank = object([("index", count(0)), ("score", number())]);
    vec![
        Operation::ask(TEI, "/embed", "Embeddings of texts", inputs(
            reference("Inputs"),
            vec![("normalize?", boolean()), ("dimensions?", count(1))],
        ))
        .gives(reference("Vectors")),
        Operation::ask(
            TEI,
            "/embed_all",
            "The last hidden state of every token",
            inputs(reference("Inputs"), vec![]),
        )
        .gives(list(reference("Vectors"))),
        Operation::ask(
            TEI,
            "/predict",
            "Labels of a text, of a pair (a list of two), or of a batch (a list of lists)",
            inputs(any_of([text(), pair(), some(pair())]), vec![("raw_scores?", boolean())]),
        )
        .gives(any_of([reference("Scores"), list(reference("Scores"))])),
        Operation::ask(TEI, "/rerank", "Texts by how well they answer a query", example(
            object([
                ("query", text()),
                ("texts", some(string())),
                ("raw_scores?", boolean()),
                ("return_text?", boolean()),
                ("truncate?", boolean()),
                ("truncation_direction?", words(["Left", "Right"])),
                ("model?", reference("ModelName")),
            ]),
            json!({"query": TEXT, "texts": ["my card", "the weather"]}),
        ))
        .gives(list(rank)),
        Operation::ask(TEI, "/similarity", "The cosine of a sentence to others", example(
            object([
                ("inputs", object([("source_sentence", text()), ("sentences", some(text()))])),
                ("parameters?", object([
                    ("truncate?", boolean()),
                    ("truncation_direction?", words(["Left", "Right"])),
                    ("prompt_name?", string()),
                ])),
                ("model?", reference("ModelName")),
            ]),
            json!({"inputs": {"source_sentence": "A cat.", "sentences": ["A kitten.", "A car."]}}),
        ))
        .gives(list(number())),
        Operation::ask(TEI, "/tokenize", "The tokens of texts; places in characters", example(
            object([
                ("inputs", any_of([text(), some(text())])),
                ("add_special_tokens?", boolean()),
                ("model?", reference("ModelName")),
            ]),
            json!({"inputs": TEXT}),
        ))
        .gives(list(list(token))),
        Operation::ask(TEI, "/decode", "The text of token ids", example(
            object([
                ("ids", any_of([reference("TokenIds"), some(reference("TokenIds"))])),
                ("skip_special_tokens?", boolean()),
                ("model?", reference("ModelName")),
            ]),
            json!({"ids": [101, 102]}),
        ))
        .gives(list(string())),
        Operation::get(TEI, "/info", Errors::Missing, "The first model").gives(object([
            ("model_id", string()),
            ("model_type", json!({"type": "object"})),
            ("max_input_length", count(1)),
            ("max_batch_tokens", count(1)),
            ("max_client_batch_size", count(1)),
            ("version", string()),
        ])),
    ]
}

fn openai() -> Vec<Operation> {
    let ask = || {
        example(
            object([
                ("input", reference("Inputs")),
                ("model?", reference("ModelName")),
                ("encoding_format?", words(["float", "base64"])),
                ("dimensions?", count(1)),
            ]),
            json!({"input": TEXT}),
        )
    };
    let base64 = json!({"type": "string", "description": "base64 of little-endian f32"});
    let embeddings = object([
        ("object", words(["list"])),
        (
            "data",
            list(object([
                ("object", words(["embedding"])),
                ("index", count(0)),
                ("embedding", any_of([reference("Vector"), base64])),
            ])),
        ),
        ("model", string()),
        ("usage", object([("prompt_tokens", count(0)), ("total_tokens", count(0))])),
    ]);
    let model = object([
        ("id", string()),
        ("object", words(["model"])),
        ("created", count(0)),
        ("owned_by", string()),
    ]);
    vec![
        Operation::ask(OPENAI, "/v1/embeddings", "Embeddings", ask()).gives(embeddings.clone()),
        Operation::ask(OPENAI, "/embeddings", "The same", ask()).gives(embeddings),
        Operation::get(OPENAI, "/v1/models", Errors::Plain, "All models")
            .gives(object([("object", words(["list"])), ("data", list(model))])),
    ]
}

fn torchserve() -> Vec<Operation> {
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
            let bodies = vec![("application/json", json), ("text/plain", reference("Text"))];
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

fn tfserving() -> Vec<Operation> {
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
        object([("examples", some(example_of())), ("context?", json!({"type": "object"}))]),
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

fn kserve() -> Vec<Operation> {
    let anything = || json!({"type": "object"});
    let infer = example(
        object([
            ("id?", string()),
            ("inputs", some(reference("Tensor"))),
            (
                "outputs?",
                list(object([
                    ("name", words(["EMBEDDING", "SCORES", "LABEL", "MASKS", "WORDS"])),
                    (
                        "parameters?",
                        object([("binary_data?", boolean()), ("classification?", count(0))]),
                    ),
                ])),
            ),
            ("parameters?", object([("binary_data_output?", boolean()), ("timeout?", count(0))])),
        ]),
        json!({"inputs": [{"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]}),
    );
    let tensor = || {
        object([
            ("name", string()),
            ("datatype", string()),
            ("shape", list(json!({"type": "integer"}))),
        ])
    };
    let answer = object([
        ("model_name", string()),
        ("model_version", string()),
        ("outputs", list(tensor())),
    ]);
    let metadata = object([
        ("name", string()),
        ("versions", list(string())),
        ("platform", string()),
        ("inputs", list(tensor())),
        ("outputs", list(tensor())),
    ]);
    let stats = object([("model_stats", list(anything()))]);
    let get = Operation::get;
    let mut all = vec![
        get(KSERVE, "/v2", Errors::Plain, "The server and its extensions").gives(object([
            ("name", string()),
            ("version", string()),
            ("extensions", list(string())),
        ])),
        get(KSERVE, "/v2/health/live", Errors::Plain, "Whether the server lives").gives_as(
            200,
            "",
            json!({}),
        ),
        get(KSERVE, "/v2/health/ready", Errors::Health, "Whether requests are taken").gives_as(
            200,
            "",
            json!({}),
        ),
        get(KSERVE, "/v2/models/stats", Errors::Plain, "Counts and times of all models")
            .gives(stats.clone()),
    ];
    for [model, ready, config, counts, infers] in [
        [
            "/v2/models/{model}",
            "/v2/models/{model}/ready",
            "/v2/models/{model}/config",
            "/v2/models/{model}/stats",
            "/v2/models/{model}/infer",
        ],
        [
            "/v2/models/{model}/versions/{version}",
            "/v2/models/{model}/versions/{version}/ready",
            "/v2/models/{model}/versions/{version}/config",
            "/v2/models/{model}/versions/{version}/stats",
            "/v2/models/{model}/versions/{version}/infer",
        ],
    ] {
        all.push(get(KSERVE, model, Errors::Missing, "Inputs and outputs").gives(metadata.clone()));
        let about = "Whether the model takes requests";
        all.push(get(KSERVE, ready, Errors::Missing, about).gives_as(200, "", json!({})));
        let about = "Triton's configuration of the model";
        all.push(get(KSERVE, config, Errors::Missing, about).gives(anything()));
        all.push(get(KSERVE, counts, Errors::Missing, "Counts and times").gives(stats.clone()));
        let about = "The model's answers; tensors may follow the JSON as bytes (Inference-Header-Content-Length)";
        all.push(
            Operation::ask(KSERVE, infers, about, infer.clone()).gives(answer.clone()).gives_as(
                200,
                "application/octet-stream",
                string(),
            ),
        );
    }
    let index = list(object([
        ("name", string()),
        ("version", string()),
        ("state", string()),
        ("reason", string()),
    ]));
    let repository = |path, summary, body: Value, answer| {
        let operation = Operation::new(KSERVE, "post", path, Errors::Management, summary);
        let body = Some((vec![("application/json", body)], false));
        Operation { body, ..operation }.gives(answer)
    };
    all.push(repository(
        "/v2/repository/index",
        "All versions",
        object([("ready?", boolean())]),
        index,
    ));
    all.push(repository(
        "/v2/repository/models/{model}/load",
        "Load a model again; a broken folder leaves the old version serving",
        object([("parameters?", anything())]),
        anything(),
    ));
    all.push(repository(
        "/v2/repository/models/{model}/unload",
        "Unload a model; what is queued is still answered",
        object([("parameters?", anything())]),
        anything(),
    ));
    all
}

fn hugging_face() -> Vec<Operation> {
    let text = || reference("Text");
    let pair = || object([("text", string()), ("text_pair?", string())]);
    let sentences = object([("source_sentence", text()), ("sentences", some(text()))]);
    let body = || {
        let fields = object([
            ("inputs", any_of([text(), some(text()), sentences.clone(), pair()])),
            (
                "parameters?",
                object([
                    ("top_k?", count(1)),
                    ("function_to_apply?", string()),
                    ("aggregation_strategy?", string()),
                    ("normalize?", boolean()),
                    ("truncate?", boolean()),
                    ("prompt_name?", string()),
                ]),
            ),
            ("normalize?", boolean()),
            ("truncate?", boolean()),
            ("prompt_name?", string()),
        ]);
        example(fields, json!({"inputs": TEXT}))
    };
    let about = "The first model as a pipeline: classification, fill-mask, feature extraction, similarity, tagging";
    vec![
        Operation::ask(HUGGING_FACE, "/", about, body()).gives(reference("Answer")),
        Operation::ask(HUGGING_FACE, "/models/{model}", "A model by name as a pipeline", body())
            .gives(reference("Answer")),
    ]
}

fn operation() -> Vec<Operation> {
    let status = || object([("status", string())]);
    let get = Operation::get;
    vec![
        get(OPERATION, "/health", Errors::Health, "Whether requests are taken").gives_as(
            200,
            "",
            json!({}),
        ),
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
        get(OPERATION, "/docs", Errors::Plain, "A page that lists it").gives_as(
            200,
            "text/html",
            string(),
        ),
    ]
}
