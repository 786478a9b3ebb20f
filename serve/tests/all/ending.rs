//! How a server ends, and what its clients learn.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{Head, Server, nohup, read, without_nohup};

/// Sends a part of a request, which is then under way until the server ends.
fn half_sent(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").unwrap();
    while !server.get("/metrics").text().contains("gradus_requests_in_flight 2") {
        std::thread::sleep(Duration::from_millis(1));
    }
    stream
}

/// Waits until the server takes no more connections.
fn stopping(server: &Server) {
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn told_to_ask_another(stream: TcpStream) {
    let reply = read(stream);
    assert_eq!((reply.code, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
    assert_eq!(reply.json()["error_type"], "Unhealthy");
}

#[test]
fn what_is_not_done_when_the_time_is_over_is_answered_503() {
    let (server, _dir) =
        Server::tiny(&[("tiny", Head::None)], &["--drain", "0.2", "--read-timeout", "600"]);
    let stream = half_sent(&server);
    server.terminate();
    told_to_ask_another(stream);
    assert_eq!(server.wait(), Some(1));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (server, _dir) =
        Server::tiny(&[("tiny", Head::None)], &["--drain", "6000", "--read-timeout", "6000"]);
    let stream = half_sent(&server);
    server.terminate();
    stopping(&server);
    server.terminate();
    told_to_ask_another(stream);
    assert_eq!(server.wait(), Some(1));
}

#[test]
fn idle_connections_hold_nothing_up() {
    let (server, _dir) =
        Server::tiny(&[("tiny", Head::None)], &["--drain", "6000", "--keep-alive", "6000"]);
    let mut stream = server.connect();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

/// A terminal that closes sends SIGHUP, which stops the server like SIGTERM.
#[test]
fn a_hangup_stops_it_like_any_other_signal() {
    let args = ["--drain", "0.2", "--read-timeout", "600"];
    let (server, _dir) = Server::tiny_by(without_nohup, &[("tiny", Head::None)], &args);
    let stream = half_sent(&server);
    server.signal("HUP");
    told_to_ask_another(stream);
    assert_eq!(server.wait(), Some(1));
}

#[test]
fn a_hangup_that_nohup_ignores_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().to_str().unwrap();
    let server = Server::spawn(nohup(&["--model-store", store]));
    server.signal("HUP");
    // Had the hangup counted, the signal of `stop` would be the second one.
    let said = server.stop();
    assert_eq!(said.matches("stopping").count(), 1, "{said}");
}
