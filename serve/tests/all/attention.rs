//! What the page at `/` needs: the list of models, attention, and its own files.

use crate::common::{Head, Server, TEXTS, numbers, shared};
use gradus_models::Pooling;
use serde_json::{Value, json};

/// All rows of an answer.
fn rows(answer: &Value) -> Vec<Vec<f64>> {
    let each = |v: &Value| v.as_array().unwrap().clone();
    let heads = answer["attention"].as_array().unwrap().iter().flat_map(each);
    heads.flat_map(|head| each(&head)).map(|row| numbers(&row)).collect()
}

#[test]
fn every_model_shows_its_attention() {
    let heads = [
        ("words", Head::None),
        ("intents", Head::Sequence(Pooling::Mean)),
        ("blanks", Head::Masked),
        ("names", Head::Tokens),
    ];
    let (server, _dir) = Server::tiny(&heads, &[]);
    let described = server.get("/describe").ok();
    let tasks: Vec<&str> = described["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["task"].as_str().unwrap())
        .collect();
    let expected =
        ["feature-extraction", "text-classification", "fill-mask", "token-classification"];
    assert_eq!(tasks, expected);
    assert_eq!(described["models"][2]["mask"], "[MASK]");
    for (name, _) in heads {
        // A text without a mask is fine here.
        let all = server.post("/attention", json!({"model": name, "inputs": TEXTS[0]})).ok();
        let n = all["tokens"].as_array().unwrap().len();
        assert_eq!((&all["layers"], &all["heads"]), (&json!([0, 1]), &json!([0, 1])));
        let found = rows(&all);
        assert_eq!(found.len(), 2 * 2 * n);
        for row in &found {
            assert_eq!(row.len(), n);
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5 * n as f64, "{row:?}");
            assert!(row.iter().all(|p| (0.0..=1.0).contains(p)));
        }
        let one = json!({"model": name, "inputs": TEXTS[0], "layer": 1, "head": 0});
        let one = server.post("/attention", one).ok();
        assert_eq!((&one["layers"], &one["heads"]), (&json!([1]), &json!([0])));
        assert_eq!(one["attention"][0][0], all["attention"][1][0]);
        assert_eq!(one["attention"][0].as_array().unwrap().len(), 1);
    }
}

#[test]
fn tokens_have_their_places() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::Sequence(Pooling::Mean))], &[]);
    let text = "ü my card";
    let answer = server.post("/attention", json!({"inputs": text})).ok();
    let tokens = answer["tokens"].as_array().unwrap();
    assert_eq!(tokens[0]["special"], true);
    assert_eq!(tokens[0]["start"], Value::Null);
    let card = tokens.iter().find(|t| t["text"] == "card").unwrap();
    assert_eq!((&card["start"], &card["stop"]), (&json!(5), &json!(9)));
    let pair = server.post("/attention", json!({"inputs": ["hi", "my card"]})).ok();
    let tokens = pair["tokens"].as_array().unwrap();
    let card = tokens.iter().find(|t| t["text"] == "card").unwrap();
    assert_eq!(
        (&card["start"], &card["stop"], &card["segment"]),
        (&json!(3), &json!(7), &json!(1))
    );
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    for (body, code, part) in [
        (json!({}), 422, "`inputs` is missing"),
        (json!({"inputs": ""}), 400, "empty"),
        (json!({"inputs": 7}), 422, "a text, or a pair"),
        (json!({"inputs": ["a", "b", "c"]}), 422, "a text, or a pair"),
        (json!({"inputs": ["a", 1]}), 422, "inputs[1]"),
        (json!({"inputs": "a", "layer": 2}), 422, "layers 0 to 1"),
        (json!({"inputs": "a", "head": 9}), 422, "heads 0 to 1"),
        (json!({"inputs": "a", "layer": -1}), 422, "layer"),
        (json!({"inputs": "a", "model": "none"}), 404, "none"),
        (json!({"inputs": "a ".repeat(500), "truncate": false}), 413, "at most 64"),
    ] {
        let reply = server.post("/attention", &body);
        assert_eq!(reply.code, code, "{body}: {reply:?}");
        let said = reply.json()["error"].as_str().unwrap().to_string();
        assert!(said.contains(part), "{body}: {said}");
    }
    let cut = server.post("/attention", json!({"inputs": "a ".repeat(500)})).ok();
    assert_eq!((&cut["truncated"], cut["tokens"].as_array().unwrap().len()), (&json!(true), 64));
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains(r#"route="/attention"} 1"#));
}

/// The attention of 6 layers with 12 heads over 256 tokens would have 4.7 million numbers.
#[test]
fn a_long_text_is_shown_in_parts() {
    let Some(shared) = shared() else { return };
    let model = format!("minilm={}", shared.join("models/minilm").display());
    let server = Server::start(&["--model", &model]);
    let text = "my card ".repeat(240);
    let ask = |more: Value| {
        let mut body = json!({"inputs": text});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/attention", body)
    };
    let refused = ask(json!({}));
    assert_eq!(refused.code, 413);
    assert!(refused.text().contains("ask for a `layer`"));
    // The model takes 256 tokens; the rest is cut.
    assert_eq!(rows(&ask(json!({"layer": 3})).ok()).len(), 12 * 256);
    assert_eq!(rows(&ask(json!({"layer": 5, "head": 11})).ok()).len(), 256);
}

#[test]
fn the_page_brings_all_it_needs() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--api-key", "k"]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/load.js", "text/javascript"),
        ("/request.js", "text/javascript"),
        ("/attention.js", "text/javascript"),
        ("/docs", "text/html"),
        ("/docs.css", "text/css"),
        ("/docs.js", "text/javascript"),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.code, 200);
        assert!(reply.header("content-type").unwrap().starts_with(kind));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        // The page loads nothing from elsewhere, and has nothing that its policy forbids.
        let text = reply.text();
        for bad in ["http://", "https://", "innerHTML", "eval(", "<style", " style=", " onclick=\""]
        {
            let found = text.matches(bad).count();
            let namespace = usize::from(bad == "http://" && path == "/load.js");
            assert_eq!(found, namespace, "{bad} in {path}");
        }
    }
    for path in ["/describe", "/metrics"] {
        assert_eq!(server.get(path).code, 401);
    }
    assert_eq!(server.post("/attention", json!({"inputs": "a"})).code, 401);
    // Hugging Face's `POST /` has the same path.
    assert_eq!(server.post("/", json!({"inputs": "a"})).code, 401);
}
