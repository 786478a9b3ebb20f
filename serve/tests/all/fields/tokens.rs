//! The fields of OpenAI and of attention; token ids.

use serde_json::{Value, json};

use super::Then::{Obeyed, Refused, Same};
use super::{check, server};
use crate::common::{TEXTS, close, numbers};

/// Token ids are cut like their text.
#[test]
fn token_ids_are_cut_at_the_end_that_is_asked_for() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(120));
    let asks = json!({"inputs": long, "add_special_tokens": false});
    let tokens = server.post("/tokenize", asks).ok();
    let ids: Vec<&Value> = tokens[0].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    let embedded = |inputs: &Value, direction: &str| {
        let asks = json!({"inputs": inputs, "truncation_direction": direction});
        numbers(&server.post("/embed", asks).ok()[0])
    };
    let ends = ["Left", "Right"].map(|direction| embedded(&json!(long), direction));
    for (direction, expected) in ["Left", "Right"].into_iter().zip(&ends) {
        close(&embedded(&json!([ids]), direction), expected, 1e-6);
    }
    assert_ne!(ends[0], ends[1]);
}

#[test]
fn the_last_id_of_the_vocabulary_is_taken_and_none_after_it() {
    let (server, _dir) = server();
    let vocabulary = server.get("/describe").ok()["models"][0]["vocabulary"].as_u64().unwrap();
    assert_eq!(server.post("/embed", json!({"inputs": [[vocabulary - 1]]})).code, 200);
    let outside = server.post("/embed", json!({"inputs": [[vocabulary]]}));
    assert!(outside.code == 422 && outside.text().contains("vocabulary"), "{}", outside.text());
}

#[test]
fn openai() {
    let (server, _dir) = server();
    check(
        &server,
        "/v1/embeddings",
        &json!({"input": TEXTS[0], "model": "tiny"}),
        &[
            ("/encoding_format", json!("base64"), Obeyed),
            ("/encoding_format", json!("float"), Same),
            ("/dimensions", json!(4), Obeyed),
            ("/user", json!("somebody"), Same),
            ("/user", json!(7), Refused(400)),
            // OpenAI refuses fields that it does not know, also those of other servers.
            ("/unknown", json!(1), Refused(400)),
            ("/unknown", Value::Null, Same),
            ("/task", json!("retrieval.query"), Refused(400)),
            ("/late_chunking", json!(true), Refused(400)),
            ("/embedding_type", json!("binary"), Refused(400)),
            ("/input_type", json!("query"), Refused(400)),
            ("/truncate_prompt_tokens", json!(4), Refused(400)),
            ("/prompt_name", json!("query"), Refused(400)),
        ],
    );
}

#[test]
fn attention() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(70));
    check(
        &server,
        "/attention",
        &json!({"inputs": long, "model": "tiny"}),
        &[
            ("/layer", json!(1), Obeyed),
            ("/head", json!(1), Obeyed),
            ("/prompt_name", json!("query"), Obeyed),
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/layers", json!(1), Refused(422)),
        ],
    );
}
