//! The fields of text-embeddings-inference.

use serde_json::{Value, json};

use super::Then::{Obeyed, Refused, Same};
use super::{check, server, with};
use crate::common::{TEXTS, close, numbers};

/// A text with more tokens than the model takes.
fn long() -> String {
    format!("fee {} card", "my ".repeat(70))
}

#[test]
fn embedding() {
    let (server, _dir) = server();
    let embed = json!({"inputs": long()});
    let shared = [
        ("/truncate", json!(true), Same),
        ("/truncation_direction", json!("Left"), Obeyed),
        ("/truncation_direction", json!("Right"), Same),
        ("/prompt_name", json!("query"), Obeyed),
        ("/prompt_name", json!("none"), Refused(422)),
        // text-embeddings-inference ignores fields that it does not know.
        ("/unknown", json!(1), Same),
    ];
    for path in ["/embed", "/embed_all"] {
        check(&server, path, &embed, &shared);
        // The message about a long text is about its length.
        assert_eq!(server.post(path, with(&embed, "/truncate", &json!(false))).code, 413);
    }
    check(
        &server,
        "/embed_sparse",
        &embed,
        &[
            ("/truncate", json!(true), Same),
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/prompt_name", json!("none"), Refused(422)),
            ("/unknown", json!(1), Same),
        ],
    );
    check(
        &server,
        "/embed",
        &embed,
        &[
            ("/normalize", json!(false), Obeyed),
            ("/normalize", json!(true), Same),
            ("/dimensions", json!(4), Obeyed),
            ("/dimensions", json!(32), Same),
            ("/dimensions", json!(33), Refused(422)),
        ],
    );
}

#[test]
fn classification() {
    let (server, _dir) = server();
    let long = long();
    check(
        &server,
        "/predict",
        &json!({"inputs": [TEXTS[0], TEXTS[1]], "model": "intents"}),
        &[
            ("/raw_scores", json!(true), Obeyed),
            ("/raw_scores", json!(false), Same),
            ("/model", json!("ranker"), Obeyed),
            // A prompt goes before a text, and this is a pair.
            ("/prompt_name", json!("query"), Refused(422)),
        ],
    );
    check(
        &server,
        "/predict",
        &json!({"inputs": long, "model": "intents"}),
        &[
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/truncation_direction", json!("Right"), Same),
            ("/truncate", json!(true), Same),
            ("/unknown", json!(1), Same),
        ],
    );
    check(
        &server,
        "/rerank",
        &json!({"query": TEXTS[0], "texts": [TEXTS[1], TEXTS[2], &long]}),
        &[
            ("/raw_scores", json!(true), Obeyed),
            ("/return_text", json!(true), Obeyed),
            ("/truncation_direction", json!("left"), Obeyed),
            ("/top_n", json!(1), Obeyed),
            ("/top_n", json!(9), Same),
            ("/top_n", json!(0), Refused(422)),
            ("/return_documents", json!(true), Refused(422)),
            ("/return_documents", json!(false), Same),
            ("/rank_fields", json!(["text"]), Refused(422)),
            ("/max_tokens_per_doc", json!(9), Refused(422)),
            ("/max_chunks_per_doc", json!(2), Refused(422)),
            ("/prompt_name", json!("query"), Refused(422)),
            ("/unknown", json!(1), Same),
        ],
    );
}

#[test]
fn similarity() {
    let (server, _dir) = server();
    let long = long();
    let similar =
        json!({"inputs": {"source_sentence": TEXTS[0], "sentences": [long]}, "parameters": {}});
    check(
        &server,
        "/similarity",
        &similar,
        &[
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/prompt_name", json!("query"), Obeyed),
            ("/parameters/unknown", json!(1), Same),
        ],
    );
}

#[test]
fn tokens() {
    let (server, _dir) = server();
    check(
        &server,
        "/tokenize",
        &json!({"inputs": TEXTS[0]}),
        &[
            ("/add_special_tokens", json!(false), Obeyed),
            ("/prompt_name", json!("query"), Obeyed),
            ("/prompt_name", json!("none"), Refused(422)),
        ],
    );
    let ids = server.post("/tokenize", json!({"inputs": TEXTS[0]})).ok();
    let ids: Vec<&Value> = ids[0].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    check(
        &server,
        "/decode",
        &json!({"ids": ids}),
        &[("/skip_special_tokens", json!(false), Obeyed)],
    );
    // A prompt also goes before token ids: before the text that they stand for.
    let prompted = |inputs: Value| {
        numbers(&server.post("/embed", json!({"inputs": inputs, "prompt_name": "query"})).ok()[0])
    };
    close(&prompted(json!([ids])), &prompted(json!(TEXTS[0])), 1e-6);
}
