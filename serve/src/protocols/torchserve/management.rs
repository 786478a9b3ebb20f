//! Management: models are listed, described, registered, scaled and unregistered.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::version;
use crate::answer::small_json;
use crate::app::App;
use crate::call::Call;
use crate::error::{Problem, Result};
use crate::protocols::shared::management;
use crate::registry::Version;
use crate::served::Served;

/// `GET /models`, page by page.
pub async fn list(call: Call) -> Result<Response> {
    let number = |name: &str, default: usize| match call.query(name) {
        None => Ok(default),
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Problem::field(name, "must be a whole number, not negative")),
    };
    let (limit, start) = (number("limit", 100)?, number("next_page_token", 0)?);
    if limit == 0 {
        return Err(Problem::field("limit", "is 0; it must be 1 or more"));
    }
    let all = call.app.models.list();
    let page: Vec<Value> = all
        .iter()
        .skip(start)
        .take(limit)
        .map(|l| json!({"modelName": l.name, "modelUrl": l.origin(call.app.store.as_deref())}))
        .collect();
    let mut body = json!({"models": page});
    let next = start.saturating_add(limit);
    if let Some(map) = body.as_object_mut().filter(|_| next < all.len()) {
        map.insert("nextPageToken".into(), next.to_string().into());
    }
    Ok(small_json(&body))
}

fn described(app: &App, served: &Served, default: bool) -> Value {
    let load = served.scheduler.load();
    let options = app.models.options();
    let started = served.loaded.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let workers: Vec<Value> = (0..load.workers)
        .map(|i| json!({"id": (9000 + i).to_string(), "startTime": started.to_string(), "status": "READY", "gpu": false}))
        .collect();
    json!({
        "modelName": served.name,
        "modelVersion": format!("{}.0", served.version),
        "modelUrl": served.origin(app.store.as_deref()),
        "runtime": "gradus",
        "minWorkers": load.workers,
        "maxWorkers": load.workers,
        "batchSize": app.limits.inputs,
        "maxBatchDelay": options.max_delay.as_millis() as u64,
        "loadedAtStartup": true,
        "defaultVersion": default,
        "workers": workers,
        "jobQueueStatus": {
            "remainingCapacity": options.max_queue.saturating_sub(load.requests),
            "pendingRequests": load.requests,
        },
    })
}

/// `GET /models/{model}`.
pub async fn describe(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Response> {
    let served = app.models.get(&model, &Version::Default)?;
    Ok(small_json(&json!([described(&app, &served, true)])))
}

/// `GET /models/{model}/{version}`.
pub async fn describe_version(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response> {
    let of = |served: &Arc<Served>, default| described(&app, served, served.version == default);
    if version == "all" {
        let listed = app.models.versions(&model)?;
        let all = listed.versions.iter().map(|served| of(served, listed.default));
        return Ok(small_json(&Value::Array(all.collect())));
    }
    let served = version::find(&app, &model, &version)?;
    let default = app.models.versions(&model)?.default;
    Ok(small_json(&json!([of(&served, default)])))
}

/// Most workers of a model that a query may ask for.
const MAX_WORKERS: usize = 64;

/// The number of workers that a query asks for.
fn workers(call: &Call, name: &str) -> Result<Option<usize>> {
    let Some(text) = call.query(name) else { return Ok(None) };
    match text.parse::<usize>() {
        Ok(count) if (1..=MAX_WORKERS).contains(&count) => Ok(Some(count)),
        _ => Err(Problem::field(name, format!("must be from 1 to {MAX_WORKERS}"))),
    }
}

fn status(message: String, synchronous: bool) -> Response {
    let code = if synchronous { StatusCode::OK } else { StatusCode::ACCEPTED };
    (code, small_json(&json!({"status": message}))).into_response()
}

fn synchronous(call: &Call) -> Result<bool> {
    match call.query("synchronous").map(|v| v.to_ascii_lowercase()).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::field("synchronous", "must be `true` or `false`")),
    }
}

/// `POST /models`. The model is registered when the answer comes, so no failure is silent.
pub async fn register(call: Call) -> Result<Response> {
    management::allowed(&call)?;
    let folder = call
        .query("url")
        .ok_or_else(|| Problem::field("url", "is missing; name a folder of the store"))?;
    let last = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_string();
    let name = call.query("model_name").unwrap_or(last);
    call.refuse_query(
        &["handler", "runtime"],
        "cannot be chosen here: the model's folder determines it",
    )?;
    let why =
        "is a setting of the server for all models: --max-batch-tokens, --max-delay, --timeout";
    call.refuse_query(
        &["batch_size", "max_batch_delay", "response_timeout", "startup_timeout"],
        why,
    )?;
    call.refuse_query(&["s3_sse_kms"], "is for models from S3; these come from --model-store")?;
    synchronous(&call)?;
    let count = workers(&call, "initial_workers")?;
    let versions = management::register(&call.app, &name, &folder).await?;
    for &version in &versions {
        if let (Some(count), Ok(served)) =
            (count, call.app.models.get(&name, &Version::Number(version)))
        {
            served.scheduler.set_workers(count);
        }
    }
    let version = versions.last().copied().unwrap_or(1);
    let served = call.app.models.get(&name, &Version::Number(version))?;
    let count = served.scheduler.load().workers;
    let message =
        format!("Model \"{name}\" Version: {version}.0 registered with {count} initial workers");
    Ok(status(message, true))
}

/// `PUT /models/{model}`.
pub async fn scale(Path(model): Path<String>, call: Call) -> Result<Response> {
    management::allowed(&call)?;
    let served = call.app.models.get(&model, &Version::Default)?;
    scaled(&served, &call)
}

/// `PUT /models/{model}/{version}`.
pub async fn scale_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    management::allowed(&call)?;
    let served = version::find(&call.app, &model, &version)?;
    scaled(&served, &call)
}

fn scaled(served: &Served, call: &Call) -> Result<Response> {
    let least = workers(call, "min_worker")?;
    let most = workers(call, "max_worker")?;
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(Problem::field(
            "min_worker",
            format!("is {least}, but max_worker is {most}; it must not be larger"),
        ));
    }
    let count = least.or(most).unwrap_or(1);
    call.refuse_query(&["number_gpu"], "has no meaning here: --device says where models compute")?;
    let synchronous = synchronous(call)?;
    served.scheduler.set_workers(count);
    let message = match synchronous {
        true => format!("Workers scaled to {count} for model: {}", served.name),
        false => "Processing worker updates...".into(),
    };
    Ok(status(message, synchronous))
}

/// `PUT /models/{model}/{version}/set-default`.
pub async fn set_default(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    management::allowed(&call)?;
    let served = version::find(&call.app, &model, &version)?;
    call.app.models.set_default(&model, served.version)?;
    let message = format!(
        "Default version successfully updated for model \"{model}\" to \"{}.0\"",
        served.version
    );
    Ok(status(message, true))
}

/// `DELETE /models/{model}`.
pub async fn unregister(Path(model): Path<String>, call: Call) -> Result<Response> {
    management::allowed(&call)?;
    management::unload(&call.app, &model, None)?;
    Ok(status(format!("Model \"{model}\" unregistered"), true))
}

/// `DELETE /models/{model}/{version}`.
pub async fn unregister_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    management::allowed(&call)?;
    let number = version::find(&call.app, &model, &version)?.version;
    management::unload(&call.app, &model, Some(number))?;
    Ok(status(format!("Model \"{model}\" unregistered"), true))
}
