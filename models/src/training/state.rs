//! Saving and resuming a run: `checkpoint-STEP` folders, each a model folder with
//! `trainer_state.json` and `optimizer.safetensors` beside the model's files, and
//! `best.safetensors` where the best model so far is another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gradus_nn::{GradScaler, Parameter};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::best::Best;
use super::{Recipe, Task, Trainer};
use crate::data::Fingerprint;
use crate::evaluation::Evaluation;
use crate::{BertConfig, Error, Result, Tokenizer, files, save_folder};

const STATE: &str = "trainer_state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const PREFIX: &str = "checkpoint-";

/// What a checkpoint belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMark {
    /// The run: another in the same folder has another.
    pub id: String,
    /// What it learns from.
    pub data: Fingerprint,
}

#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    recipe: Value,
    /// Of a run in f16; see `GradScaler::state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_scale: Option<[f64; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunMark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<BestState>,
}

#[derive(Serialize, Deserialize)]
struct BestState {
    step: u64,
    stale: usize,
    result: Evaluation,
}

/// What resuming found that is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The step after which the run goes on.
    pub step: u64,
    /// Steps of the whole run when it was saved: another number now means that it is prolonged, or
    /// cut short.
    pub planned: u64,
    /// Whether the test set has changed, which the training does not see.
    pub test_changed: bool,
}

impl<T: Task> Trainer<T> {
    /// Says what run this is. Its checkpoints carry the mark, and [`resume`](Trainer::resume)
    /// refuses those of another run, and of other data.
    pub fn set_run(&mut self, run: RunMark) {
        self.run = Some(run);
    }

    /// The name of the run; see [`set_run`](Trainer::set_run).
    pub fn run_id(&self) -> Option<&str> {
        self.run.as_ref().map(|run| run.id.as_str())
    }

    /// Saves the model and all that resuming needs as `out/checkpoint-STEP`. The folder is written
    /// under another name and renamed when complete: one that is there is whole.
    ///
    /// # Errors
    /// When a file cannot be written; nothing is left behind.
    pub fn save_checkpoint(
        &self,
        out: &Path,
        config: &BertConfig,
        tokenizer: &Tokenizer,
    ) -> Result<PathBuf> {
        let folder = out.join(format!("{PREFIX}{}", self.step));
        let aside = out.join(format!(".{PREFIX}{}.part", self.step));
        let written = (|| {
            remove_folder(&aside)?;
            save_folder(&aside, config, tokenizer, &self.store)?;
            safetensors::save(aside.join(OPTIMIZER), self.optimizer.state()?, None)?;
            if let Some(best) = self.best.as_ref().filter(|best| best.step != self.step) {
                let named =
                    |(p, value): &(Parameter, Tensor)| (p.name().to_string(), value.clone());
                safetensors::save(aside.join(BEST), best.values.iter().map(named), None)?;
            }
            let json = serde_json::to_vec_pretty(&self.state())
                .map_err(|e| Error::Input(format!("the state cannot be written: {e}")))?;
            files::write_atomic(&aside.join(STATE), &json)?;
            remove_folder(&folder)?;
            std::fs::rename(&aside, &folder).map_err(|e| Error::io(&folder, e))
        })();
        if written.is_err() {
            // Best effort: the first error is the one worth reporting.
            let _ = std::fs::remove_dir_all(&aside);
        }
        written.map(|()| folder)
    }

    fn state(&self) -> State {
        let best =
            |best: &Best| BestState { step: best.step, stale: best.stale, result: best.result };
        State {
            step: self.step,
            recipe: Value::Object(fields(&self.recipe)),
            loss_scale: self.scaler.as_ref().map(GradScaler::state),
            run: self.run.clone(),
            best: self.best.as_ref().map(best),
        }
    }

    /// Goes on where `checkpoint` (a `checkpoint-STEP` folder) stopped. The store must already hold
    /// its weights. The recipe must be that of the saved run, but for the number of epochs or
    /// steps, by which a run is prolonged.
    ///
    /// # Errors
    /// When the checkpoint is of another recipe (each field is named), run or data, is damaged, or
    /// when fewer steps are asked for than it has done.
    pub fn resume(&mut self, checkpoint: &Path) -> Result<Resumed> {
        let path = checkpoint.join(STATE);
        let fail = |message: String| Error::Checkpoint { path: path.clone(), message };
        let state: State = serde_json::from_slice(&files::read(&path)?)
            .map_err(|e| fail(format!("is no state of a training run: {e}")))?;
        let saved: Recipe = serde_json::from_value(state.recipe.clone())
            .map_err(|e| fail(format!("is no state of a training run: recipe: {e}")))?;
        check_recipe(&state.recipe, &self.recipe).map_err(fail)?;
        let test_changed = self.check_run(&state).map_err(fail)?;
        if state.step > self.total {
            return Err(fail(format!(
                "{} steps are done already; {} are asked for",
                state.step, self.total
            )));
        }
        self.load_scale(&state).map_err(fail)?;
        let file = SafeTensors::open(checkpoint.join(OPTIMIZER))?;
        let mut tensors = HashMap::new();
        for name in file.names() {
            let tensor = file.tensor(&name)?;
            tensors.insert(name, tensor);
        }
        self.optimizer.load_state(&tensors)?;
        self.step = state.step;
        self.epoch = None;
        self.best = state.best.map(|best| self.load_best(checkpoint, best)).transpose()?;
        Ok(Resumed {
            step: self.step,
            planned: saved.total_steps(self.steps_per_epoch),
            test_changed,
        })
    }

    /// The loss scale of a run in f16.
    fn load_scale(&mut self, state: &State) -> std::result::Result<(), String> {
        match (&mut self.scaler, state.loss_scale) {
            (Some(scaler), Some(saved)) => scaler.load_state(saved).map_err(|e| e.to_string()),
            (None, None) => Ok(()),
            (Some(_), None) => {
                Err("has no `loss_scale`, without which a run in f16 does not go on as it was"
                    .into())
            }
            (None, Some(_)) => Err(format!(
                "has a `loss_scale`: it is of a run in f16, and this one is in {}",
                self.recipe.precision
            )),
        }
    }

    fn load_best(&self, checkpoint: &Path, saved: BestState) -> Result<Best> {
        let parameters = self.store.parameters();
        let values = if saved.step == self.step {
            parameters.into_iter().map(|p| (p.clone(), p.tensor())).collect()
        } else {
            let file = SafeTensors::open(checkpoint.join(BEST))?;
            let value = |p: Parameter| {
                let value = file.tensor(p.name())?.to_device(self.store.device())?;
                if (value.shape(), value.dtype()) != (p.shape(), p.dtype()) {
                    let message = format!(
                        "`{}` is {:?} {}, and the model's {:?} {}; it is of another model",
                        p.name(),
                        value.shape(),
                        value.dtype(),
                        p.shape(),
                        p.dtype()
                    );
                    return Err(Error::Checkpoint { path: checkpoint.join(BEST), message });
                }
                Ok((p, value))
            };
            parameters.into_iter().map(value).collect::<Result<_>>()?
        };
        Ok(Best { result: saved.result, step: saved.step, stale: saved.stale, values })
    }

    /// Checks that run and data are those of the saved state; whether only the test set has
    /// changed.
    fn check_run(&self, state: &State) -> std::result::Result<bool, String> {
        // Without a mark there is nothing to compare: an older checkpoint, or a caller who sets
        // none.
        let (Some(saved), Some(run)) = (&state.run, &self.run) else { return Ok(false) };
        if saved.id != run.id {
            return Err(format!("belongs to another run ({}, not {})", saved.id, run.id));
        }
        let (was, is) = (&saved.data, &run.data);
        if was.labels != is.labels {
            return Err(format!(
                "the labels of the data have changed since: {}; begin a new run",
                changed_labels(&was.labels, &is.labels)
            ));
        }
        for (name, was, is) in [
            ("training", Some(&was.train), Some(&is.train)),
            ("dev", was.dev.as_ref(), is.dev.as_ref()),
        ] {
            if was != is {
                return Err(format!(
                    "the {name} set has changed since; bring back the old one, or begin a new run from the trained \
                     weights"
                ));
            }
        }
        Ok(was.test != is.test)
    }
}

/// What differs between two lists of labels.
fn changed_labels(was: &[String], is: &[String]) -> String {
    let without = |all: &[String], others: &[String]| {
        let rest: Vec<&str> =
            all.iter().filter(|label| !others.contains(label)).map(String::as_str).collect();
        let more = if rest.len() > 5 { ", …" } else { "" };
        (rest.len(), format!("{}{more}", rest[..rest.len().min(5)].join(", ")))
    };
    match (without(was, is), without(is, was)) {
        ((0, _), (0, _)) => "their order is another".into(),
        ((_, gone), (0, _)) => format!("{gone} is gone"),
        ((0, _), (_, new)) => format!("{new} is new"),
        ((_, gone), (_, new)) => format!("{gone} is gone, {new} is new"),
    }
}

/// The fields of a recipe, read back from its text: numbers compare as those of a file do.
fn fields(recipe: &Recipe) -> Map<String, Value> {
    let text = serde_json::to_string(recipe).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Checks that a recipe is the saved one, but for its length.
fn check_recipe(saved: &Value, recipe: &Recipe) -> std::result::Result<(), String> {
    let show = |value: &Value| match value {
        Value::Null => "not set".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let changed: Vec<String> = fields(recipe)
        .iter()
        .filter(|(name, _)| !["epochs", "steps"].contains(&name.as_str()))
        // A field that an older version did not save was not there to be changed.
        .filter_map(|(name, now)| Some((name, saved.get(name)?, now)))
        .filter(|(_, was, now)| was != now)
        .map(|(name, was, now)| {
            format!("--{} was {}, and is {}", name.replace('_', "-"), show(was), show(now))
        })
        .collect();
    match changed.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the run was made with another recipe: {}; resume with the same flags, or begin a new run",
            changed.join("; ")
        )),
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

/// A `checkpoint-STEP` folder.
struct Found {
    step: u64,
    path: PathBuf,
    /// The run that it belongs to; `None` for those of older versions.
    run: Option<String>,
    /// Why its state cannot be read.
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
                Ok(state) => match serde_json::from_slice::<Value>(&state) {
                    Ok(state) => (state, None),
                    Err(e) => (Value::Null, Some(e.to_string())),
                },
                // A folder of this name without an optimiser's state is somebody else's.
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

/// Whether a folder holds checkpoints, of any run.
///
/// # Errors
/// When it cannot be read.
pub fn has_checkpoints(out: &Path) -> Result<bool> {
    Ok(!checkpoints(out)?.is_empty())
}

/// The checkpoint to resume from: `dir` itself if it is one, else the newest in it of the run
/// `run`.
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
    // Passed over, it would be taken for one of another run.
    if let Some((path, why)) = damaged {
        let older = found
            .last()
            .map(|older| format!(", or name the one before it, {}", older.path.display()));
        let older = older.unwrap_or_default();
        let message = format!("is damaged ({why}); remove its folder to go on without it{older}");
        return Err(Error::Checkpoint { path, message });
    }
    let others = match all - found.len() {
        0 => String::new(),
        n => format!(" (but {n} of another run)"),
    };
    found.pop().map(|found| found.path).ok_or_else(|| Error::Checkpoint {
        path: dir.to_path_buf(),
        message: format!(
            "holds no {PREFIX}STEP folder to resume from{others}; a run saves them with --save-every, at \
             Ctrl-C and at its end"
        ),
    })
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

/// Removes from `out` what a run that begins, or goes on, after `step` does not follow: checkpoints
/// of other runs, and those of its own that lie ahead, which would otherwise be taken for its
/// newest.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_foreign_checkpoints(out: &Path, run: Option<&str>, step: u64) -> Result<()> {
    let mut found = checkpoints(out)?;
    found.retain(|found| found.run.as_deref() != run || found.step > step);
    found.iter().try_for_each(|found| remove_folder(&found.path))
}
