//! The parameters of Hugging Face's pipelines.

use serde_json::{Value, json};

use super::Then::{Obeyed, Refused, Same};
use super::{check, server};
use crate::common::{TEXTS, close};

/// A text with more tokens than the model takes.
fn long() -> String {
    format!("fee {} card", "my ".repeat(70))
}

#[test]
fn embedding() {
    let (server, _dir) = server();
    let long = long();
    check(
        &server,
        "/models/tiny",
        &json!({"inputs": long, "parameters": {}}),
        &[
            ("/parameters/normalize", json!(false), Obeyed),
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/prompt_name", json!("query"), Obeyed),
            ("/parameters/dimensions", json!(4), Obeyed),
            // Next to `inputs`, as in text-embeddings-inference.
            ("/normalize", json!(false), Obeyed),
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/prompt_name", json!("query"), Obeyed),
            ("/options", json!({"use_cache": false}), Same),
            ("/parameters/truncate", json!(true), Same),
            ("/parameters/function_to_apply", json!("none"), Refused(422)),
            ("/parameters/top_k", json!(1), Refused(422)),
            ("/parameters/unknown", json!(1), Refused(422)),
        ],
    );
    let similar =
        json!({"inputs": {"source_sentence": TEXTS[0], "sentences": [long]}, "parameters": {}});
    check(
        &server,
        "/models/tiny",
        &similar,
        &[
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/prompt_name", json!("query"), Obeyed),
            ("/parameters/normalize", json!(true), Same),
            ("/parameters/dimensions", json!(4), Refused(422)),
            ("/parameters/top_k", json!(1), Refused(422)),
        ],
    );
}

#[test]
fn classification() {
    let (server, _dir) = server();
    let long = long();
    check(
        &server,
        "/models/intents",
        &json!({"inputs": long, "parameters": {}}),
        &[
            ("/parameters/function_to_apply", json!("softmax"), Same),
            ("/parameters/function_to_apply", json!("sigmoid"), Obeyed),
            ("/parameters/function_to_apply", json!("SIGMOID"), Obeyed),
            ("/parameters/function_to_apply", json!("none"), Obeyed),
            ("/parameters/top_k", json!(1), Obeyed),
            ("/parameters/top_k", json!(3), Same),
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/aggregation_strategy", json!("max"), Refused(422)),
            ("/parameters/normalize", json!(true), Refused(422)),
            ("/parameters/max_length", json!(4), Refused(422)),
        ],
    );
}

#[test]
fn masks_and_words() {
    let (server, _dir) = server();
    check(
        &server,
        "/models/masks",
        &json!({"inputs": "my [MASK] was stolen", "parameters": {}}),
        &[
            ("/parameters/top_k", json!(2), Obeyed),
            ("/parameters/targets", json!(["card", "fee"]), Obeyed),
            ("/parameters/targets", json!("card"), Obeyed),
            ("/parameters/targets", json!([]), Refused(400)),
            ("/parameters/targets", json!(["card", "of two words"]), Refused(422)),
            ("/parameters/function_to_apply", json!("none"), Refused(422)),
        ],
    );
    check(
        &server,
        "/models/words",
        &json!({"inputs": TEXTS[2], "parameters": {}}),
        &[
            ("/parameters/aggregation_strategy", json!("none"), Obeyed),
            ("/parameters/aggregation_strategy", json!("simple"), Same),
            ("/parameters/aggregation_strategy", json!("first"), Same),
            ("/parameters/aggregation_strategy", json!("average"), Obeyed),
            ("/parameters/aggregation_strategy", json!("max"), Obeyed),
            ("/parameters/ignore_labels", json!([]), Obeyed),
            ("/parameters/ignore_labels", json!(["O"]), Same),
            ("/parameters/ignore_labels", json!("O"), Refused(422)),
            ("/parameters/stride", json!(0), Same),
            ("/parameters/stride", json!(8), Refused(422)),
            ("/parameters/top_k", json!(1), Refused(422)),
        ],
    );
}

/// A parameter both in `parameters` and next to them is ambiguous.
#[test]
fn a_parameter_in_two_places_is_refused() {
    let (server, _dir) = server();
    let body = json!({"inputs": TEXTS[0], "top_k": 1, "parameters": {"top_k": 2}});
    let reply = server.post("/models/intents", body);
    assert_eq!(reply.code, 422);
    assert!(reply.text().contains("`top_k` stands in `parameters` too"), "{}", reply.text());
}

/// Only a classifier reads two texts.
#[test]
fn pairs_are_refused_by_models_that_read_single_texts() {
    let (server, _dir) = server();
    let (pair, mask) = (json!({"text": "a", "text_pair": "b"}), "my [MASK]");
    let tensor =
        |name: &str| json!({"name": name, "shape": [1], "datatype": "BYTES", "data": ["a"]});
    for (path, body) in [
        ("/predictions/tiny", pair.clone()),
        ("/predictions/words", pair.clone()),
        ("/v1/models/tiny:predict", json!({"instances": [pair]})),
        ("/v2/models/tiny/infer", json!({"inputs": [tensor("TEXT"), tensor("TEXT_PAIR")]})),
        ("/models/words", json!({"inputs": pair})),
        ("/models/masks", json!({"inputs": {"text": mask, "text_pair": "b"}})),
    ] {
        let reply = server.post(path, body);
        assert!([400, 422].contains(&reply.code), "{path}: {}", reply.text());
        assert!(reply.text().contains("takes single texts"), "{path}: {}", reply.text());
    }
    let attended = server.post("/attention", json!({"inputs": ["a", "b"], "model": "tiny"}));
    assert_eq!(attended.code, 200, "{}", attended.text());
}

/// As in the pipeline of `transformers`, the function applies to each logit, and config.json does
/// not matter.
#[test]
fn functions_apply_to_the_logits() {
    let (server, _dir) = server();
    for model in ["intents", "ranker"] {
        let scores = |function: &str| -> Vec<f64> {
            let parameters = json!({"function_to_apply": function});
            let body = json!({"inputs": TEXTS[0], "parameters": parameters});
            let body = server.post(&format!("/models/{model}"), body).ok();
            body[0].as_array().unwrap().iter().map(|s| s["score"].as_f64().unwrap()).collect()
        };
        let logits = scores("none");
        let sigmoid: Vec<f64> = logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
        let total: f64 = logits.iter().map(|x| x.exp()).sum();
        let softmax: Vec<f64> = logits.iter().map(|x| x.exp() / total).collect();
        close(&scores("sigmoid"), &sigmoid, 1e-6);
        close(&scores("softmax"), &softmax, 1e-6);
    }
}

#[test]
fn targets_are_scored_among_all_words() {
    let (server, _dir) = server();
    let asked = |parameters: Value| {
        let body = json!({"inputs": "my [MASK] was stolen", "parameters": parameters});
        server.post("/models/masks", body).ok().as_array().unwrap().clone()
    };
    let all = asked(json!({"top_k": 100_000}));
    let of = |word: &str| all.iter().find(|fill| fill["token_str"] == word).unwrap();
    let found = asked(json!({"targets": ["card", "fee", "card"]}));
    assert_eq!(found.len(), 2);
    for fill in &found {
        let expected = of(fill["token_str"].as_str().unwrap());
        close(&[fill["score"].as_f64().unwrap()], &[expected["score"].as_f64().unwrap()], 1e-6);
        assert_eq!(fill["sequence"], expected["sequence"]);
    }
    assert!(found[0]["score"].as_f64() >= found[1]["score"].as_f64());
    assert_eq!(asked(json!({"targets": ["card", "fee"], "top_k": 1})), found[..1]);
}
