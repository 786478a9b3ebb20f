//! What surrounds every request, whatever the protocol: its id and trace, CORS, the key, the
//! deadline; errors in the protocol's shape; a line in the log and a count in the metrics.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;
use crate::ask::Caller;
use crate::error::{Kind, Problem, Result};
use crate::log::Level;
use crate::protocols::{Protocol, tfserving};

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Longest deadline in seconds that a header may ask for; `--timeout` bounds it anyway.
const MOST_SECONDS: f64 = 86_400.0;

/// Paths that anybody may see: whoever balances the load has no key.
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

/// Counts a request while it is being answered, even if its client goes.
struct InFlight(Arc<App>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.end();
    }
}

/// What is told of a request in its answer and in the log.
struct Told {
    arrived: Instant,
    method: Method,
    path: String,
    protocol: Protocol,
    /// What is matched, not what was sent: clients must not make up values of metrics.
    route: String,
    id: String,
    trace: Option<Trace>,
    client: IpAddr,
    /// The origin whose pages may read the answer.
    allowed: Option<HeaderValue>,
    preflight: bool,
}

impl Told {
    fn of(app: &App, request: &Request) -> Told {
        let (method, path) = (request.method().clone(), request.uri().path().to_string());
        let route = request.extensions().get::<MatchedPath>().map(|m| m.as_str().to_string());
        let peer = request.extensions().get::<Peer>().copied();
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        Told {
            arrived: Instant::now(),
            protocol: Protocol::of(&method, &path),
            route: route.unwrap_or_else(|| "none".into()),
            id: request_id(request.headers()),
            trace: trace(request.headers()),
            client: app.clients.address(peer, request.headers()),
            allowed: app.sites.allowed(request.headers()),
            preflight: is_preflight(request),
            method,
            path,
        }
    }

    /// The headers that every answer has.
    fn mark(&self, response: &mut Response) {
        let verbs = self.protocol == Protocol::TfServing
            && response.status() == StatusCode::METHOD_NOT_ALLOWED;
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&self.id) {
            headers.insert("x-request-id", value);
        }
        if verbs {
            headers.insert(header::ALLOW, HeaderValue::from_static(tfserving::allow(&self.path)));
        }
        let trace = self.trace.as_ref();
        if let Some(value) = trace.and_then(|t| HeaderValue::from_str(&t.header).ok()) {
            headers.insert("traceparent", value);
        }
        cors(headers, self.allowed.clone(), self.preflight);
    }

    /// Counts the answer, and writes it into the log.
    fn note(self, app: &App, code: u16, problem: Option<Problem>) {
        let failure = problem.as_ref().map(|p| format!("{:?}", p.kind));
        app.metrics.answered(
            self.protocol.name(),
            &self.route,
            code,
            self.method == Method::POST,
            failure.as_deref().or((code >= 400).then_some("Other")),
        );
        let level = if code >= 500 { Level::Error } else { Level::Debug };
        if !app.log.keeps(level) {
            return;
        }
        app.log.event(
            level,
            "request",
            json!({
                "id": self.id,
                "trace": self.trace.map(|t| t.id),
                "peer": self.client.to_string(),
                "protocol": self.protocol.name(),
                "method": self.method.as_str(),
                "path": self.path,
                "code": code,
                "ms": (self.arrived.elapsed().as_secs_f64() * 1e5).round() / 1e2,
                "error": problem.map(|p| p.message),
            }),
        );
    }
}

/// The layer around all paths.
pub async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    app.metrics.begin();
    let _in_flight = InFlight(Arc::clone(&app));
    let told = Told::of(&app, &request);
    let response = match admit(&app, &request, &told) {
        Ok(_) if told.preflight => StatusCode::NO_CONTENT.into_response(),
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let mut over = app.over.subscribe();
            tokio::select! {
                response = next.run(request) => response,
                _ = over.wait_for(|&over| over) => stopped().into_response(),
            }
        }
        Err(problem) => problem.into_response(),
    };
    let problem = response.extensions().get::<Problem>().cloned().or_else(|| foreign(&response));
    let mut response = match &problem {
        Some(problem) => shaped(told.protocol, problem, &response),
        None => response,
    };
    told.mark(&mut response);
    told.note(&app, response.status().as_u16(), problem);
    response
}

/// What is said to those whose requests are under way when the time to stop is over.
fn stopped() -> Problem {
    let message = "the server stopped before this was done; ask again, or another replica";
    Problem {
        retry_after: Some(Duration::from_secs(1)),
        ..Problem::new(Kind::Unavailable, message)
    }
}

/// Only names of the server itself are answered to, for paths that have no other protection.
pub async fn known_host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match site(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => shaped(Protocol::Tei, &problem, &Response::default()),
    }
}

/// Whether the site that a request comes from may send it.
fn site(app: &App, request: &Request) -> Result<()> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    app.sites.check(request.method(), authority, request.headers())
}

/// Who asks, if they may.
fn admit(app: &App, request: &Request, told: &Told) -> Result<Caller> {
    let headers = request.headers();
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(Problem::invalid("the header Host stands twice; send one"));
    }
    site(app, request)?;
    let key = key(headers);
    // A browser that asks whether it may ask sends no key.
    let open = (OPEN.contains(&&*told.path) && told.method != Method::POST) || told.preflight;
    if !app.access.keys.is_empty() && !open {
        match key {
            None => {
                let message = "this server wants an API key: `Authorization: Bearer KEY`";
                return Err(Problem::new(Kind::Unauthorized, message));
            }
            Some(key) if !app.access.knows(key) => {
                return Err(Problem::new(
                    Kind::Unauthorized,
                    "the API key is not one of this server's",
                ));
            }
            Some(_) => {}
        }
    }
    let mut timeout = app.limits.timeout;
    if let Some(value) = headers.get("x-request-timeout") {
        let seconds = value.to_str().ok().and_then(|v| v.trim().parse::<f64>().ok());
        let seconds = seconds.filter(|s| (0.0..=MOST_SECONDS).contains(s)).ok_or_else(|| {
            Problem::invalid("the header x-request-timeout must be a number of seconds")
        })?;
        timeout = timeout.min(Duration::from_secs_f64(seconds));
    }
    let key = key.filter(|_| !app.access.keys.is_empty());
    let client = app.clients.number(told.client, key);
    Ok(Caller { client, arrived: told.arrived, deadline: told.arrived + timeout })
}

/// The key of a request: `Authorization: Bearer KEY`, or `x-api-key`.
fn key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

/// The problem behind an error of the router itself, which knows no protocol.
fn foreign(response: &Response) -> Option<Problem> {
    let json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|v| v == "application/json");
    let message = "the path is not understood: is it UTF-8, percent-encoded?";
    match response.status() {
        StatusCode::BAD_REQUEST if !json => Some(Problem::invalid(message)),
        status if status.is_server_error() && !json => {
            Some(Problem::new(Kind::Internal, "the server failed, which is a bug"))
        }
        _ => None,
    }
}

/// What is told of a failure of the server itself: whatever it says (files, code) is for the log
/// alone.
const INTERNAL: &str =
    "the server failed, which is a bug or a damaged model; its log has more under x-request-id";

/// A problem in the shape of the protocol; headers that the answer has already stay.
fn shaped(protocol: Protocol, problem: &Problem, response: &Response) -> Response {
    let (status, body) = match problem.kind {
        Kind::Internal => protocol.error(&Problem::new(Kind::Internal, INTERNAL)),
        _ => protocol.error(problem),
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut shaped = (status, json, body.to_string()).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        shaped.headers_mut().insert(header::ALLOW, allow.clone());
    }
    if let Some(after) = problem.retry_after {
        shaped.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if problem.kind == Kind::Unauthorized {
        let bearer = HeaderValue::from_static("Bearer");
        shaped.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    if matches!(problem.kind, Kind::TooLarge | Kind::SlowRequest | Kind::Timeout) {
        // What is left of the body is not read.
        shaped.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    shaped
}

/// Whether a browser only asks whether a page may ask.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets pages of a listed site read the answer, and send any header. No cookies are used, so none
/// are allowed.
fn cors(headers: &mut HeaderMap, allowed: Option<HeaderValue>, preflight: bool) {
    // What is answered depends on it, whatever it is.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(allowed) = allowed else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    if preflight {
        let methods = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        // `*` alone would not cover Authorization.
        let any = HeaderValue::from_static("Authorization, Content-Type, *");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, any);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
}

/// The request's id: the client's `x-request-id` if it is fit for a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    let fit = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    given.filter(fit).map_or_else(|| format!("{:016x}", unique()), str::to_string)
}

/// The trace that a request belongs to (W3C trace context, version 00).
struct Trace {
    id: String,
    /// For whoever comes next: the same trace, with a span of ours.
    header: String,
}

fn trace(headers: &HeaderMap) -> Option<Trace> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = parent.trim().split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match parts[..] {
        [version, id, parent, flags]
            if hex(version, 2)
                && version != "ff"
                && hex(id, 32)
                && hex(parent, 16)
                && hex(flags, 2)
                && id.bytes().any(|b| b != b'0') =>
        {
            Some(Trace {
                id: id.to_string(),
                header: format!("00-{id}-{:016x}-{flags}", unique() | 1),
            })
        }
        _ => None,
    }
}

/// An id that no other answer has.
pub fn unique_id() -> String {
    format!("{:016x}{:016x}", unique(), unique())
}

/// A number that no other request of this process has, and other processes are unlikely to.
fn unique() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    STATE.hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_failure_of_the_server_tells_nothing_of_its_insides() {
        let problem =
            Problem::new(Kind::Internal, "/srv/models/a/model.safetensors: [matmul] (3, 4)");
        for protocol in [
            Protocol::Tei,
            Protocol::Cohere,
            Protocol::OpenAi,
            Protocol::TorchServe,
            Protocol::TfServing,
            Protocol::KServe,
        ] {
            let answer = shaped(protocol, &problem, &Response::default());
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let said = String::from_utf8_lossy(&body);
            assert!(said.contains("x-request-id"), "{said}");
            assert!(!said.contains("/srv") && !said.contains("matmul"), "{said}");
        }
    }
}
