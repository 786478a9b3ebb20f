//! HTTPS, and a separate port for metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Head, Server, command, read};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/all/tls").join(name);
    path.to_str().unwrap().to_string()
}

/// A client that trusts the certificate of the tests, or none.
fn shake(server: &Server, trusting: bool) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    if trusting {
        roots.add(CertificateDer::from_pem_file(file("cert.pem")).unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, server.connect())
}

#[test]
fn a_client_that_trusts_the_certificate_is_answered() {
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let args = ["--tls-cert", &cert, "--tls-key", &key, "--read-timeout", "0.5"];
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &args);
    assert!(server.announced.starts_with("listening at https://"), "{}", server.announced);
    // Two silent clients do not hold up others.
    let silent = [server.connect(), server.connect()];
    let body = json!({"inputs": "my card"}).to_string();
    for _ in 0..2 {
        let mut stream = shake(&server, true);
        let head = format!(
            "POST /embed HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{reply}");
        let rows: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(rows[0].as_array().unwrap().len(), 32);
    }
    let refused = shake(&server, false).write_all(b"GET /health HTTP/1.1\r\n\r\n");
    assert!(refused.unwrap_err().to_string().contains("UnknownIssuer"));
    // The server closes a connection that speaks plain HTTP, without an answer.
    let mut plain = server.connect();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    drop(silent);
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    for (cert, key, code, part) in [
        ("/none.pem", key.as_str(), 1, "/none.pem"),
        (cert.as_str(), "/none.pem", 1, "/none.pem"),
        (key.as_str(), key.as_str(), 1, "no certificate"),
        (cert.as_str(), cert.as_str(), 1, "cert.pem"),
    ] {
        let args = ["--model", "x", "--tls-cert", cert, "--tls-key", key];
        let output = command(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    }
    let output = command(&["--model", "x", "--tls-cert", &cert]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn metrics_move_to_a_port_of_their_own() {
    let args = ["--metrics-port", "0", "--api-key", "k"];
    let (mut server, _dir) = Server::tiny(&[("tiny", Head::None)], &args);
    let line = server.line();
    let metrics =
        line.trim().strip_prefix("metrics at http://").unwrap_or_else(|| panic!("{line}"));
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(metrics).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        read(stream)
    };
    let key = [("authorization", "Bearer k")];
    server.send("POST", "/embed", &key, br#"{"inputs": "my card"}"#).ok();
    // That port needs no key, and answers nothing else.
    assert_eq!(ask("/health").code, 200);
    let metrics = ask("/metrics");
    assert!(metrics.text().contains(r#"gradus_inputs_total{model="tiny"} 1"#));
    assert_eq!(ask("/describe").code, 404);
    // The main port has no metrics then; both ports have `/health`.
    assert_eq!(server.send("GET", "/metrics", &key, b"").code, 404);
    assert_eq!(server.get("/health").code, 200);
    let described = server.send("GET", "/describe", &key, b"").ok();
    assert_eq!(described["metrics"], false);
}
