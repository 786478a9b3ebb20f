//! Why a request fails. Each protocol gives a problem its own shape and status code.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::scheduler::Failure;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed.
    Invalid,
    /// The request breaks a rule of HTTP.
    Http,
    /// The request has nothing to compute.
    Empty,
    /// A text has more tokens than the model takes.
    TooLong,
    /// The body, or the number of inputs, is above a limit.
    TooLarge,
    /// The server does not understand the encoding or the form of the body.
    MediaType,
    /// The model is made for something else.
    WrongTask,
    /// There is no such model.
    NoModel,
    /// The model has no such version.
    NoVersion,
    /// There is no such path.
    NotFound,
    /// The path has no such method.
    Method,
    /// The API key is missing or wrong.
    Unauthorized,
    /// The server does not allow this at all.
    Forbidden,
    /// The state of the model forbids it.
    Conflict,
    /// The queue is full.
    Overloaded,
    /// The request did not arrive in time.
    SlowRequest,
    /// The answer took too long.
    Timeout,
    /// The server is shutting down, or the model is not ready.
    Unavailable,
    /// A bug, or a damaged model.
    Internal,
}

impl Kind {
    /// The usual status code. A protocol may have another one.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::Invalid | Kind::Http | Kind::Empty | Kind::TooLong | Kind::WrongTask => {
                StatusCode::BAD_REQUEST
            }
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::NoModel | Kind::NoVersion | Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Kind::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A failure with what to say about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The kind.
    pub kind: Kind,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A failure.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Problem { kind, message: message.into(), param: None, retry_after: None }
    }

    /// A malformed request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Problem::new(Kind::Invalid, message)
    }

    /// A malformed request with the path of the wrong field, such as `inputs[3]`.
    pub fn field(at: &str, message: impl AsRef<str>) -> Self {
        let name = at.split(['.', '[']).next().unwrap_or(at).to_string();
        let mut problem = Problem::invalid(format!("`{at}` {}", message.as_ref()));
        problem.param = Some(name).filter(|name| !name.is_empty());
        problem
    }

    /// An input that a model refuses, without the name of the operation that did.
    pub fn of_input(error: &gradus_models::Error) -> Self {
        let message = error.to_string();
        Problem::invalid(message.strip_prefix("[input] ").unwrap_or(&message))
    }
}

/// A result with [`Problem`].
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl From<Failure<Arc<gradus_models::Error>>> for Problem {
    fn from(failure: Failure<Arc<gradus_models::Error>>) -> Self {
        let message = failure.to_string();
        let (kind, retry_after) = match failure {
            Failure::Full { retry_after } | Failure::Busy { retry_after, .. } => {
                (Kind::Overloaded, Some(retry_after))
            }
            Failure::Expired | Failure::TooSlow { .. } => (Kind::Timeout, None),
            Failure::Closed => (Kind::Unavailable, Some(Duration::from_secs(1))),
            Failure::Crashed => (Kind::Internal, None),
            Failure::Model(error) => match *error {
                gradus_models::Error::Input(_) => return Problem::of_input(&error),
                _ => (Kind::Internal, None),
            },
        };
        Problem { retry_after, ..Problem::new(kind, message) }
    }
}

/// The middleware knows the protocol by the path and gives the problem its shape.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
