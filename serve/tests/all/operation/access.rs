//! Keys, ids, the OpenAPI document, flags.

use super::with_store;
use crate::common::{Head, Server, command};

#[test]
fn keys_are_asked_for_and_management_wants_one() {
    let (server, _dir) = with_store(&["--api-key", "one", "--api-key", "two"]);
    for path in ["/ping", "/v2/health/live"] {
        assert_ne!(server.get(path).code, 401, "{path}");
    }
    for (headers, code) in [
        (vec![], 401),
        (vec![("authorization", "Bearer three")], 401),
        (vec![("authorization", "Basic one")], 401),
        (vec![("authorization", "Bearer one")], 200),
        (vec![("authorization", "bearer two")], 200),
        (vec![("x-api-key", "two")], 200),
    ] {
        let reply = server.send("POST", "/models?url=first", &headers, b"");
        assert_eq!(reply.code, code, "{headers:?}");
        if code == 401 {
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            assert_eq!(reply.json()["type"], "InvalidKeyException");
        }
    }
    let openai = server.post("/v1/embeddings", "{}");
    assert_eq!(openai.json()["error"]["code"], "invalid_api_key");
    // Anybody may see the page; a POST to the same path asks a model.
    assert_eq!((server.get("/").code, server.post("/", "{}").code), (200, 401));
    // Without a key, there is no management on an address that others reach.
    let output = command(&["--model-store", "/tmp", "--host", "0.0.0.0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--api-key"));
    // Without a store, there is no management at all.
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    assert_eq!(server.send("DELETE", "/models/tiny", &[], b"").code, 403);
    assert_eq!(server.send("POST", "/v2/repository/models/tiny/unload", &[], b"").code, 403);
}

#[test]
fn browsers_may_send_their_key() {
    let args = ["--api-key", "k", "--cors-origin", "http://page"];
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &args);
    let asks = [("origin", "http://page"), ("access-control-request-method", "POST")];
    let preflight = server.send("OPTIONS", "/embed", &asks, b"");
    assert_eq!(preflight.code, 204);
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Authorization"));
    let headers = [("origin", "http://page"), ("authorization", "Bearer k")];
    let reply = server.send("POST", "/embed", &headers, br#"{"inputs": "a"}"#);
    assert_eq!(
        (reply.code, reply.header("access-control-allow-origin")),
        (200, Some("http://page"))
    );
}

#[test]
fn ids_and_traces_are_passed_on() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let reply =
        server.send("GET", "/info", &[("x-request-id", "abc"), ("traceparent", trace)], b"");
    assert_eq!(reply.header("x-request-id"), Some("abc"));
    let passed = reply.header("traceparent").unwrap();
    assert!(
        passed.starts_with(&trace[..36]) && passed.ends_with("-01") && passed != trace,
        "{passed}"
    );
    let reply =
        server.send("GET", "/info", &[("traceparent", "00-zz"), ("x-request-id", "a b")], b"");
    assert_eq!(reply.header("traceparent"), None);
    assert_eq!(reply.header("x-request-id").unwrap().len(), 16);
}

#[test]
fn the_document_names_only_what_is_there() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--alias", "org/tiny=tiny"]);
    let document = server.get("/openapi.json").ok();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // Hugging Face's name of two parts, on a path where TorchServe has a version.
            let (model, version) = match (method.as_str(), path.as_str()) {
                ("post", "/models/{model}/{version}") => ("org", "tiny"),
                _ => ("tiny", "1"),
            };
            let filled = path.replace("{model}", model).replace("{version}", version);
            let filled = filled.replace("{label}", "stable");
            let reply = server.send(&method.to_uppercase(), &filled, &[], b"");
            let known = operation["responses"].as_object().unwrap();
            assert!(known.contains_key(&reply.code.to_string()), "{method} {path}: {reply:?}");
            assert!(![404, 405, 500].contains(&reply.code), "{method} {path}: {reply:?}");
            asked += 1;
        }
    }
    assert!(asked > 50);
    assert!(document["paths"]["/models/{model}/{version}"]["post"].is_object());
    assert!(server.get("/docs").text().contains("/v1/embeddings"));
}

#[test]
fn usage_errors_are_told() {
    for (args, part) in [
        (vec![], "--model"),
        (vec!["--model", "a=/none", "--model", "a=/none"], "`a`"),
        (vec!["--model", "x", "--host", "example"], "--host"),
        (vec!["--model", "x", "--max-queue", "0"], "--max-queue"),
        (vec!["--model", "x", "--timeout=-1"], "--timeout"),
        // No client could send these keys.
        (vec!["--model", "x", "--api-key", "schlüssel"], "--api-key"),
        (vec!["--model", "x", "--api-key", " k"], "--api-key"),
        (vec!["--model", "x", "--api-key", ""], "--api-key is empty"),
        (vec!["--model-store", "/none/at/all"], "--model-store"),
    ] {
        let output = command(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let output = command(&["--model", "/none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
