//! Why a request fails, whatever the protocol. Each protocol gives it its own shape and code.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is not what it should be.
    Invalid,
    /// There is nothing to compute.
    Empty,
    /// A text has more tokens than the model takes.
    TooLong,
    /// The body, or the number of inputs, is above a limit.
    TooLarge,
    /// The body comes in an encoding or a form that is not understood.
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
    /// This is not allowed here at all.
    Forbidden,
    /// It exists already.
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
    /// The usual status code; a protocol may have another.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::Invalid | Kind::Empty | Kind::TooLong | Kind::WrongTask => {
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
    /// The field of the request that is to blame.
    pub param: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A failure.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Problem { kind, message: message.into(), param: None, retry_after: None }
    }

    /// A request that is not what it should be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Problem::new(Kind::Invalid, message)
    }

    /// The same, with the field that is to blame: `at` is its path, as `inputs[3]`.
    pub fn field(at: &str, message: impl AsRef<str>) -> Self {
        let name = at.split(['.', '[']).next().unwrap_or(at).to_string();
        let mut problem = Problem::invalid(format!("`{at}` {}", message.as_ref()));
        problem.param = Some(name).filter(|name| !name.is_empty());
        problem
    }
}

/// A result with [`Problem`].
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// The shape is given by the outermost layer, which knows the protocol by the path.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
