//! The operations of KServe v2.

use serde_json::{Value, json};

use crate::openapi::operation::{Errors, KSERVE, Operation, TEXT};
use crate::openapi::schemas::{
    boolean, count, example, list, object, reference, some, string, words,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let mut all = server();
    all.extend(of_model([
        "/v2/models/{model}",
        "/v2/models/{model}/ready",
        "/v2/models/{model}/config",
        "/v2/models/{model}/stats",
        "/v2/models/{model}/infer",
    ]));
    all.extend(of_model([
        "/v2/models/{model}/versions/{version}",
        "/v2/models/{model}/versions/{version}/ready",
        "/v2/models/{model}/versions/{version}/config",
        "/v2/models/{model}/versions/{version}/stats",
        "/v2/models/{model}/versions/{version}/infer",
    ]));
    all.extend(repository());
    all
}

fn anything() -> Value {
    json!({"type": "object"})
}

fn stats() -> Value {
    object([("model_stats", list(anything()))])
}

fn server() -> Vec<Operation> {
    let get = |path, errors, summary| Operation::get(KSERVE, path, errors, summary);
    let about = object([("name", string()), ("version", string()), ("extensions", list(string()))]);
    let counts = "Counts and times of all models";
    vec![
        get("/v2", Errors::Plain, "The server and its extensions").gives(about),
        get("/v2/health/live", Errors::Plain, "Whether the server is alive").gives_nothing(),
        get("/v2/health/ready", Errors::Health, "Whether the server takes requests")
            .gives_nothing(),
        get("/v2/models/stats", Errors::Plain, counts).gives(stats()),
    ]
}

/// The operations of a model, or of a version of it.
fn of_model([model, ready, config, counts, infers]: [&'static str; 5]) -> Vec<Operation> {
    let get = |path, summary| Operation::get(KSERVE, path, Errors::Missing, summary);
    let about = "The model's answers; tensors may follow the JSON as bytes (Inference-Header-Content-Length)";
    let infer = Operation::ask(KSERVE, infers, about, question());
    vec![
        get(model, "Inputs and outputs").gives(metadata()),
        get(ready, "Whether the model takes requests").gives_nothing(),
        get(config, "Triton's configuration of the model").gives(anything()),
        get(counts, "Counts and times").gives(stats()),
        infer.gives(answer()).gives_as(200, "application/octet-stream", string()),
    ]
}

fn question() -> Value {
    let output = object([
        ("name", words(["EMBEDDING", "SCORES", "LABEL", "MASKS", "WORDS"])),
        ("parameters?", object([("binary_data?", boolean()), ("classification?", count(0))])),
    ]);
    let fields = object([
        ("id?", string()),
        ("inputs", some(reference("Tensor"))),
        ("outputs?", list(output)),
        ("parameters?", object([("binary_data_output?", boolean()), ("timeout?", count(0))])),
    ]);
    let input = json!({"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [TEXT]});
    example(fields, json!({"inputs": [input]}))
}

fn tensor() -> Value {
    object([
        ("name", string()),
        ("datatype", string()),
        ("shape", list(json!({"type": "integer"}))),
    ])
}

fn answer() -> Value {
    object([("model_name", string()), ("model_version", string()), ("outputs", list(tensor()))])
}

fn metadata() -> Value {
    object([
        ("name", string()),
        ("versions", list(string())),
        ("platform", string()),
        ("inputs", list(tensor())),
        ("outputs", list(tensor())),
    ])
}

fn repository() -> Vec<Operation> {
    let post = |path, summary, body: Value| {
        let operation = Operation::new(KSERVE, "post", path, Errors::Management, summary);
        operation.takes(vec![("application/json", body)], false)
    };
    let version = object([
        ("name", string()),
        ("version", string()),
        ("state", string()),
        ("reason", string()),
    ]);
    let parameters = || object([("parameters?", anything())]);
    let load = "Load a model again; a broken folder leaves the old version serving";
    let unload = "Unload a model; queued requests are still answered";
    vec![
        post("/v2/repository/index", "All versions", object([("ready?", boolean())]))
            .gives(list(version)),
        post("/v2/repository/models/{model}/load", load, parameters()).gives(anything()),
        post("/v2/repository/models/{model}/unload", unload, parameters()).gives(anything()),
    ]
}
