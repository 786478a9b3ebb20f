//! Registering and unregistering models, which TorchServe and KServe share.

use std::path::{Component, Path};
use std::sync::{Arc, PoisonError};

use tracing::{info, warn};

use crate::app::App;
use crate::call::Call;
use crate::error::{Kind, Problem, Result};

/// Checks that a request may change models: the server was started with `--model-store`, and no
/// other web site sends the request. (On an address that others reach, `--model-store` needs a
/// key.)
///
/// # Errors
/// When it may not.
pub fn allowed(call: &Call) -> Result<()> {
    let app = &call.app;
    match app.access.management {
        true => app.sites.check_management(call.uri.authority().map(|a| a.as_str()), &call.headers),
        false => {
            let message = "models cannot be changed here; start the server with --model-store DIR";
            Err(Problem::new(Kind::Forbidden, message))
        }
    }
}

/// The path of a folder in the model store.
///
/// # Errors
/// When the path leads out of the store, or there is no store.
fn in_store(app: &App, folder: &str) -> Result<String> {
    let store = app
        .store
        .as_ref()
        .ok_or_else(|| Problem::new(Kind::Forbidden, "there is no model store"))?;
    let shown: String = folder.chars().take(200).collect();
    let outside = || {
        let message =
            format!("`{shown}` is not a folder in the model store (--model-store); name one");
        Problem { param: Some("url".into()), ..Problem::invalid(message) }
    };
    let path = Path::new(folder);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if folder.is_empty() || folder.contains('\0') || !plain {
        return Err(outside());
    }
    let found = store.join(path).canonicalize().map_err(|_| outside())?;
    // A link may lead out.
    if !found.starts_with(store) || !found.is_dir() {
        return Err(outside());
    }
    found.to_str().map(str::to_string).ok_or_else(outside)
}

/// Registers a folder of the store as a version of `name`. A folder of numbered folders becomes
/// several versions.
///
/// # Errors
/// When the folder is not in the store, or cannot be opened. Then nothing changes.
pub async fn register(app: &Arc<App>, name: &str, folder: &str) -> Result<Vec<u64>> {
    let source = in_store(app, folder)?;
    let (app, name) = (Arc::clone(app), name.to_string());
    blocking(move || {
        let versions = app.models.load(&name, &source, true);
        let versions =
            versions.map_err(|problem| without_folders(&app, &name, &source, problem))?;
        info!(model = name, folder = source, ?versions, "model registered");
        Ok(versions)
    })
    .await
}

/// Opens a model again from where it came from. A model that was unloaded, or never loaded, comes
/// from the folder of the command line, or from the store's folder with its name.
///
/// # Errors
/// When there is no such model, or it cannot be opened. Then the loaded versions stay.
pub async fn reload(app: &Arc<App>, name: &str) -> Result<Vec<u64>> {
    let (app, name) = (Arc::clone(app), app.models.resolve(name));
    blocking(move || {
        let source = source(&app, &name)?;
        let folder = Path::new(&source);
        // The error would name what lies next to a missing folder, which clients must not learn.
        if folder.is_absolute() && !folder.exists() {
            let message = format!("the model `{name}` cannot be loaded: its folder is gone");
            return Err(Problem::invalid(message));
        }
        let versions = app.models.load(&name, &source, false);
        let versions =
            versions.map_err(|problem| without_folders(&app, &name, &source, problem))?;
        info!(model = name, ?versions, "model loaded");
        Ok(versions)
    })
    .await
}

/// The folder or hub id that a model is loaded from.
fn source(app: &App, name: &str) -> Result<String> {
    let missing = match app.models.versions(name) {
        Ok(listed) => return Ok(listed.source),
        Err(missing) => missing,
    };
    let known = app.known.lock().unwrap_or_else(PoisonError::into_inner);
    match known.iter().find(|(known, _)| known == name) {
        Some((_, source)) => Ok(source.clone()),
        None => in_store(app, name).map_err(|_| missing),
    }
}

/// Removes a model or one of its versions.
///
/// # Errors
/// As [`Registry::unload`](crate::registry::Registry::unload).
pub fn unload(app: &App, name: &str, version: Option<u64>) -> Result<()> {
    app.models.unload(name, version)?;
    info!(model = name, version, "model unregistered");
    Ok(())
}

/// A problem as clients may read it. It names files by their place in the store or in the model's
/// folder, and the log gets the whole path.
fn without_folders(app: &App, name: &str, source: &str, mut problem: Problem) -> Problem {
    let detail = problem.message.clone();
    if let Some(store) = app.store.as_ref().and_then(|store| store.to_str()) {
        problem.message = problem.message.replace(&format!("{store}/"), "");
    }
    if Path::new(source).is_absolute() || Path::new(source).exists() {
        problem.message = problem.message.replace(source, name);
    }
    if problem.message != detail {
        warn!(error = detail, "model not loaded");
    }
    problem
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let crashed = |_| Problem::new(Kind::Internal, "opening the model crashed, which is a bug");
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}
