//! The protocols, one file each: paths, shapes, errors.

pub mod binary;
pub mod cohere;
pub mod hf;
pub mod kserve;
mod manage;
pub mod native;
pub mod openai;
pub mod tei;
pub mod tfserving;
pub mod torchserve;
pub mod values;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use serde_json::Value;
use tower::Layer;
use tower::util::MapRequestLayer;

use crate::app::App;
use crate::error::{Kind, Problem};
use crate::names;

/// A protocol, by which errors have their shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// text-embeddings-inference, Hugging Face's pipelines, and what belongs to no other protocol.
    Tei,
    /// Cohere's rankings.
    Cohere,
    /// OpenAI.
    OpenAi,
    /// TorchServe.
    TorchServe,
    /// TensorFlow Serving.
    TfServing,
    /// KServe v2.
    KServe,
}

impl Protocol {
    /// The protocol of a method and a path.
    pub fn of(method: &Method, path: &str) -> Protocol {
        let mut parts = path.split('/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            // Hugging Face's question to a model; what TorchServe has there are other methods.
            (Some("models"), Some(_), _) if method == Method::POST => Protocol::Tei,
            (Some("v1" | "v2"), Some("rerank"), None) => Protocol::Cohere,
            (Some("v2"), ..) => Protocol::KServe,
            (Some("v1"), Some("models"), Some(_)) => Protocol::TfServing,
            (Some("v1" | "embeddings"), ..) => Protocol::OpenAi,
            (Some("predictions" | "models" | "ping"), ..) => Protocol::TorchServe,
            _ => Protocol::Tei,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tei => "tei",
            Protocol::Cohere => "cohere",
            Protocol::OpenAi => "openai",
            Protocol::TorchServe => "torchserve",
            Protocol::TfServing => "tfserving",
            Protocol::KServe => "kserve",
        }
    }

    /// The status and the body of an error.
    pub fn error(self, problem: &Problem) -> (StatusCode, Value) {
        match self {
            Protocol::Tei => tei::error(problem),
            Protocol::Cohere => cohere::error(problem),
            Protocol::OpenAi => openai::error(problem),
            Protocol::TorchServe => torchserve::error(problem),
            Protocol::TfServing => tfserving::error(problem),
            Protocol::KServe => kserve::error(problem),
        }
    }
}

/// All paths, also under the root path at which a proxy shows them.
pub fn router(app: &Arc<App>) -> Router {
    match app.root_path.as_str() {
        "" => routes(app),
        root => crate::root_path::below(root, routes(app)),
    }
}

fn routes(app: &Arc<App>) -> Router {
    // Whoever asks for a port of their own for metrics does not want them here as well.
    let metrics = match app.separate_metrics {
        true => Router::new(),
        false => tei::metrics_route(),
    };
    let router = Router::new()
        .merge(tei::routes())
        .merge(metrics)
        .merge(hf::routes())
        .merge(cohere::routes())
        .merge(openai::routes())
        .merge(torchserve::routes())
        .merge(tfserving::routes())
        .merge(kserve::routes())
        .merge(native::routes())
        .merge(crate::page::routes())
        .merge(crate::openapi::routes(&app.root_path))
        .fallback(|uri: Uri| async move {
            let path: String = uri.path().chars().take(200).collect();
            Problem::new(Kind::NotFound, format!("there is nothing at `{path}`; see /docs"))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let path: String = uri.path().chars().take(200).collect();
            Problem::new(Kind::Method, format!("`{path}` has no method {method}; see /docs"))
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(app), crate::around::around))
        .with_state(Arc::clone(app));
    // A layer of the router's would come after the path has been matched.
    let app = Arc::clone(app);
    let joined = move |request: Request| with_joined_name(request, &app);
    Router::new().fallback_service(MapRequestLayer::new(joined).layer(router))
}

/// The request with the slash in a model's name as the routes know it.
fn with_joined_name(mut request: Request, app: &App) -> Request {
    let uri = request.uri();
    let Some(path) = names::joined(uri.path(), |name| app.models.knows(name)) else {
        return request;
    };
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    if let Ok(uri) = Uri::try_from(path) {
        *request.uri_mut() = uri;
    }
    request
}

/// What a port of its own for operators answers.
pub fn metrics_router(app: &Arc<App>) -> Router {
    Router::new()
        .merge(tei::health_route())
        .merge(tei::metrics_route())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(app), crate::around::known_host))
        .with_state(Arc::clone(app))
}
