//! The operations of KServe v2.

use serde_json::{Value, json};

use super::{KSERVE, Operation, TEXT};
use crate::openapi::Errors;
use crate::openapi::schemas::{
    boolean, count, example, list, object, reference, some, string, words,
};

/// The operations.
pub fn operations() -> Vec<Operation> {
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
