//! `POST /trace`: off unless asked for; a page with an origin of its own.

use crate::common::{Head, Server};
use gradus_models::Pooling;
use serde_json::json;

#[test]
fn a_trace_is_a_page() {
    let heads = [("words", Head::None), ("intents", Head::Sequence(Pooling::Mean))];
    let (server, _dir) = Server::tiny(&heads, &["--trace"]);
    assert_eq!(server.get("/describe").ok()["traces"], true);
    let hostile = "</script><script>alert(1)</script> my card";
    for model in ["words", "intents"] {
        let page = server.post("/trace", json!({"model": model, "inputs": hostile}));
        assert_eq!(page.code, 200, "{}", page.text());
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox allow-scripts; default-src 'none'"), "{policy}");
        assert!(page.text().starts_with("<!doctype html>") && !page.text().contains("alert(1)"));
    }
    let unknown = json!({"model": "intents", "inputs": "my card", "target": "no such"});
    let unknown = server.post("/trace", unknown);
    assert_eq!(unknown.code, 422, "{}", unknown.text());
    assert!(unknown.text().contains("no label"), "{}", unknown.text());
    let no_classifier =
        server.post("/trace", json!({"model": "words", "inputs": "a", "target": "b"}));
    assert!(no_classifier.text().contains("label of a classifier"), "{}", no_classifier.text());
    let ids = server.post("/trace", json!({"inputs": [1, 2, 3]}));
    assert_eq!(ids.code, 422, "{}", ids.text());
}

#[test]
fn it_is_off_unless_asked_for() {
    let (server, _dir) = Server::tiny(&[("words", Head::None)], &[]);
    assert_eq!(server.get("/describe").ok()["traces"], false);
    let refused = server.post("/trace", json!({"inputs": "my card"}));
    assert_eq!(refused.code, 403, "{}", refused.text());
    assert!(refused.text().contains("--trace"), "{}", refused.text());
}
