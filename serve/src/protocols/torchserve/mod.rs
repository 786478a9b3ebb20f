//! TorchServe: `/predictions/{m}[/{v}]`, `/ping`, and management under `/models`.

mod management;
mod predictions;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use self::management::{
    describe, describe_version, list, register, scale, scale_version, set_default, unregister,
    unregister_version,
};
use self::predictions::{predict, predict_version};
use super::hf;
use crate::answer::small_json;
use crate::app::App;
use crate::error::{Kind, Problem};

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/ping", get(ping))
        .route("/predictions/{model}", post(predict).put(predict))
        .route("/predictions/{model}/{version}", post(predict_version).put(predict_version))
        .route("/models", get(list).post(register))
        .route("/models/{model}", get(describe).put(scale).delete(unregister).post(hf::named))
        .route(
            "/models/{model}/{version}",
            get(describe_version)
                .put(scale_version)
                .delete(unregister_version)
                .post(hf::named_of_hub),
        )
        .route("/models/{model}/{version}/set-default", put(set_default))
}

/// `{"code","type","message"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    let status = problem.kind.status();
    let name = match problem.kind {
        Kind::NoModel => "ModelNotFoundException",
        Kind::NoVersion => "ModelVersionNotFoundException",
        Kind::NotFound => "ResourceNotFoundException",
        Kind::Method => "MethodNotAllowedException",
        Kind::Conflict => "ConflictStatusException",
        Kind::Overloaded | Kind::Unavailable => "ServiceUnavailableException",
        Kind::Timeout | Kind::SlowRequest => "RequestTimeoutException",
        Kind::Unauthorized => "InvalidKeyException",
        Kind::Forbidden => "ForbiddenException",
        Kind::TooLarge => "TooLargeRequestException",
        Kind::Internal => "InternalServerException",
        Kind::Invalid
        | Kind::Http
        | Kind::Empty
        | Kind::TooLong
        | Kind::MediaType
        | Kind::WrongTask => "BadRequestException",
    };
    (status, json!({"code": status.as_u16(), "type": name, "message": problem.message}))
}

async fn ping(State(app): State<Arc<App>>) -> Response {
    match app.ready() {
        true => small_json(&json!({"status": "Healthy"})),
        false => {
            let unhealthy = small_json(&json!({"status": "Unhealthy"}));
            (StatusCode::SERVICE_UNAVAILABLE, unhealthy).into_response()
        }
    }
}
