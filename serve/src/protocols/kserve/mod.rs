//! KServe v2 (Triton, `tritonclient`): `/v2…`.
//!
//! A model takes a BYTES tensor of texts (with any name; `TEXT` in the metadata) and, for pairs, a
//! second one named `TEXT_PAIR`. The shape is `[n]` or `[n, 1]`. Inputs and outputs may be JSON
//! (`data`) or bytes after the JSON (see [`bytes`]); `tritonclient` sends bytes, and no
//! Content-Type.

mod about;
mod bytes;
mod infer;
mod inputs;
mod outputs;
mod repository;
mod which;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};

use self::infer::infer;
use crate::app::App;
use crate::error::Problem;

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    let model = Router::new()
        .route("/", get(about::metadata))
        .route("/ready", get(about::ready))
        .route("/config", get(about::config))
        .route("/stats", get(about::stats))
        .route("/infer", post(infer));
    Router::new()
        .route("/v2", get(about::server))
        .route("/v2/", get(about::server))
        .route("/v2/health/live", get(about::live))
        .route("/v2/health/ready", get(about::server_ready))
        .route("/v2/models/stats", get(about::all_stats))
        .nest("/v2/models/{model}", model.clone())
        .nest("/v2/models/{model}/versions/{version}", model)
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
}

/// `{"error"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    (problem.kind.status(), json!({"error": problem.message}))
}
