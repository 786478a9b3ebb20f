//! Who may ask, and until when: host, site, key, deadline.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderMap, Method, Version, header};

use crate::app::App;
use crate::error::{Kind, Problem, Result};
use crate::question::Caller;

/// Longest deadline in seconds that a header may ask for; `--timeout` bounds it anyway.
const MAX_SECONDS: f64 = 86_400.0;

/// Paths that need no key: a load balancer has none, and a browser opens the page without one.
const OPEN: [&str; 14] = [
    "/health",
    "/ping",
    "/v2/health/live",
    "/v2/health/ready",
    "/docs",
    "/docs.css",
    "/docs.js",
    "/openapi.json",
    "/",
    "/page.css",
    "/page.js",
    "/load.js",
    "/request.js",
    "/attention.js",
];

/// Who asks, if they may. `address` is the client's.
pub fn admit(app: &App, request: &Request, address: IpAddr, arrived: Instant) -> Result<Caller> {
    check_site(app, request)?;
    let headers = request.headers();
    let key = key(headers);
    if !app.access.keys.is_empty() && !is_open(request) {
        check_key(app, key)?;
    }
    let key = key.filter(|_| !app.access.keys.is_empty());
    let client = app.clients.number(address, key);
    Ok(Caller { client, arrived, deadline: arrived + timeout(app, headers)? })
}

/// Checks that the request names this server, and that its web site may send it.
pub fn check_site(app: &App, request: &Request) -> Result<()> {
    check_host(request)?;
    let authority = request.uri().authority().map(|authority| authority.as_str());
    app.sites.check(request.method(), authority, request.headers())
}

/// Checks that there is one header `Host`, as HTTP/1.1 demands (RFC 9112, 3.2).
fn check_host(request: &Request) -> Result<()> {
    let wrong = match request.headers().get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => "is missing; HTTP/1.1 requires it",
        0 | 1 => return Ok(()),
        _ => "stands twice; send one",
    };
    Err(Problem::new(Kind::Http, format!("the header Host {wrong}")))
}

/// Whether a browser only asks whether a page may ask.
pub fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether a request needs no key. A browser's preflight has none.
fn is_open(request: &Request) -> bool {
    let open = OPEN.contains(&request.uri().path()) && request.method() != Method::POST;
    open || is_preflight(request)
}

/// The key of a request: `Authorization: Bearer KEY`, or `x-api-key`.
fn key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

fn check_key(app: &App, key: Option<&str>) -> Result<()> {
    let message = match key {
        None => "this server wants an API key: `Authorization: Bearer KEY`",
        Some(key) if !app.access.knows(key) => "the API key is not one of this server's",
        Some(_) => return Ok(()),
    };
    Err(Problem::new(Kind::Unauthorized, message))
}

/// The time for the answer: the server's, or less if the header asks for less.
fn timeout(app: &App, headers: &HeaderMap) -> Result<Duration> {
    let Some(value) = headers.get("x-request-timeout") else { return Ok(app.limits.timeout) };
    let seconds = value.to_str().ok().and_then(|v| v.trim().parse::<f64>().ok());
    let seconds = seconds.filter(|s| (0.0..=MAX_SECONDS).contains(s)).ok_or_else(|| {
        Problem::invalid("the header x-request-timeout must be a number of seconds")
    })?;
    Ok(app.limits.timeout.min(Duration::from_secs_f64(seconds)))
}
