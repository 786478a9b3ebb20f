//! The server and its models: their inputs and outputs, their configuration, their counts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::which::Which;
use crate::answer::small_json;
use crate::app::App;
use crate::error::{Kind, Problem, Result};
use crate::pipeline::Task;
use crate::served::Served;

/// `GET /v2`.
pub async fn server() -> Response {
    small_json(&json!({
        "name": "gradus",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": [
            "classification", "model_configuration", "model_repository", "statistics", "binary_tensor_data",
        ],
    }))
}

/// `GET /v2/health/live`.
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// `GET /v2/health/ready`.
pub async fn server_ready(State(app): State<Arc<App>>) -> Result<StatusCode> {
    match app.ready() {
        true => Ok(StatusCode::OK),
        false => Err(Problem::new(Kind::Unavailable, "the server is not ready")),
    }
}

/// `…/ready`.
pub async fn ready(State(app): State<Arc<App>>, Path(which): Path<Which>) -> Result<StatusCode> {
    which.find(&app.models).map(|_| StatusCode::OK)
}

/// Name, datatype, and the sizes after the first.
pub type Tensor = (&'static str, &'static str, Vec<i64>);

fn inputs(served: &Served) -> Vec<Tensor> {
    let mut inputs = vec![("TEXT", "BYTES", vec![])];
    if served.task() == Task::Classify {
        inputs.push(("TEXT_PAIR", "BYTES", vec![]));
    }
    inputs
}

/// The outputs of a model.
pub fn outputs(served: &Served) -> Vec<Tensor> {
    match served.task() {
        Task::Embed => {
            vec![("EMBEDDING", "FP32", vec![served.pipeline().width() as i64])]
        }
        Task::Classify => vec![
            ("SCORES", "FP32", vec![served.pipeline().labels().len() as i64]),
            ("LABEL", "BYTES", vec![]),
        ],
        Task::FillMask => vec![("MASKS", "BYTES", vec![])],
        Task::Tag => vec![("WORDS", "BYTES", vec![])],
        Task::Answer | Task::Generate => Vec::new(),
    }
}

/// The inputs and outputs of a model.
pub async fn metadata(State(app): State<Arc<App>>, Path(which): Path<Which>) -> Result<Response> {
    let served = which.find(&app.models)?;
    let described = |(name, datatype, sizes): Tensor| {
        let shape: Vec<i64> = std::iter::once(-1).chain(sizes).collect();
        json!({"name": name, "datatype": datatype, "shape": shape})
    };
    let listed = app.models.versions(&served.name)?;
    let versions: Vec<String> = listed.versions.iter().map(|s| s.version.to_string()).collect();
    Ok(small_json(&json!({
        "name": served.name,
        "versions": versions,
        "platform": "gradus",
        "inputs": inputs(&served).into_iter().map(described).collect::<Vec<_>>(),
        "outputs": outputs(&served).into_iter().map(described).collect::<Vec<_>>(),
    })))
}

/// Triton's configuration of a model.
pub async fn config(State(app): State<Arc<App>>, Path(which): Path<Which>) -> Result<Response> {
    let served = which.find(&app.models)?;
    let described = |(name, datatype, sizes): Tensor| {
        let datatype = match datatype {
            "FP32" => "TYPE_FP32",
            _ => "TYPE_STRING",
        };
        // The configuration has no scalars; a size of 1 stands for one.
        let dims = if sizes.is_empty() { vec![1] } else { sizes };
        json!({"name": name, "data_type": datatype, "dims": dims})
    };
    Ok(small_json(&json!({
        "name": served.name,
        "platform": "gradus",
        "backend": "gradus",
        "max_batch_size": app.limits.inputs,
        "input": inputs(&served).into_iter().map(described).collect::<Vec<_>>(),
        "output": outputs(&served).into_iter().map(described).collect::<Vec<_>>(),
        "instance_group": [{"count": served.scheduler.load().workers, "kind": "KIND_CPU"}],
    })))
}

fn statistics(served: &Served) -> Value {
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let stats = &served.stats;
    let (done, failed) = (read(&stats.succeeded), read(&stats.failed));
    let (queued, computed) = (read(&stats.queued_ns), read(&stats.computed_ns));
    let batches = read(&stats.batches);
    json!({
        "name": served.name,
        "version": served.version.to_string(),
        "last_inference": read(&stats.last_ms),
        "inference_count": read(&stats.sequences),
        "execution_count": batches,
        "inference_stats": {
            "success": {"count": done, "ns": queued + computed},
            "fail": {"count": failed, "ns": 0},
            "queue": {"count": done, "ns": queued},
            "compute_input": {"count": batches, "ns": 0},
            "compute_infer": {"count": batches, "ns": computed},
            "compute_output": {"count": batches, "ns": 0},
        },
        "batch_stats": [],
    })
}

/// Counts and times of a model.
pub async fn stats(State(app): State<Arc<App>>, Path(which): Path<Which>) -> Result<Response> {
    let served = which.find(&app.models)?;
    Ok(small_json(&json!({"model_stats": [statistics(&served)]})))
}

/// Counts and times of all models.
pub async fn all_stats(State(app): State<Arc<App>>) -> Response {
    let versions = app.models.list().into_iter().flat_map(|listed| listed.versions);
    let stats: Vec<Value> = versions.map(|served| statistics(&served)).collect();
    small_json(&json!({"model_stats": stats}))
}
