//! The middleware: what happens to every request before and after its handler. It gives a request
//! its id and trace, checks who may ask, keeps the deadline, gives errors the protocol's shape, and
//! writes a line in the log and counts in the metrics.

mod admission;
mod cors;
mod errors;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::clients::Peer;
use crate::error::{Kind, Problem};
use crate::ids::{Trace, request_id};
use crate::protocols::{Protocol, tfserving};

/// The middleware around all paths.
pub async fn handle(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let _in_flight = InFlight::new(&app);
    let exchange = Exchange::new(&app, &request);
    let caller = admission::admit(&app, &request, exchange.client, exchange.arrived);
    let response = match caller {
        Ok(_) if exchange.preflight => StatusCode::NO_CONTENT.into_response(),
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
    let problem = errors::problem(&response);
    let mut response = match &problem {
        Some(problem) => errors::shaped(exchange.protocol, problem, &response),
        None => response,
    };
    exchange.mark(&mut response);
    exchange.record(&app, response.status().as_u16(), problem);
    response
}

/// The middleware of paths that need no key: it answers only requests that name this server.
pub async fn known_host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match admission::check_site(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => errors::shaped(Protocol::Tei, &problem, &Response::default()),
    }
}

/// The answer to requests that are still under way when the time to stop is over.
fn stopped() -> Problem {
    let message = "the server stopped before this was done; ask again, or another replica";
    Problem {
        retry_after: Some(Duration::from_secs(1)),
        ..Problem::new(Kind::Unavailable, message)
    }
}

/// Counts a request until it is answered or its client goes.
struct InFlight(Arc<App>);

impl InFlight {
    fn new(app: &Arc<App>) -> InFlight {
        app.metrics.begin();
        InFlight(Arc::clone(app))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.end();
    }
}

/// What the answer's headers and the log tell of a request.
struct Exchange {
    arrived: Instant,
    method: Method,
    path: String,
    protocol: Protocol,
    /// The matched route, not the path that was sent: clients must not make up values of metrics.
    route: String,
    id: String,
    trace: Option<Trace>,
    client: IpAddr,
    /// The origin whose pages may read the answer.
    allowed: Option<HeaderValue>,
    preflight: bool,
}

impl Exchange {
    fn new(app: &App, request: &Request) -> Exchange {
        let (method, path) = (request.method().clone(), request.uri().path().to_string());
        let route = request.extensions().get::<MatchedPath>().map(|m| m.as_str().to_string());
        let peer = request.extensions().get::<Peer>().copied();
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        Exchange {
            arrived: Instant::now(),
            protocol: Protocol::of(&method, &path),
            route: route.unwrap_or_else(|| "none".into()),
            id: request_id(request.headers()),
            trace: Trace::of(request.headers()),
            client: app.clients.address(peer, request.headers()),
            allowed: app.sites.allowed(request.headers()),
            preflight: admission::is_preflight(request),
            method,
            path,
        }
    }

    /// Adds the headers that every answer has.
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
        cors::mark(headers, self.allowed.clone(), self.preflight);
    }

    /// Counts the answer and writes it into the log.
    fn record(&self, app: &App, code: u16, problem: Option<Problem>) {
        let failure = problem.as_ref().map(|p| format!("{:?}", p.kind));
        app.metrics.answered(
            self.protocol.name(),
            &self.route,
            code,
            self.method == Method::POST,
            failure.as_deref().or((code >= 400).then_some("Other")),
        );
        self.log(code, problem.map(|p| p.message).as_deref());
    }

    fn log(&self, code: u16, error: Option<&str>) {
        let ms = (self.arrived.elapsed().as_secs_f64() * 1e5).round() / 1e2;
        let peer = self.client.to_string();
        // `tracing` knows the level of an event when it is compiled, so there are two events.
        macro_rules! request {
            ($level:ident) => {
                tracing::$level!(
                    id = self.id.as_str(),
                    trace = self.trace.as_ref().map(|t| t.id.as_str()),
                    peer = peer.as_str(),
                    protocol = self.protocol.name(),
                    method = self.method.as_str(),
                    path = self.path.as_str(),
                    code,
                    ms,
                    error,
                    "request"
                )
            };
        }
        match code >= 500 {
            true => request!(error),
            false => request!(debug),
        }
    }
}
