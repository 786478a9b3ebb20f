//! Stopping, and clients that hang up.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::common::{Head, Server, TEXTS, numbers, read, try_read};

#[test]
fn asked_to_stop_it_answers_what_is_under_way() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &["--max-batch-tokens", "16"]);
    let many: Vec<&str> = (0..500).map(|i| TEXTS[i % TEXTS.len()]).collect();
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
                    // A request that was sent before the signal must get its whole answer.
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
