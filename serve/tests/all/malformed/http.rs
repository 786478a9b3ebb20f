//! Requests that break the rules of HTTP, or go beyond its bounds.

use super::Row;
use super::shapes::{none, plain, tei};

pub fn rows() -> Vec<Row> {
    let get = |more: &str| format!("GET /info HTTP/1.1\r\nhost: test\r\n{more}\r\n\r\n");
    let post = |more: &str, body: &str| {
        format!("POST /embed HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{more}\r\n\r\n{body}")
    };
    let many: String = (0..200).map(|i| format!("x-{i}: 1\r\n")).collect();
    let hello = [&[0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3][..], &[7; 160]].concat();
    vec![
        Row::raw(none, "\r\n\r\nnothing\r\n\r\n", 400, ""),
        Row::raw(none, [0, 1, 2, 3, 255, 13, 10, 13, 10], 400, ""),
        Row::raw(none, hello, 400, ""),
        // There is no HTTP/2: hyper hangs up.
        Row::raw(none, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "").cut(),
        Row::raw(none, "GET /info HTTP/9.9\r\n\r\n", 400, ""),
        Row::raw(tei, "GET info HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n", 404, ""),
        Row::raw(none, "GET  HTTP/1.1\r\nhost: test\r\n\r\n", 400, ""),
        Row::raw(none, "G\u{e9}T /info HTTP/1.1\r\nhost: test\r\n\r\n", 400, ""),
        Row::raw(tei, get("host: localhost\r\nconnection: close"), 400, "header Host stands twice"),
        Row::raw(tei, "GET /info HTTP/1.1\r\nconnection: close\r\n\r\n", 400, "Host is missing"),
        Row::raw(none, get("no colon"), 400, ""),
        Row::raw(none, get("x: a\0b"), 400, ""),
        Row::raw(none, get(": empty name"), 400, ""),
        Row::raw(none, get(&format!("x: {}", "a".repeat(1 << 20))), 431, ""),
        Row::raw(none, get(&many), 431, ""),
        Row::raw(none, format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)), 414, ""),
        Row::raw(none, post("content-length: 5\r\ncontent-length: 6", "{}"), 400, ""),
        Row::raw(none, post("content-length: -1", "{}"), 400, ""),
        Row::raw(none, post("content-length: two", "{}"), 400, ""),
        Row::raw(none, post("content-length: 99999999999999999999999", "{}"), 400, ""),
        Row::raw(none, post("transfer-encoding: gzip", "{}"), 400, ""),
        Row::raw(none, post("transfer-encoding: chunked, gzip", "{}"), 400, ""),
        // A length above the limit is refused before the body comes.
        Row::raw(
            tei,
            post("content-length: 1048577\r\nexpect: 100-continue", ""),
            413,
            "--max-body",
        ),
        Row::raw(tei, post("content-length: 18446744073709551613", ""), 413, "--max-body"),
        Row::raw(
            tei,
            "CONNECT host:443 HTTP/1.1\r\nhost: host:443\r\nconnection: close\r\n\r\n",
            404,
            "",
        ),
        Row::raw(tei, "OPTIONS * HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n", 404, ""),
        Row::raw(
            tei,
            "GET http://elsewhere/embed HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
            405,
            "GET",
        ),
        Row::raw(plain, "GET /v2/models/none HTTP/1.0\r\n\r\n", 404, "no model `none`"),
    ]
}
