//! How clients of other servers ask: forms, charsets, hub ids, token ids.

use std::process::Output;

use crate::common::{Head, Reply, Server, TEXTS, close, command, numbers, write_model};
use gradus_models::Pooling;
use serde_json::{Value, json};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn forms_are_the_texts_in_them() {
    let (server, _dir) = Server::tiny(&[("intents", Head::Sequence(Pooling::Mean))], &[]);
    let send = |kind: &str, body: &[u8]| {
        let headers = [("content-type", kind)];
        server.send("POST", "/predictions/intents", &headers, body)
    };
    let text = server.post("/predictions/intents", "My card: 100% \"lost\" & gone, é+ü").ok();
    let pair =
        server.post("/predictions/intents", json!({"text": "my card", "text_pair": "a fee"})).ok();
    let encoded = "My+card%3a+100%25+%22lost%22+%26+gone%2C+%C3%A9%2B%C3%BC";
    for name in ["data", "body", "text"] {
        assert_eq!(send(FORM.1, format!("{name}={encoded}").as_bytes()).ok(), text, "{name}");
    }
    assert_eq!(send(FORM.1, b"data=my+card&text_pair=a+fee").ok(), pair);
    assert_eq!(send(FORM.1, b"text_pair=a+fee&data=my+card").ok(), pair);
    refused(&send(FORM.1, b"text_pair=a+fee"), 400, "`data` is missing");

    // `curl -d` calls its body a form, but it is a text.
    let plain = server.post("/predictions/intents", "my card & a fee = 100%+").ok();
    assert_eq!(send(FORM.1, b"my card & a fee = 100%+").ok(), plain);
    assert_eq!(send(FORM.1, br#"{"data": ["my card & a fee = 100%+"]}"#).ok()[0], plain);
    // With another content type the same body is a text.
    let text = server.post("/predictions/intents", "data=fee").ok();
    assert_eq!(send("text/plain", b"data=fee").ok(), text);
    assert_ne!(send(FORM.1, b"data=fee").ok(), text);
}

#[test]
fn forms_in_parts_are_the_texts_in_them() {
    let (server, _dir) = Server::tiny(&[("intents", Head::Sequence(Pooling::Mean))], &[]);
    let parts = |parts: &[(&str, &str, &[u8])]| {
        let mut body = Vec::new();
        for (name, more, value) in parts {
            let head =
                format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n");
            body.extend(head.as_bytes());
            body.extend(*value);
            body.extend(b"\r\n");
        }
        body.extend(b"--x--\r\n");
        let headers = [("content-type", "multipart/form-data; boundary=x")];
        server.send("POST", "/predictions/intents", &headers, &body)
    };
    let text = server.post("/predictions/intents", "Où est ma carte ?").ok();
    let file = "; filename=\"a.txt\"";
    assert_eq!(parts(&[("data", "", "Où est ma carte ?".as_bytes())]).ok(), text);
    assert_eq!(parts(&[("body", file, "Où est ma carte ?".as_bytes())]).ok(), text);
    let latin = "\r\nContent-Type: text/plain; charset=iso-8859-1";
    assert_eq!(parts(&[("data", latin, b"O\xf9 est ma carte ?")]).ok(), text);
    let kind = "\r\nContent-Type: application/json";
    assert_eq!(parts(&[("data", kind, r#"["Où est ma carte ?"]"#.as_bytes())]).ok()[0], text);
    let pair = json!({"text": "my card", "text_pair": "a fee"});
    let pair = server.post("/predictions/intents", pair).ok();
    assert_eq!(parts(&[("data", "", b"my card"), ("text_pair", "", b"a fee")]).ok(), pair);
    refused(&parts(&[("context", "", b"a")]), 400, "`context`");
    refused(&parts(&[("data", "", b"a"), ("data", "", b"b")]), 400, "too many");
    refused(&parts(&[("data", "", b"a"), ("more", kind, b"[]")]), 400, "`more`");
    refused(&parts(&[]), 400, "`data` is missing");
    refused(&parts(&[("data", "", b"")]), 400, "empty");
    refused(&parts(&[("data", "", b"\xff")]), 400, "UTF-8");
}

#[track_caller]
fn refused(reply: &Reply, code: u16, says: &str) {
    assert!(reply.code == code && reply.text().contains(says), "{} {}", reply.code, reply.text());
}

#[test]
fn charsets_are_obeyed_or_refused() {
    let heads = [("intents", Head::Sequence(Pooling::Mean)), ("tiny", Head::None)];
    let (server, _dir) = Server::tiny(&heads, &[]);
    let send = |path: &str, kind: &str, body: &[u8]| {
        server.send("POST", path, &[("content-type", kind)], body)
    };
    let text = server.post("/predictions/intents", "Où est ma carte ?").ok();
    let latin = b"O\xf9 est ma carte ?";
    let path = "/predictions/intents";
    assert_eq!(send(path, "text/plain; charset=ISO-8859-1", latin).ok(), text);
    let wide: Vec<u8> = "Où est ma carte ?".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(send(path, "text/plain; charset=utf-16le", &wide).ok(), text);
    refused(&send(path, "text/plain", latin), 400, "name the charset");
    refused(&send(path, "text/plain; charset=klingon", b"a"), 415, "`klingon`");

    let expected = server.post("/embed", json!({"inputs": "Où"})).ok();
    let kind = "application/json; charset=iso-8859-1";
    assert_eq!(send("/embed", kind, b"{\"inputs\": \"O\xf9\"}").ok(), expected);
    refused(&send("/embed", "application/json; charset=x", b"{}"), 415, "`x`");
    let marked = ["\u{feff}".as_bytes(), json!({"inputs": "Où"}).to_string().as_bytes()].concat();
    assert_eq!(send("/embed", "application/json", &marked).ok(), expected);
}

#[test]
fn half_a_surrogate_pair_is_told() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    for (path, body) in [
        ("/embed", r#"{"inputs": "my \ud800 card"}"#),
        ("/v1/embeddings", r#"{"input": "my card \udc80"}"#),
        ("/v1/models/tiny:predict", r#"{"instances": ["\ud83d!"]}"#),
        // This body has no content type, and looks like JSON.
        ("/predictions/tiny", r#"{"data": "\ud83d!"}"#),
    ] {
        let reply = server.post(path, body);
        assert!(reply.code == 400 || reply.code == 422, "{path}: {}", reply.code);
        assert!(reply.text().contains("half of a UTF-16 pair"), "{path}: {}", reply.text());
    }
}

/// A classifier `org/intents` and an embedder `tiny`, each with aliases.
fn with_aliases() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let model = |name: &str, folder: &str, head| {
        let folder = dir.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        write_model(&folder, head);
        format!("{name}={}", folder.display())
    };
    let hub = model("org/intents", "folder", Head::Sequence(Pooling::Mean));
    let tiny = model("tiny", "embedder", Head::None);
    let server = Server::start(&[
        "--model",
        &tiny,
        "--model",
        &hub,
        "--alias",
        "other=org/intents",
        "--alias",
        "my/own=org/intents",
        "--alias",
        "text-embedding-3-small=tiny",
        "--alias",
        "org/e=tiny",
    ]);
    (server, dir)
}

/// One model under its names, through every protocol.
#[test]
fn names_of_the_hub_and_aliases() {
    let (server, _dir) = with_aliases();
    let text = TEXTS[0];
    let expected = server.post("/predict", json!({"inputs": text, "model": "org/intents"})).ok();
    for name in ["org/intents", "org%2Fintents", "org%2fintents", "other", "my/own", "my%2Fown"] {
        answers_as(&server, name, &expected);
        describes_itself_as(&server, name);
    }
    let vector = server.post("/embed", json!({"inputs": text})).ok();
    for name in ["tiny", "text-embedding-3-small", "org/e"] {
        let answer = server.post("/v1/embeddings", json!({"input": text, "model": name})).ok();
        close(&numbers(&answer["data"][0]["embedding"]), &numbers(&vector[0]), 1e-7);
    }
    let listed = server.get("/v1/models").ok();
    let listed: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    let all = ["tiny", "text-embedding-3-small", "org/e", "org/intents", "other", "my/own"];
    assert_eq!(listed, all);
    // The second part of a name that no model has is no action of the path.
    refused(&server.get("/v2/models/org/none"), 404, "");
    refused(&server.post("/models/org/none", "{}"), 404, "no model `org/none`");
    refused(&server.post("/predictions/org/none", "a"), 404, "no model `org/none`");
    refused(&server.get("/models/org/none"), 404, "no model `org/none`");
    refused(&server.post("/predict", json!({"inputs": text, "model": "intents"})), 404, "no model");
}

/// A name from a path as the field `model` takes it.
fn plain(name: &str) -> String {
    name.replace("%2F", "/").replace("%2f", "/")
}

/// Asks `org/intents` by this name; the answers have the labels and scores of `expected`.
fn answers_as(server: &Server, name: &str, expected: &Value) {
    let text = TEXTS[0];
    let best = expected[0]["label"].as_str().unwrap();
    let asks = json!({"inputs": text, "model": plain(name)});
    assert_eq!(&server.post("/predict", asks).ok(), expected, "{name}");
    assert_eq!(&server.post(&format!("/models/{name}"), json!({"inputs": text})).ok()[0], expected);
    for path in [format!("/predictions/{name}"), format!("/predictions/{name}/1.0")] {
        let answer = server.post(&path, text).ok();
        assert_eq!(answer[best], expected[0]["score"], "{path}");
    }
    let rows =
        server.post(&format!("/v1/models/{name}:predict"), json!({"instances": [text]})).ok();
    assert_eq!(rows["predictions"][0]["label"], best);
    let examples = json!({"examples": [{"text": text}]});
    let path = format!("/v1/models/{name}/versions/1:classify");
    assert_eq!(server.post(&path, examples).ok()["results"][0][0][0], best);
    let input = json!({"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [text]});
    for path in [format!("/v2/models/{name}/infer"), format!("/v2/models/{name}/versions/1/infer")]
    {
        let answer = server.post(&path, json!({"inputs": [input]})).ok();
        assert_eq!(answer["outputs"][1]["data"], json!([best]), "{path}");
        assert_eq!(answer["model_name"], "org/intents");
    }
}

/// What `org/intents` says about itself under this name.
fn describes_itself_as(server: &Server, name: &str) {
    assert_eq!(server.get(&format!("/v2/models/{name}/ready")).code, 200);
    assert_eq!(server.get(&format!("/v2/models/{name}")).ok()["name"], "org/intents");
    assert_eq!(
        server.get(&format!("/models/{name}?customized=false")).ok()[0]["modelName"],
        "org/intents"
    );
    let model = server.get(&format!("/v1/models/{name}")).ok();
    assert_eq!(model["id"], plain(name), "{name}");
    assert_eq!(model["model_version_status"][0]["state"], "AVAILABLE");
}

#[test]
fn names_and_aliases_that_cannot_be() {
    let failed = |args: &[&str]| -> String {
        let Output { status, stderr, .. } = command(args).output().unwrap();
        assert_eq!(status.code(), Some(2), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stderr).unwrap()
    };
    for name in ["a/b/c", "/a", "a/", "../a", "a b", ""] {
        let said = failed(&["--model", &format!("{name}=folder")]);
        assert!(said.contains("cannot be the name of a model"), "{name}: {said}");
    }
    for (alias, says) in [
        ("b", "ALIAS=NAME"),
        ("b=c", "no model is called `c`; there are a"),
        ("a=a", "the name `a` is taken"),
        ("b/c/d=a", "cannot be the name of a model"),
    ] {
        let said = failed(&["--model", "a=folder", "--alias", alias]);
        assert!(said.contains(says), "{alias}: {said}");
    }
    let twice = failed(&["--model", "a=folder", "--alias", "b=a", "--alias", "b=a"]);
    assert!(twice.contains("the name `b` is taken"), "{twice}");
}

#[test]
fn token_ids_are_told_once_and_can_be_refused() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--no-token-ids"]);
    for (path, body) in [
        ("/embed", json!({"inputs": [5, 6]})),
        ("/embed", json!({"inputs": [["a"], [5]]})),
        ("/embed_all", json!({"inputs": [[5]]})),
        ("/v1/embeddings", json!({"input": [5, 6]})),
        ("/v1/embeddings", json!({"input": ["a", [5, 6]]})),
        ("/", json!({"inputs": [5, 6]})),
    ] {
        let reply = server.post(path, &body);
        assert!(reply.code == 400 || reply.code == 422, "{path}: {}", reply.code);
        let says =
            if body["inputs"][0] == json!(["a"]) { "inputs[0][0]" } else { "--no-token-ids" };
        assert!(reply.text().contains(says), "{path}: {}", reply.text());
    }
    // Token ids to decode are no input of a model.
    let ids: Value = server.post("/tokenize", json!({"inputs": "my card"})).ok();
    let ids: Vec<&Value> = ids[0].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    assert_eq!(server.post("/decode", json!({"ids": ids})).ok(), json!(["my card"]));
    assert!(!server.stop().contains("a request has token ids"));

    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    for _ in 0..2 {
        server.post("/v1/embeddings", json!({"input": [5, 6]})).ok();
    }
    let said = server.stop();
    assert_eq!(said.matches("a request has token ids instead of texts").count(), 1, "{said}");
}
