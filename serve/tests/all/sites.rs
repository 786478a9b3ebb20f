//! Which web sites may ask a server. Without a key, these are the listed sites, if they use a name
//! of the server; and no other site may change models.

use crate::common::{Head, Reply, Server, write_model};
use serde_json::json;

const EVIL: (&str, &str) = ("origin", "https://evil.example");

/// A server without a key. Its store has a model, which is also loaded.
fn keyless(args: &[&str]) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a");
    std::fs::create_dir(&folder).unwrap();
    write_model(&folder, Head::None);
    let (store, model) = (dir.path().display().to_string(), format!("a={}", folder.display()));
    let all: Vec<&str> = ["--model-store", &store, "--model", &model]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    (Server::start(&all), dir)
}

/// Every request that changes models.
const MANAGEMENT: [(&str, &str); 8] = [
    ("POST", "/models?url=a&model_name=planted"),
    ("PUT", "/models/a?min_worker=2"),
    ("PUT", "/models/a/1?min_worker=2"),
    ("PUT", "/models/a/1/set-default"),
    ("POST", "/v2/repository/models/a/load"),
    ("POST", "/v2/repository/models/a/unload"),
    ("DELETE", "/models/a/1"),
    ("DELETE", "/models/a"),
];

fn refused(reply: &Reply, what: &str) {
    assert_eq!(reply.code, 403, "{what}: {}", reply.text());
    assert_eq!(reply.header("access-control-allow-origin"), None, "{what}");
}

#[test]
fn other_sites_change_no_models() {
    let (server, _dir) = keyless(&["--cors-origin", "https://page.example"]);
    let whole = |host: &str| format!("{host}:{}", server.address.rsplit(':').next().unwrap());
    let (localhost, other_port) = (whole("localhost"), "localhost:1".to_string());
    for (method, path) in MANAGEMENT {
        for headers in [
            vec![EVIL],
            vec![("origin", "null")],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("origin", "http://localhost:1")],
        ] {
            refused(
                &server.send(method, path, &headers, b""),
                &format!("{method} {path} {headers:?}"),
            );
        }
    }
    // A listed site may ask, but not change models.
    let listed = [("origin", "https://page.example")];
    for (method, path) in MANAGEMENT {
        assert_eq!(server.send(method, path, &listed, b"").code, 403, "{method} {path}");
    }
    // A stranger's name that points here may not even read.
    let named = |method: &str, path: &str, host: &str, more: &str| {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
        let mut stream = server.connect();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        crate::common::read(stream)
    };
    for (method, path) in
        MANAGEMENT.into_iter().chain([("GET", "/info"), ("GET", "/metrics"), ("GET", "/")])
    {
        refused(&named(method, path, "evil.example", ""), path);
        refused(
            &named(method, path, "evil.example:8080", "origin: http://evil.example:8080\r\n"),
            path,
        );
        // Others in the network can give a browser a name without a dot.
        refused(&named(method, path, "evil", "user-agent: Mozilla/5.0\r\n"), path);
        refused(&named(method, path, "evil:8080", "origin: http://evil:8080\r\n"), path);
    }
    assert_eq!(server.get("/models").ok()["models"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/models/a").ok()[0]["minWorkers"], 1);
    // The server's own page and programs may.
    assert_eq!(named("GET", "/info", "evil", "").code, 200);
    let own = format!("origin: http://{localhost}\r\n");
    assert_eq!(named("PUT", "/models/a?min_worker=2", &localhost, &own).code, 202);
    assert_eq!(named("PUT", "/models/a?min_worker=2", &other_port, &own).code, 403);
    assert_eq!(server.send("DELETE", "/models/a", &[], b"").code, 200);
}

#[test]
fn other_sites_ask_nothing_in_every_protocols_words() {
    let (server, _dir) = keyless(&[]);
    let form = ("content-type", "text/plain");
    let ask = |path: &str| {
        let reply = server.send("POST", path, &[EVIL, form], br#"{"inputs": "my card"}"#);
        refused(&reply, path);
        reply.json()
    };
    assert_eq!(ask("/embed")["error_type"], "Validation");
    assert_eq!(ask("/v1/embeddings")["error"]["type"], "invalid_request_error");
    assert_eq!(ask("/predictions/a")["type"], "ForbiddenException");
    for path in ["/v1/models/a:predict", "/v2/models/a/infer", "/models/a"] {
        assert!(ask(path)["error"].as_str().unwrap().contains("--cors-origin"), "{path}");
    }
    // Reading is harmless, for the browser does not show the page the answer.
    let read = server.send("GET", "/info", &[EVIL], b"");
    assert_eq!((read.code, read.header("access-control-allow-origin")), (200, None));
    let asks = [EVIL, ("access-control-request-method", "DELETE")];
    refused(&server.send("OPTIONS", "/models/a", &asks, b""), "preflight");
    assert!(!server.get("/metrics").text().contains("gradus_inputs_total"));
}

#[test]
fn a_listed_site_may_ask_and_any_may_where_any_is_listed() {
    let body = br#"{"inputs": "my card"}"#;
    let page = [("origin", "https://page.example")];
    let (server, _dir) = keyless(&["--cors-origin", "https://Page.example/"]);
    let reply = server.send("POST", "/embed", &page, body);
    assert_eq!(
        (reply.code, reply.header("access-control-allow-origin")),
        (200, Some("https://page.example"))
    );
    assert_eq!(reply.header("vary"), Some("origin"));
    refused(&server.send("POST", "/embed", &[EVIL], body), "another");
    let preflight = server.send(
        "OPTIONS",
        "/embed",
        &[page[0], ("access-control-request-method", "POST")],
        b"",
    );
    assert_eq!(preflight.code, 204);
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));

    let (server, _dir) = keyless(&["--cors-origin", "*"]);
    let reply = server.send("POST", "/embed", &[EVIL], body);
    assert_eq!((reply.code, reply.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(server.send("DELETE", "/models/a", &[EVIL], b"").code, 403);
}

#[test]
fn a_key_is_enough() {
    let (server, _dir) = keyless(&["--api-key", "k"]);
    let key = ("authorization", "Bearer k");
    assert_eq!(server.send("PUT", "/models/a?min_worker=2", &[EVIL], b"").code, 401);
    assert_eq!(server.send("PUT", "/models/a?min_worker=2", &[EVIL, key], b"").code, 202);
    // A server with a key answers under any name.
    let request = "GET /info HTTP/1.1\r\nhost: models.example\r\nauthorization: Bearer k\r\nconnection: close\r\n\r\n";
    let mut stream = server.connect();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    assert_eq!(crate::common::read(stream).code, 200);
}

#[test]
fn further_names_and_the_port_of_the_metrics() {
    let (mut server, _dir) = keyless(&["--allowed-host", "models.example", "--metrics-port", "0"]);
    let line = server.line();
    let metrics = line.trim().rsplit("//").next().unwrap().to_string();
    let ask = |address: &str, host: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        crate::common::read(stream).code
    };
    for address in [&server.address, &metrics] {
        for (host, code) in [("models.example", 200), ("localhost", 200), ("evil.example", 403)] {
            assert_eq!(ask(address, host), code, "{address} {host}");
        }
    }
}

#[test]
fn what_is_no_site_is_a_usage_error() {
    for (flag, value) in [
        ("--cors-origin", "page.example"),
        ("--allowed-host", "http://x"),
        ("--trusted-proxy", "nginx"),
        ("--root-path", "models"),
        ("--keep-alive", "-1"),
        ("--write-timeout", "1e9"),
    ] {
        let arg = format!("{flag}={value}");
        let output = crate::common::command(&["--model", "x", &arg]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arg}: {said}");
        assert!(said.contains(flag), "{arg}: {said}");
    }
}

#[test]
fn below_a_root_path_all_is_the_same() {
    let (server, _dir) = keyless(&["--root-path", "/bert/"]);
    let body = json!({"inputs": "my card"});
    let plain = server.post("/embed", &body).ok();
    assert_eq!(server.post("/bert/embed", &body).ok(), plain);
    assert_eq!(server.get("/bert/openapi.json").ok()["servers"], json!([{"url": "/bert"}]));
    let page = server.get("/bert/");
    assert_eq!((page.code, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let moved = server.get("/bert");
    assert_eq!((moved.code, moved.header("location")), (308, Some("/bert/")));
    assert_eq!(
        server.post("/bert/v1/embeddings", json!({})).json()["error"]["type"],
        "invalid_request_error"
    );
    // A path that only begins like the root path is not found.
    assert_eq!(server.get("/bertram/info").code, 404);
    for link in ["href=\"/", "src=\"/", "fetch('/"] {
        for path in ["/", "/docs", "/page.js", "/load.js"] {
            assert!(!server.get(path).text().contains(link), "{path}: {link}");
        }
    }
}
