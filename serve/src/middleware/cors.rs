//! The headers by which a browser lets pages of other sites read an answer.

use axum::http::{HeaderMap, HeaderValue, header};

/// Lets pages of a listed site (`allowed`) read the answer, and send any header. The server uses no
/// cookies, so none are allowed.
pub fn mark(headers: &mut HeaderMap, allowed: Option<HeaderValue>, preflight: bool) {
    // Every answer depends on the origin, also where there is none.
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
