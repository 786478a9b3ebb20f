//! Malformed requests to every protocol. Each gets the status code and the error shape of its
//! protocol. None gets a 5xx, except for a deadline, and the server goes on.

mod bodies;
mod http;
mod kserve;
mod shapes;
mod tei;
mod tfserving;
mod torchserve;

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::common::{Head, Reply, Server, TEXTS, try_read, write_model};
use gradus_models::Pooling;
use serde_json::json;
use shapes::Shape;

/// Most inputs of a request, and most MiB of its body.
const MAX_INPUTS: usize = 8;
const MAX_BODY_MIB: usize = 1;

/// A bad request and its expected answer.
struct Row {
    /// The request, for the message of a failed test.
    what: String,
    /// The bytes to send.
    request: Vec<u8>,
    /// Whether the client goes before its request is complete.
    cut: bool,
    /// The status code.
    code: u16,
    /// The error shape.
    shape: Shape,
    /// A part of the error's message, which must name what is wrong.
    says: &'static str,
}

impl Row {
    fn new(
        shape: Shape,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
        code: u16,
        says: &'static str,
    ) -> Row {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let shown: String = String::from_utf8_lossy(body).chars().take(160).collect();
        let what = format!("{method} {path} {headers:?} {shown}");
        Row { what, request: [head.as_bytes(), body].concat(), cut: false, code, shape, says }
    }

    /// A request of these bytes.
    fn raw(shape: Shape, request: impl Into<Vec<u8>>, code: u16, says: &'static str) -> Row {
        let request = request.into();
        let what = String::from_utf8_lossy(&request).chars().take(200).collect();
        Row { what, request, cut: false, code, shape, says }
    }

    /// The same from a client that goes when it has sent this.
    fn cut(mut self) -> Row {
        self.cut = true;
        self
    }

    fn send(&self, server: &Server) -> Option<Reply> {
        let mut stream = server.connect();
        // The server may answer, and close, before it has read a request that it refuses.
        let _ = stream.write_all(&self.request);
        if self.cut {
            let _ = stream.shutdown(Shutdown::Write);
        }
        try_read(stream)
    }

    /// What is wrong with the answer.
    fn fault(&self, reply: &Reply) -> Option<String> {
        if reply.code != self.code {
            return Some(format!("{} instead of {}", reply.code, self.code));
        }
        match (self.shape)(reply) {
            Err(fault) => Some(fault),
            Ok(message) if !message.contains(self.says) => {
                Some(format!("the message does not say `{}`", self.says))
            }
            Ok(_) => None,
        }
    }
}

/// Rows with one shape and method; each has a path, a body, a code, and a part of the message.
fn table(shape: Shape, method: &str, rows: &[(&str, &str, u16, &'static str)]) -> Vec<Row> {
    rows.iter()
        .map(|&(path, body, code, says)| {
            Row::new(shape, (method, path), &[], body.as_bytes(), code, says)
        })
        .collect()
}

/// A server with a model for every task, and a store whose models are mostly broken.
fn server(dir: &std::path::Path) -> Server {
    let mut args: Vec<String> = Vec::new();
    for (name, head) in [
        ("tiny", Head::None),
        ("intents", Head::Sequence(Pooling::Mean)),
        ("masks", Head::Masked),
        ("words", Head::Tokens),
        ("ranker", Head::Rank),
    ] {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).unwrap();
        write_model(&folder, head);
        args.extend(["--model".into(), format!("{name}={}", folder.display())]);
    }
    let store = dir.join("store");
    for name in ["whole", "garbage", "half", "bare", "empty"] {
        std::fs::create_dir_all(store.join(name)).unwrap();
    }
    for name in ["whole", "garbage", "half", "bare"] {
        write_model(&store.join(name), Head::None);
    }
    std::fs::write(store.join("file"), "a file").unwrap();
    std::fs::write(store.join("garbage/config.json"), "{").unwrap();
    let weights = store.join("half/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::remove_file(store.join("bare/tokenizer.json")).unwrap();
    std::os::unix::fs::symlink(dir.join("tiny"), store.join("link")).unwrap();
    let (inputs, body) = (MAX_INPUTS.to_string(), MAX_BODY_MIB.to_string());
    let store = store.to_str().unwrap();
    let mut all: Vec<&str> = args.iter().map(String::as_str).collect();
    all.extend(["--model-store", store, "--max-inputs", &inputs, "--max-body", &body]);
    Server::start(&all)
}

#[test]
fn bad_requests_are_refused_in_the_protocols_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let answers = || {
        let embedded = server.post("/embed", json!({"inputs": TEXTS})).ok();
        (embedded, server.post("/predictions/intents", TEXTS[0]).ok())
    };
    let before = answers();
    let rows: Vec<Row> = [
        bodies::rows(),
        tei::rows(),
        torchserve::rows(),
        tfserving::rows(),
        kserve::rows(),
        http::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut faults = Vec::new();
    for row in &rows {
        match row.send(&server) {
            Some(reply) => {
                if let Some(fault) = row.fault(&reply) {
                    let body = String::from_utf8_lossy(&reply.body);
                    faults.push(format!("{}\n    {fault}: {} {body}", row.what, reply.code));
                }
            }
            // A client that goes in the middle of a request may be answered, or not.
            None if row.cut => {}
            None => faults.push(format!("{}\n    no answer", row.what)),
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.join("\n"));
    eprintln!("{} bad requests", rows.len());
    assert!(rows.len() >= 150, "{}", rows.len());
    assert_eq!(answers(), before);
    assert_eq!(server.get("/v2/models/whole/ready").code, 404);
    // Of the 5xx codes, only those of deadlines may occur.
    for line in server.get("/metrics").text().lines() {
        let server_error = line.contains("code=\"5") && !line.contains("code=\"504\"");
        assert!(!line.starts_with("gradus_requests_total") || !server_error, "{line}");
    }
    let said = server.stop();
    assert!(!said.contains("panicked"), "{said}");
}

/// Clients that hang up in the middle of a body leave nothing behind.
#[test]
fn requests_that_are_never_finished_leave_nothing_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    for length in [1, 20, 300] {
        let mut stream = server.connect();
        let head = format!("POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        drop(stream);
    }
    let mut stream = server.connect();
    stream.write_all(b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: x\r\ntransfer-enc").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    let start = std::time::Instant::now();
    while !server.get("/metrics").text().contains("gradus_requests_in_flight 1\n") {
        assert!(start.elapsed().as_secs() < 20, "{}", server.get("/metrics").text());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(!server.stop().contains("panicked"));
}
