//! The repository: models are listed, loaded again and unloaded.

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::which::Which;
use crate::answer::small_json;
use crate::call::Call;
use crate::error::{Problem, Result};
use crate::protocols::shared::management;

/// `POST /v2/repository/index`.
pub async fn index(call: Call) -> Result<Response> {
    if !call.body.is_empty() {
        call.fields().await?.bool("ready")?;
    }
    let mut index = Vec::new();
    for listed in call.app.models.list() {
        for served in listed.versions {
            index.push(json!({
                "name": served.name, "version": served.version.to_string(), "state": "READY", "reason": "",
            }));
        }
    }
    Ok(small_json(&Value::Array(index)))
}

/// `POST …/load`.
pub async fn load(Path(which): Path<Which>, call: Call) -> Result<Response> {
    management::allowed(&call)?;
    if !call.body.is_empty() {
        let mut fields = call.fields().await?;
        let parameters = fields.object("parameters")?;
        if parameters.keys().any(|key| key == "config" || key.starts_with("file:")) {
            let message =
                "has a model's files or configuration; models are loaded from --model-store only";
            return Err(Problem::field("parameters", message));
        }
    }
    management::reload(&call.app, &which.model).await?;
    Ok(small_json(&Value::Object(Map::new())))
}

/// `POST …/unload`.
pub async fn unload(Path(which): Path<Which>, call: Call) -> Result<Response> {
    management::allowed(&call)?;
    if !call.body.is_empty() {
        // No model depends on another, so `unload_dependents` changes nothing.
        call.fields().await?.object("parameters")?;
    }
    management::unload(&call.app, &which.model, None)?;
    Ok(small_json(&Value::Object(Map::new())))
}
