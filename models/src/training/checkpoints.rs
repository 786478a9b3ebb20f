//! Finds and removes the `checkpoint-STEP` folders of a run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::state::{OPTIMIZER, STATE};
use crate::{Error, Result, files};

/// How the name of a checkpoint's folder begins; the step follows.
pub(super) const PREFIX: &str = "checkpoint-";

/// Removes a folder, where there is one.
pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

/// A `checkpoint-STEP` folder.
struct Found {
    step: u64,
    path: PathBuf,
    /// The id of its run; `None` for checkpoints of older versions.
    run: Option<String>,
    /// The reason why its state cannot be read.
    damaged: Option<String>,
}

/// The checkpoints in `out`, oldest first.
fn checkpoints(out: &Path) -> Result<Vec<Found>> {
    let entries = match std::fs::read_dir(out) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io(out, e))?,
    };
    let mut found: Vec<Found> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let step = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            let (state, damaged) = match std::fs::read(entry.path().join(STATE)) {
                Ok(state) => match files::parse_json::<Value>(&state) {
                    Ok(state) => (state, None),
                    Err(e) => (Value::Null, Some(e.to_string())),
                },
                // A folder of this name without an optimiser's state belongs to another program.
                Err(_) if !entry.path().join(OPTIMIZER).is_file() => return None,
                Err(e) => (Value::Null, Some(e.to_string())),
            };
            let run = state["run"]["id"].as_str().map(str::to_string);
            Some(Found { step, path: entry.path(), run, damaged })
        })
        .collect();
    found.sort_by_key(|found| found.step);
    Ok(found)
}

/// Whether a folder holds checkpoints of any run.
///
/// # Errors
/// When it cannot be read.
pub fn has_checkpoints(out: &Path) -> Result<bool> {
    Ok(!checkpoints(out)?.is_empty())
}

/// The checkpoint to resume from: `dir` itself if it is one, else the newest checkpoint of `run` in
/// it.
///
/// # Errors
/// When there is none.
pub fn latest_checkpoint(dir: &Path, run: Option<&str>) -> Result<PathBuf> {
    if dir.join(STATE).is_file() {
        return Ok(dir.to_path_buf());
    }
    let mut found = checkpoints(dir)?;
    let all = found.len();
    let damaged =
        found.last().and_then(|last| Some((last.path.join(STATE), last.damaged.clone()?)));
    found.retain(|found| found.run.as_deref() == run && found.damaged.is_none());
    // Without its state a checkpoint of this run looks like one of another run.
    if let Some((path, why)) = damaged {
        let older = found
            .last()
            .map(|older| format!(", or name the one before it, {}", older.path.display()));
        let older = older.unwrap_or_default();
        let message = format!("is damaged ({why}); remove its folder to go on without it{older}");
        return Err(Error::Checkpoint { path, message });
    }
    let others = all - found.len();
    let newest = found.pop().map(|found| found.path);
    newest.ok_or_else(|| Error::NoCheckpoint { path: dir.to_path_buf(), others })
}

/// Removes from `out` all checkpoints of the run but the newest `keep`.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_old_checkpoints(out: &Path, run: Option<&str>, keep: usize) -> Result<()> {
    let mut found = checkpoints(out)?;
    found.retain(|found| found.run.as_deref() == run);
    let old = found.len().saturating_sub(keep);
    found.iter().take(old).try_for_each(|found| remove_folder(&found.path))
}

/// Removes from `out` the checkpoints that would mislead a run which begins or goes on after
/// `step`: those of other runs, and its own after `step`, which would be its newest.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_foreign_checkpoints(out: &Path, run: Option<&str>, step: u64) -> Result<()> {
    let mut found = checkpoints(out)?;
    found.retain(|found| found.run.as_deref() != run || found.step > step);
    found.iter().try_for_each(|found| remove_folder(&found.path))
}
