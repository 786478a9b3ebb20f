//! Every field of the protocols' schemas is obeyed, or refused by its name, or ignored where the
//! protocol's own server ignores it. The table of the book (`book/src/serving.md`) says the same.

mod hugging_face;
mod kserve;
mod ranking;
mod tei;
mod tfserving;
mod tokens;
mod torchserve;

use crate::common::{Head, Reply, Server, write_model};
use gradus_models::Pooling;
use serde_json::{Value, json};

/// What a field does to an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// The field changes the answer.
    Obeyed,
    /// The answer stays the same: the value asks for the default, or for nothing that an answer
    /// shows.
    Same,
    /// The answer is an error with this code, and its message has the field's name.
    Refused(u16),
}
use Then::{Obeyed, Refused, Same};

/// A server with a model of every kind; `tiny` has a prompt.
fn server() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut args: Vec<String> = Vec::new();
    for (name, head) in [
        ("tiny", Head::None),
        ("ranker", Head::Rank),
        ("intents", Head::Sequence(Pooling::Mean)),
        ("masks", Head::Masked),
        ("words", Head::Tokens),
    ] {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        write_model(&folder, head);
        if head == Head::None {
            let prompts = json!({"prompts": {"query": "how do i "}}).to_string();
            std::fs::write(folder.join("config_sentence_transformers.json"), prompts).unwrap();
        }
        args.extend(["--model".into(), format!("{name}={}", folder.display())]);
    }
    let store = dir.path().to_str().unwrap().to_string();
    args.extend(["--model-store".into(), store]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    (Server::start(&args), dir)
}

/// An answer without the parts that differ from request to request.
fn answer(reply: &Reply) -> Value {
    let mut body = reply.ok();
    if let Some(body) = body.as_object_mut() {
        body.remove("id");
    }
    body
}

/// `base` with this value at a JSON pointer.
fn with(base: &Value, pointer: &str, value: &Value) -> Value {
    let mut body = base.clone();
    let mut place = &mut body;
    for key in pointer.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(i) => &mut place[i],
            Err(_) => &mut place[key],
        };
    }
    *place = value.clone();
    body
}

fn check(server: &Server, path: &str, base: &Value, fields: &[(&str, Value, Then)]) {
    let before = answer(&server.post(path, base));
    for (pointer, value, then) in fields {
        let what = format!("{path} {pointer} = {value}");
        let reply = server.post(path, with(base, pointer, value));
        let name = pointer.rsplit('/').next().unwrap();
        match then {
            Obeyed => assert_ne!(answer(&reply), before, "{what}"),
            Same => assert_eq!(answer(&reply), before, "{what}"),
            Refused(code) => {
                assert_eq!(reply.code, *code, "{what}: {}", reply.text());
                assert!(reply.text().contains(name), "{what}: {}", reply.text());
            }
        }
    }
}
