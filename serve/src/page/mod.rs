//! The page at `/`, for people: labels of texts, tokens, attention, similarities, and the server's
//! load. It has six embedded files, and asks the server only what any client could ask.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The page may run and fetch only files of this server, and has no inline styles or scripts.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const LOAD: &str = include_str!("load.js");
const ATTENTION: &str = include_str!("attention.js");
const REQUEST: &str = include_str!("request.js");

/// The paths. `POST /` belongs to Hugging Face's pipelines.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", HTML) }))
        .route("/page.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route("/page.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/load.js", get(|| async { file("text/javascript; charset=utf-8", LOAD) }))
        .route("/attention.js", get(|| async { file("text/javascript; charset=utf-8", ATTENTION) }))
        .route("/request.js", get(|| async { file("text/javascript; charset=utf-8", REQUEST) }))
}

/// A file of the page.
pub fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new version of the server has a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
