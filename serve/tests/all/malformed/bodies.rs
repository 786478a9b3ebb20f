//! The same bad bodies to every path that takes JSON.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::shapes::{self, Shape};
use super::{MAX_BODY_MIB, Row};

/// A path, its error shape, its status code for invalid requests, and a good body.
type Door = (&'static str, Shape, u16, &'static str);

const DOORS: [Door; 8] = [
    ("/embed", shapes::tei, 422, r#"{"inputs": "my card"}"#),
    ("/predict", shapes::tei, 422, r#"{"inputs": "my card"}"#),
    ("/models/tiny", shapes::tei, 422, r#"{"inputs": "my card"}"#),
    ("/v1/embeddings", shapes::openai, 400, r#"{"input": "my card"}"#),
    ("/predictions/tiny", shapes::torchserve, 400, r#"{"data": ["my card"]}"#),
    ("/v1/models/tiny:predict", shapes::plain, 400, r#"{"instances": ["my card"]}"#),
    ("/v1/models/intents:classify", shapes::plain, 400, r#"{"examples": [{"text": "my card"}]}"#),
    (
        "/v2/models/tiny/infer",
        shapes::plain,
        400,
        r#"{"inputs": [{"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["my card"]}]}"#,
    ),
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn rows() -> Vec<Row> {
    let bomb = vec![b' '; 64 << 20];
    let (bomb, second) = (gzip(&bomb), zlib(&bomb));
    let large = vec![b' '; (MAX_BODY_MIB << 20) + 1];
    let mut rows = Vec::new();
    for (path, shape, invalid, good) in DOORS {
        let mut row = |headers: &[(&str, &str)], body: &[u8], code: u16, says: &'static str| {
            let json = [("content-type", "application/json")];
            let headers: Vec<_> = json.iter().chain(headers).copied().collect();
            rows.push(Row::new(shape, ("POST", path), &headers, body, code, says));
        };
        let good = good.as_bytes();
        let replaced = |from: &str, to: &[u8]| {
            let at = String::from_utf8_lossy(good).find(from).unwrap();
            [&good[..at], to, &good[at + from.len()..]].concat()
        };
        let empty = if path == "/predictions/tiny" { 400 } else { invalid };
        row(&[], b"", empty, "empty");
        row(&[], b"{", invalid, "not JSON");
        row(&[], &good[..good.len() - 1], invalid, "not JSON");
        row(&[], &[good, b"}"].concat(), invalid, "not JSON");
        row(&[], b"7", invalid, "must be");
        row(&[], b"null", invalid, "must be");
        row(&[], b"{}", invalid, "missing");
        // Not UTF-8; half a surrogate pair; a control character; UTF-16.
        row(&[], &replaced("my card", b"my \xff\xfe card"), invalid, "not JSON");
        row(&[], &replaced("my card", br"my \ud800 card"), invalid, "not JSON");
        row(&[], &replaced("my card", b"my \x00 card"), invalid, "not JSON");
        let utf16: Vec<u8> = good.iter().flat_map(|&byte| [byte, 0]).collect();
        row(&[], &utf16, invalid, "not JSON");
        row(&[], &replaced("\"my card\"", b"NaN"), invalid, "not JSON");
        row(&[], &replaced("\"my card\"", b"1e999"), invalid, "not JSON");
        row(&[], &replaced("\"my card\"", b"{\"a\": {}}"), invalid, "");
        let name = good.split(|&b| b == b'"').nth(1).unwrap();
        let twice = [&good[..good.len() - 1], b", \"", name, b"\": 1}"].concat();
        row(&[], &twice, invalid, "stands twice");
        let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        row(&[], &replaced("\"my card\"", deep.as_bytes()), invalid, "recursion limit");
        row(&[], "{\"a\":".repeat(100_000).as_bytes(), invalid, "recursion limit");
        row(&[], &large, 413, "--max-body");
        let gz = [("content-encoding", "gzip")];
        row(&gz, good, invalid, "content encoding");
        row(&gz, &gzip(good)[..20], invalid, "content encoding");
        row(&gz, &bomb, 413, "--max-body");
        row(&gz, &gzip(&bomb), invalid, "");
        row(&[("content-encoding", "deflate")], &second, 413, "--max-body");
        row(&[("content-encoding", "br")], good, 415, "`br`");
        row(&[("content-encoding", "gzip, gzip")], good, 415, "gzip, gzip");
        row(&[("x-request-timeout", "soon")], good, invalid, "x-request-timeout");
        row(&[("x-request-timeout", "-1")], good, invalid, "x-request-timeout");
        row(&[("x-request-timeout", "NaN")], good, invalid, "x-request-timeout");
        row(&[("x-request-timeout", "0")], good, 504, "deadline");
        rows.extend(cut(path, shape, invalid, good));
        rows.extend(forms(path, shape));
        // TorchServe has the other methods of this path.
        let other = if path == "/models/tiny" { shapes::torchserve } else { shape };
        rows.push(Row::new(other, ("PATCH", path), &[], good, 405, "PATCH"));
    }
    rows
}

/// Forms where JSON should be. TorchServe takes forms, and KServe's clients send no content type.
fn forms(path: &str, shape: Shape) -> Vec<Row> {
    if ["/predictions/tiny", "/v2/models/tiny/infer"].contains(&path) {
        return Vec::new();
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let parts = [("content-type", "multipart/form-data; boundary=x")];
    let body = b"--x\r\nContent-Disposition: form-data; name=\"inputs\"\r\n\r\na\r\n--x--\r\n";
    vec![
        Row::new(shape, ("POST", path), &form, b"inputs=my+card", 415, "send JSON"),
        Row::new(shape, ("POST", path), &parts, body, 415, "send JSON"),
    ]
}

/// Bodies that end too early, or have malformed chunks.
fn cut(path: &str, shape: Shape, invalid: u16, good: &[u8]) -> Vec<Row> {
    let head = |more: &str| format!("POST {path} HTTP/1.1\r\nhost: test\r\n{more}\r\n\r\n");
    let chunked = head("transfer-encoding: chunked\r\ncontent-type: application/json");
    let with = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let longer =
        head(&format!("content-type: application/json\r\ncontent-length: {}", good.len() + 9));
    let endless = chunk(&[b' '; 1 << 16]).repeat((MAX_BODY_MIB << 4) + 1);
    vec![
        Row::raw(shape, with(&longer, good), invalid, "cut off").cut(),
        Row::raw(shape, with(&chunked, &chunk(good)), invalid, "cut off").cut(),
        Row::raw(shape, with(&chunked, &chunk(good)[..12]), invalid, "cut off").cut(),
        Row::raw(shape, with(&chunked, b"zz\r\n{}\r\n0\r\n\r\n"), invalid, "cut off"),
        Row::raw(shape, with(&chunked, b"ffffffffffffffffff\r\n{}"), invalid, "cut off"),
        Row::raw(shape, with(&chunked, b"2\r\n{}}}\r\n0\r\n\r\n"), invalid, "cut off"),
        // More than the limit, in chunks that do not announce it.
        Row::raw(shape, with(&chunked, &endless), 413, "--max-body"),
    ]
}
