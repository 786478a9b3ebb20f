//! Registering and unregistering models, as TorchServe's and KServe's paths share it.

use std::path::{Component, Path};
use std::sync::{Arc, PoisonError};

use serde_json::json;

use crate::app::App;
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::log::Level;

/// Checks that models may be changed here at all: the server was started with `--model-store`,
/// which it refuses without a key on an address that others reach; and that no other web site asks
/// for it.
///
/// # Errors
/// When they may not.
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

/// A folder in the model store, and nothing outside it.
///
/// # Errors
/// When the path leaves the store, or there is none.
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

/// Registers a folder of the store as a version of `name`, or as several if its folders are
/// numbered.
///
/// # Errors
/// When it is not in the store, or cannot be opened: then nothing changes.
pub async fn register(app: &Arc<App>, name: &str, folder: &str) -> Result<Vec<u64>> {
    let source = in_store(app, folder)?;
    let (app, name) = (Arc::clone(app), name.to_string());
    blocking(move || {
        let versions = app.models.load(&name, &source, true);
        let versions = versions.map_err(|problem| told(&app, &name, &source, problem))?;
        let fields = json!({"model": name, "folder": source, "versions": versions});
        app.log.event(Level::Info, "model registered", fields);
        Ok(versions)
    })
    .await
}

/// Opens a model again from where it came from; one that was unloaded, or never loaded, from the
/// command line's folder or the store's folder of its name.
///
/// # Errors
/// When there is none, or it cannot be opened: then what was there goes on.
pub async fn reload(app: &Arc<App>, name: &str) -> Result<Vec<u64>> {
    let (app, name) = (Arc::clone(app), app.models.resolve(name));
    blocking(move || {
        let source = source(&app, &name)?;
        let folder = Path::new(&source);
        // What stands beside a folder that is gone is told on the command line, and to nobody here.
        if folder.is_absolute() && !folder.exists() {
            let message = format!("the model `{name}` cannot be loaded: its folder is gone");
            return Err(Problem::invalid(message));
        }
        let versions = app.models.load(&name, &source, false);
        let versions = versions.map_err(|problem| told(&app, &name, &source, problem))?;
        app.log.event(Level::Info, "model loaded", json!({"model": name, "versions": versions}));
        Ok(versions)
    })
    .await
}

/// What a model is loaded from.
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

/// Takes a model or one of its versions out.
///
/// # Errors
/// As [`Registry::unload`](crate::registry::Registry::unload).
pub fn unload(app: &App, name: &str, version: Option<u64>) -> Result<()> {
    app.models.unload(name, version)?;
    app.log.event(Level::Info, "model unregistered", json!({"model": name, "version": version}));
    Ok(())
}

/// A problem as others may read it: files are named as they lie in the store, or in the model's
/// folder, not where that is.
fn told(app: &App, name: &str, source: &str, mut problem: Problem) -> Problem {
    let detail = problem.message.clone();
    if let Some(store) = app.store.as_ref().and_then(|store| store.to_str()) {
        problem.message = problem.message.replace(&format!("{store}/"), "");
    }
    if Path::new(source).is_absolute() || Path::new(source).exists() {
        problem.message = problem.message.replace(source, name);
    }
    if problem.message != detail {
        app.log.event(Level::Warn, "model not loaded", json!({"error": detail}));
    }
    problem
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let crashed = |_| Problem::new(Kind::Internal, "opening the model crashed, which is a bug");
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}
