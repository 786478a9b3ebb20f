//! The protocols, one file or folder each: paths, shapes, errors.

mod cohere;
pub mod hf;
mod kserve;
mod native;
mod openai;
mod shared;
mod tei;
pub mod tfserving;
mod torchserve;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode};
use serde_json::Value;

pub use self::tei::{health_route, metrics_route};
use crate::app::App;
use crate::error::Problem;

/// A protocol, which gives errors their shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// text-embeddings-inference, Hugging Face's pipelines, and paths of no other protocol.
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
            // Hugging Face's question to a model; TorchServe has other methods there.
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

/// The paths of all protocols, but for `/metrics`.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(tei::routes())
        .merge(hf::routes())
        .merge(cohere::routes())
        .merge(openai::routes())
        .merge(torchserve::routes())
        .merge(tfserving::routes())
        .merge(kserve::routes())
        .merge(native::routes())
}
