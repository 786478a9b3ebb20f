//! Limits of size and time, and the metrics.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use gradus_models::Pooling;
use serde_json::json;

use crate::common::{Head, Server, read};

#[test]
fn bodies_have_limits() {
    let (server, _dir) =
        Server::tiny(&[("tiny", Head::None)], &["--max-body", "1", "--max-inputs", "3"]);
    let zip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let gzip = [("content-encoding", "gzip")];
    let plain = br#"{"inputs": "my card"}"#;
    let zipped = server.send("POST", "/embed", &gzip, &zip(plain));
    assert_eq!(zipped.ok(), server.send("POST", "/embed", &[], plain).ok());
    // A bomb: 64 KiB become 64 MiB of spaces.
    assert_eq!(server.send("POST", "/embed", &gzip, &zip(&vec![b' '; 64 << 20])).code, 413);
    assert_eq!(server.send("POST", "/embed", &gzip, plain).code, 422);
    assert_eq!(server.send("POST", "/embed", &[("content-encoding", "br")], plain).code, 415);
    assert_eq!(server.send("POST", "/embed", &[], &vec![b' '; 2 << 20]).code, 413);
    assert_eq!(server.post("/embed", json!({"inputs": vec!["a"; 4]})).code, 413);
    let nested = format!("{{\"inputs\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(server.post("/embed", nested).code, 422);
}

/// A text that is copied into many inputs must not become gigabytes.
#[test]
fn a_body_is_not_multiplied() {
    let heads = [("ranker", Head::Rank), ("intents", Head::Sequence(Pooling::Mean))];
    let (server, _dir) = Server::tiny(&heads, &[]);
    let (long, many) = ("a ".repeat(500_000), vec!["b"; 500]);
    let ranking = server.post("/rerank", json!({"query": long, "texts": many}));
    assert_eq!(
        (ranking.code, ranking.text().contains("`query`")),
        (413, true),
        "{}",
        ranking.text()
    );
    let cohere = server.post("/v1/rerank", json!({"query": long, "documents": many}));
    assert_eq!(cohere.code, 413, "{}", cohere.text());
    let context = json!({"context": {"text": long}, "examples": vec![json!({}); 500]});
    assert_eq!(server.post("/v1/models/intents:classify", context).code, 413);
    // A single text of megabytes is cut.
    let one = json!({"query": long, "texts": ["b"]});
    assert_eq!(server.post("/rerank", one).code, 200);
    for direction in ["Left", "Right"] {
        let one = json!({"model": "intents", "inputs": long, "truncation_direction": direction});
        assert_eq!(server.post("/predict", one).code, 200);
    }
    let whole = json!({"model": "intents", "inputs": long, "truncate": false});
    assert_eq!(server.post("/predict", whole).code, 413);
    assert_eq!(server.post("/tokenize", json!({"inputs": long})).code, 413);
}

#[test]
fn slow_clients_are_let_go() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--read-timeout", "0.3"]);
    let mut headers = server.connect();
    headers.write_all(b"POST /embed HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut body = server.connect();
    body.write_all(b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = headers.read_to_end(&mut rest);
    let slow = read(body);
    assert_eq!((slow.code, slow.header("connection")), (408, Some("close")));
    assert!(slow.json()["error"].as_str().unwrap().contains("--read-timeout"), "{}", slow.text());
    assert!(String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 408"), "{rest:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(server.post("/embed", json!({"inputs": "a"})).code, 200);
}

#[test]
fn a_deadline_in_the_past_is_a_timeout_in_every_shape() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    let now = [("x-request-timeout", "0")];
    let reply = server.send("POST", "/embed", &now, br#"{"inputs": "a"}"#);
    assert_eq!((reply.code, &reply.json()["error_type"]), (504, &json!("Backend")));
    let reply = server.send("POST", "/v1/embeddings", &now, br#"{"input": "a"}"#);
    assert_eq!(reply.json()["error"]["type"], "server_error");
    assert_eq!(server.send("POST", "/embed", &[("x-request-timeout", "soon")], b"{}").code, 422);
    // The header can ask for less time, not for more.
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--timeout", "0"]);
    let later = [("x-request-timeout", "60")];
    assert_eq!(server.send("POST", "/embed", &later, br#"{"inputs": "a"}"#).code, 504);
}

/// `--no-truncate` is the default of every protocol.
#[test]
fn texts_are_refused_instead_of_cut_where_the_server_says_so() {
    let heads =
        [("tiny", Head::None), ("intents", Head::Sequence(Pooling::Mean)), ("ranker", Head::Rank)];
    let (cuts, _dir) = Server::tiny(&heads, &[]);
    let (refuses, _dir) = Server::tiny(&heads, &["--no-truncate"]);
    let long = "card ".repeat(100);
    let tensor = json!({"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [long]});
    for (path, body) in [
        ("/embed", json!({"inputs": long})),
        ("/embed_all", json!({"inputs": long})),
        ("/predict", json!({"inputs": long, "model": "intents"})),
        ("/rerank", json!({"query": "a", "texts": [long]})),
        ("/similarity", json!({"inputs": {"source_sentence": "a", "sentences": [long]}})),
        ("/v1/embeddings", json!({"input": long})),
        ("/v1/rerank", json!({"query": "a", "documents": [long]})),
        ("/models/intents", json!({"inputs": long})),
        ("/predictions/intents", json!({"data": long})),
        ("/v1/models/intents:predict", json!({"instances": [long]})),
        ("/v1/models/intents:classify", json!({"examples": [{"text": long}]})),
        ("/v2/models/intents/infer", json!({"inputs": [tensor]})),
        ("/attention", json!({"inputs": long, "layer": 0, "head": 0})),
    ] {
        assert_eq!(cuts.post(path, &body).code, 200, "{path}");
        let refused = refuses.post(path, &body);
        assert!([400, 413].contains(&refused.code), "{path}: {}", refused.text());
        assert!(refused.text().contains("tokens"), "{path}: {}", refused.text());
    }
}

#[test]
fn the_metrics_count() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    for _ in 0..3 {
        server.post("/embed", json!({"inputs": ["a", "my card"]})).ok();
    }
    server.post("/embed", json!({"inputs": 7}));
    let metrics = server.get("/metrics");
    let text = metrics.text();
    for line in [
        r#"gradus_requests_total{code="200",protocol="tei",route="/embed"} 3"#,
        r#"gradus_requests_total{code="422",protocol="tei",route="/embed"} 1"#,
        r#"gradus_inputs_total{model="tiny"} 6"#,
        r#"gradus_queue{model="tiny",version="1",what="requests"} 0"#,
        r#"gradus_phase_seconds_count{model="tiny",phase="queue"} 3"#,
        r#"te_request_count{method="/embed"} 4"#,
        r#"te_request_failure{err="Invalid"} 1"#,
        "te_queue_size 0",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}
