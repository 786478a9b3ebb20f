//! Problems in the shapes of the protocols.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Kind, Problem};
use crate::protocols::Protocol;

/// What a client is told of a failure of the server itself. The details (files, code) are for the
/// log alone.
const INTERNAL: &str =
    "the server failed, which is a bug or a damaged model; its log has more under x-request-id";

/// The problem that an answer has: a handler's, or one of axum itself, which knows no protocol.
pub fn problem(response: &Response) -> Option<Problem> {
    response.extensions().get::<Problem>().cloned().or_else(|| of_axum(response))
}

fn of_axum(response: &Response) -> Option<Problem> {
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

/// A problem in the shape of the protocol. Of the headers of `response`, `Allow` stays.
pub fn shaped(protocol: Protocol, problem: &Problem, response: &Response) -> Response {
    let (status, body) = match problem.kind {
        Kind::Internal => protocol.error(&Problem::new(Kind::Internal, INTERNAL)),
        _ => protocol.error(problem),
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut shaped = (status, json, body.to_string()).into_response();
    let headers = shaped.headers_mut();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        headers.insert(header::ALLOW, allow.clone());
    }
    if let Some(after) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if problem.kind == Kind::Unauthorized {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(problem.kind, Kind::TooLarge | Kind::SlowRequest | Kind::Timeout) {
        // The server does not read the rest of the body.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    shaped
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
