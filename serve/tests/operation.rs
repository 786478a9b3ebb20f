//! What operators rely on: management, keys, limits, metrics, shutting down.

mod common;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Head, Server, TEXTS, command, numbers, read, try_read, write_model};
use gradus_models::Pooling;
use serde_json::json;

/// A model store with two classifiers, and a server on it.
fn with_store(args: &[&str]) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    for name in ["first", "second"] {
        std::fs::create_dir_all(store.join(name)).unwrap();
        write_model(&store.join(name), Head::Sequence(Pooling::Mean));
    }
    std::fs::create_dir_all(store.join("versions")).unwrap();
    for version in ["3", "7"] {
        let folder = store.join("versions").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        write_model(&folder, Head::None);
    }
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    write_model(&dir.path().join("outside"), Head::None);
    let store = store.to_str().unwrap().to_string();
    let args: Vec<&str> =
        ["--model-store", &store].into_iter().chain(args.iter().copied()).collect();
    (Server::start(&args), dir)
}

#[test]
fn models_are_registered_described_and_unregistered() {
    let (server, dir) = with_store(&[]);
    assert_eq!(server.get("/ping").code, 503);
    let registered =
        server.send("POST", "/models?url=first&model_name=m&initial_workers=2", &[], b"");
    assert_eq!(
        registered.ok()["status"],
        "Model \"m\" Version: 1.0 registered with 2 initial workers"
    );
    assert_eq!(server.get("/ping").ok(), json!({"status": "Healthy"}));
    assert_eq!(server.send("POST", "/models?url=second&model_name=m", &[], b"").code, 200);
    assert_eq!(server.send("POST", "/models?url=versions", &[], b"").code, 200);
    let listed = server.get("/models").ok();
    assert_eq!(listed["models"][0], json!({"modelName": "m", "modelUrl": "first"}));
    assert_eq!(listed["models"][1]["modelName"], "versions");
    assert_eq!(server.get("/models?limit=1").ok()["nextPageToken"], "1");

    let all = server.get("/models/m/all").ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(all[0]["workers"].as_array().unwrap().len(), 2);
    assert_eq!(all[0]["jobQueueStatus"]["pendingRequests"], 0);
    assert_eq!(server.get("/models/m").ok()[0]["modelVersion"], "1.0");
    assert_eq!(server.send("PUT", "/models/m/2/set-default", &[], b"").code, 200);
    assert_eq!(server.get("/models/m").ok()[0]["modelVersion"], "2.0");
    assert_eq!(server.send("PUT", "/models/m?min_worker=3", &[], b"").code, 202);
    assert_eq!(server.send("PUT", "/models/m?min_worker=3&synchronous=true", &[], b"").code, 200);
    assert_eq!(server.get("/models/m").ok()[0]["minWorkers"], 3);
    assert_eq!(server.post("/predictions/m/1", TEXTS[0]).code, 200);

    // A numbered folder is a version, as TensorFlow Serving has it.
    let versions = server.get("/v1/models/versions").ok();
    assert_eq!(versions["model_version_status"][0]["version"], "7");
    assert_eq!(versions["object"], "model");
    assert_eq!(
        server.post("/v1/models/versions/versions/3:predict", json!({"instances": ["a"]})).code,
        200
    );

    let default = server.send("DELETE", "/models/m/2", &[], b"");
    assert_eq!((default.code, &default.json()["type"]), (409, &json!("ConflictStatusException")));
    assert_eq!(server.send("DELETE", "/models/m/1", &[], b"").code, 200);
    let gone = server.post("/predictions/m/1", TEXTS[0]);
    assert_eq!(gone.json()["type"], "ModelVersionNotFoundException");
    assert_eq!(server.send("DELETE", "/models/m", &[], b"").code, 200);
    assert_eq!(server.post("/predictions/m", TEXTS[0]).json()["type"], "ModelNotFoundException");

    // Nothing outside the store.
    std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("store/link")).unwrap();
    for url in ["../outside", "link", "/etc", "first/../../outside", "none", "", ".", "%00"] {
        let refused = server.send("POST", &format!("/models?url={url}&model_name=x"), &[], b"");
        assert_eq!(refused.code, 400, "{url}: {}", refused.text());
        assert_eq!(refused.json()["type"], "BadRequestException");
    }
}

#[test]
fn a_broken_folder_leaves_the_old_version_serving() {
    let (server, dir) = with_store(&[]);
    let load =
        |name: &str| server.send("POST", &format!("/v2/repository/models/{name}/load"), &[], b"");
    assert_eq!(load("first").code, 200);
    let index = server.send("POST", "/v2/repository/index", &[], b"").ok();
    assert_eq!(index[0], json!({"name": "first", "version": "1", "state": "READY", "reason": ""}));
    let before = server.post("/predictions/first", TEXTS[0]).ok();
    let weights = dir.path().join("store/first/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    // Written beside and renamed, as `train` does it: the old file stays whole.
    let aside = dir.path().join("aside");
    std::fs::write(&aside, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::rename(&aside, &weights).unwrap();
    let broken = load("first");
    assert_eq!(broken.code, 400, "{}", broken.text());
    assert!(broken.json()["error"].as_str().unwrap().contains("first"));
    assert_eq!(server.post("/predictions/first", TEXTS[0]).ok(), before);
    assert_eq!(server.send("POST", "/v2/repository/models/first/unload", &[], b"").code, 200);
    assert_eq!(server.get("/v2/models/first/ready").code, 404);
    assert_eq!(load("none").code, 404);
}

/// Where folders lie on the machine is told to nobody, only to the log.
#[test]
fn no_answer_names_a_folder_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (store, own) = (dir.path().join("store"), dir.path().join("own"));
    for folder in [&store.join("a"), &own.join("3")] {
        std::fs::create_dir_all(folder).unwrap();
        write_model(folder, Head::Sequence(Pooling::Mean));
    }
    let model = format!("own={}", own.display());
    let server = Server::start(&["--model", &model, "--model-store", store.to_str().unwrap()]);
    assert_eq!(server.post("/models?url=a&model_name=b", "").code, 200);
    assert_eq!(server.get("/info").ok()["model_id"], "own");
    let listed = server.get("/models").ok();
    assert_eq!(listed["models"][0], json!({"modelName": "own", "modelUrl": "own"}));
    assert_eq!(listed["models"][1], json!({"modelName": "b", "modelUrl": "a"}));
    assert_eq!(server.get("/models/own/all").ok()[0]["modelUrl"], "own");
    assert_eq!(server.get("/models/b").ok()[0]["modelUrl"], "a");
    for folder in [store.join("a"), own.join("3")] {
        std::fs::write(folder.join("config.json"), "{").unwrap();
    }
    let secret = dir.path().to_str().unwrap();
    for name in ["own", "b"] {
        let broken = server.post(&format!("/v2/repository/models/{name}/load"), "");
        assert_eq!(broken.code, 400, "{}", broken.text());
        assert!(broken.text().contains("config.json"), "{}", broken.text());
        assert!(!broken.text().contains(secret), "{}", broken.text());
    }
    // What stands beside a folder that is gone is nobody's affair either.
    std::fs::remove_dir_all(&own).unwrap();
    let gone = server.post("/v2/repository/models/own/load", "");
    assert!(gone.code == 400 && gone.text().contains("is gone"), "{}", gone.text());
    for path in ["/metrics", "/describe", "/v1/models", "/v2/models/own", "/v2/models/own/config"] {
        assert!(!server.get(path).text().contains(secret), "{path}");
    }
    assert!(server.stop().contains(secret));
}

#[test]
fn a_model_is_replaced_without_a_failed_request() {
    let (server, _dir) = with_store(&[]);
    let load = || server.send("POST", "/v2/repository/models/first/load", &[], b"").ok();
    load();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(server.post("/predictions/first", TEXTS[0]).code, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..10 {
            load();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 0);
}

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
    // Anybody may look at the page; the same path asks a model.
    assert_eq!((server.get("/").code, server.post("/", "{}").code), (200, 401));
    // Without a key, models are not managed where others reach the server.
    let output = command(&["--model-store", "/tmp", "--host", "0.0.0.0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--api-key"));
    // And nowhere without a store.
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
    // A bomb: 64 MiB of spaces in 64 KiB.
    assert_eq!(server.send("POST", "/embed", &gzip, &zip(&vec![b' '; 64 << 20])).code, 413);
    assert_eq!(server.send("POST", "/embed", &gzip, plain).code, 422);
    assert_eq!(server.send("POST", "/embed", &[("content-encoding", "br")], plain).code, 415);
    assert_eq!(server.send("POST", "/embed", &[], &vec![b' '; 2 << 20]).code, 413);
    assert_eq!(server.post("/embed", json!({"inputs": vec!["a"; 4]})).code, 413);
    let nested = format!("{{\"inputs\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(server.post("/embed", nested).code, 422);
}

/// A text that stands in many inputs must not become gigabytes.
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
    // A text of megabytes by itself is cut.
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
    // The header asks for less, never for more.
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--timeout", "0"]);
    let later = [("x-request-timeout", "60")];
    assert_eq!(server.send("POST", "/embed", &later, br#"{"inputs": "a"}"#).code, 504);
}

/// Where a request does not say, `--no-truncate` does, at every door.
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

#[test]
fn asked_to_stop_it_answers_what_is_under_way() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--max-batch-tokens", "16"]);
    let many: Vec<&str> = (0..2000).map(|i| TEXTS[i % TEXTS.len()]).collect();
    let mut streams: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let body = json!({"inputs": many}).to_string();
    for stream in &mut streams {
        let head =
            format!("POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
    }
    while !server.get("/metrics").text().contains("gradus_requests_in_flight 5") {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.terminate();
    for stream in streams {
        let rows = read(stream).ok();
        assert_eq!(rows.as_array().unwrap().len(), many.len());
        assert_eq!(numbers(&rows[0]).len(), 32);
    }
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn asked_to_stop_under_load_it_loses_no_request() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    let body = json!({"inputs": TEXTS}).to_string();
    let head = format!("POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), body.as_bytes()].concat();
    let (stopping, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stopping.load(Ordering::SeqCst) {
                    let Ok(mut stream) = std::net::TcpStream::connect(&server.address) else {
                        break;
                    };
                    let sent = stream.write_all(&request).is_ok();
                    // Sent before the signal: it must be answered, and in full.
                    let before = sent && !stopping.load(Ordering::SeqCst);
                    match try_read(stream) {
                        Some(reply) => {
                            assert_eq!(reply.ok().as_array().unwrap().len(), TEXTS.len());
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        None => assert!(!before, "a request had no answer"),
                    }
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 200 {
            std::thread::sleep(Duration::from_millis(1));
        }
        stopping.store(true, Ordering::SeqCst);
        server.terminate();
    });
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn who_hangs_up_frees_the_queue_and_who_is_too_many_is_told() {
    let args = ["--max-batch-tokens", "16", "--max-queue", "2"];
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &args);
    let body = json!({"inputs": vec![TEXTS[2]; 2000]}).to_string();
    let request = |stream: &mut std::net::TcpStream| {
        let head =
            format!("POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
    };
    let waiting = |count: usize| {
        let line = format!("te_queue_size {count}\n");
        while !server.get("/metrics").text().contains(&line) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let mut streams: Vec<_> = (0..2).map(|_| server.connect()).collect();
    streams.iter_mut().for_each(request);
    waiting(2);
    let refused = server.post("/embed", json!({"inputs": "a"}));
    assert_eq!((refused.code, &refused.json()["error_type"]), (429, &json!("Overloaded")));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(server.get("/health").code, 200);
    drop(streams);
    waiting(0);
    assert_eq!(server.post("/embed", json!({"inputs": "a"})).code, 200);
}

#[test]
fn the_document_names_only_what_is_there() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    let document = server.get("/openapi.json").ok();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled =
            path.replace("{model}", "tiny").replace("{version}", "1").replace("{label}", "stable");
        for (method, operation) in methods.as_object().unwrap() {
            let reply = server.send(&method.to_uppercase(), &filled, &[], b"");
            let known = operation["responses"].as_object().unwrap();
            assert!(known.contains_key(&reply.code.to_string()), "{method} {path}: {reply:?}");
            assert!(![404, 405, 500].contains(&reply.code), "{method} {path}: {reply:?}");
            asked += 1;
        }
    }
    assert!(asked > 50);
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
        // No client could send them.
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

/// transformers has no class for a classifier on the mean of the tokens, so `train` calls it a
/// BertModel.
#[test]
fn a_classifier_on_the_mean_of_the_tokens_is_served_as_one() {
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path(), Head::Sequence(Pooling::Mean));
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["architectures"] = json!(["BertModel"]);
    config["problem_type"] = json!("single_label_classification");
    std::fs::write(&path, config.to_string()).unwrap();
    let server = Server::start(&["--model", &format!("m={}", dir.path().display())]);
    let labels = server.post("/predict", json!({"inputs": "my card"})).ok();
    assert_eq!(labels.as_array().unwrap().len(), 3);
}
