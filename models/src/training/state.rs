//! Saving and resuming a run. A `checkpoint-STEP` folder is a model folder with the optimiser's
//! state (`optimizer.safetensors`) and `trainer_state.json`; and with the weights of the best model
//! so far (`best.safetensors`) where those differ from the model's; with the moving averages
//! (`ema.safetensors`) of a run that has them; and with the parameters that a task trains beside the
//! model (`beside.safetensors`). The state has a hash of every other file, so that a file of another
//! step, or one that was cut short, is noticed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use gradus_nn::Parameter;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use gradus_tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::best::Best;
use super::checkpoints::{PREFIX, remove_folder};
use super::guard::GuardState;
use super::order::Place;
use super::{Recipe, Task, Trainer};
use crate::adapter::{Adaptation, save_adapter};
use crate::data::Fingerprint;
use crate::error::Change;
use crate::evaluation::Evaluation;
use crate::{Base, EncoderConfig, Error, Result, Tokenizer, files, save_folder};

/// The files of a checkpoint's folder besides the model's.
pub(super) const STATE: &str = "trainer_state.json";
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const EMA: &str = "ema.safetensors";
const BESIDE: &str = "beside.safetensors";

/// The form of a checkpoint. It changes when a checkpoint of an older form can no longer be resumed
/// to the same bits.
const FORMAT: u32 = 2;

/// The run and the data that a checkpoint belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMark {
    /// The id of the run; another run in the same folder has another.
    pub id: String,
    /// The data of the run.
    pub data: Fingerprint,
}

/// `trainer_state.json`.
#[derive(Serialize, Deserialize)]
struct State {
    /// [`FORMAT`]; checkpoints of version 0.1 have none.
    #[serde(default)]
    format: Option<u32>,
    step: u64,
    /// The place in the order of the examples, of a task with several windows; otherwise the step
    /// tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    recipe: Value,
    /// The hash of every other file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hashes: BTreeMap<String, String>,
    /// Of a run in f16; see `GradScaler::state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_scale: Option<[f64; 3]>,
    /// Skipped steps; none in checkpoints of version 0.1.
    #[serde(default)]
    guard: GuardState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunMark>,
    /// The base of an adapter; the checkpoint has no weights of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Base>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<BestState>,
}

#[derive(Serialize, Deserialize)]
struct BestState {
    step: u64,
    stale: usize,
    result: Evaluation,
}

/// What a resumed run should tell a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The step after which the run continues.
    pub step: u64,
    /// Steps of the whole run when it was saved: another number now means that it is prolonged, or
    /// cut short.
    pub planned: u64,
    /// Whether the test set has changed; the training does not use it.
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

    /// Says on which base an adapter is trained: the adapter names it, and
    /// [`resume`](Trainer::resume) refuses another.
    pub fn set_base(&mut self, base: Base) {
        self.base = Some(base);
    }

    /// Writes the model as it is now: a folder as [`save_folder`] writes it, or a PEFT adapter where
    /// the recipe has low-rank parts.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_model(
        &self,
        folder: &Path,
        config: &EncoderConfig,
        tokenizer: &Tokenizer,
    ) -> Result<()> {
        self.task().write_files(folder)?;
        let Some(lora) = &self.recipe.lora else {
            return save_folder(folder, config, tokenizer, &self.store);
        };
        let base = self.base.as_ref().map(|base| base.name.as_str());
        save_adapter(folder, config, tokenizer, &Adaptation { store: &self.store, lora, base })
    }

    /// Saves the model and all that resuming needs as `out/checkpoint-STEP`. The folder is written
    /// under another name and renamed when it is complete, so a folder of this name is always
    /// whole. Of several ranks only rank 0 writes, but all must call this.
    ///
    /// # Errors
    /// When a file cannot be written; then nothing is left behind.
    pub fn save_checkpoint(
        &self,
        out: &Path,
        config: &EncoderConfig,
        tokenizer: &Tokenizer,
    ) -> Result<PathBuf> {
        let folder = out.join(format!("{PREFIX}{}", self.step));
        let optimizer = self.optimizer_state()?;
        if !self.leads() {
            return Ok(folder);
        }
        let aside = out.join(format!(".{PREFIX}{}.part", self.step));
        let written =
            self.write_checkpoint(&aside, optimizer, (config, tokenizer)).and_then(|()| {
                remove_folder(&folder)?;
                std::fs::rename(&aside, &folder).map_err(|e| Error::io(&folder, e))
            });
        if written.is_err() {
            // Best effort: the first error is the one worth reporting.
            let _ = std::fs::remove_dir_all(&aside);
        }
        written.map(|()| folder)
    }

    /// The state of the optimiser; on rank 0 the parts of all ranks.
    fn optimizer_state(&self) -> Result<Vec<(String, Tensor)>> {
        let own = self.optimizer.state()?;
        let Some(ranks) = self.shards() else { return Ok(own) };
        let groups = self.optimizer.groups().iter();
        let parameters: Vec<Parameter> = groups.flat_map(|group| group.params.clone()).collect();
        ranks.gather_state(own, &parameters)
    }

    fn write_checkpoint(
        &self,
        folder: &Path,
        optimizer: Vec<(String, Tensor)>,
        (config, tokenizer): (&EncoderConfig, &Tokenizer),
    ) -> Result<()> {
        remove_folder(folder)?;
        self.save_model(folder, config, tokenizer)?;
        safetensors::save(folder.join(OPTIMIZER), optimizer, None)?;
        if let Some(ema) = &self.ema {
            safetensors::save(folder.join(EMA), ema.state(), None)?;
        }
        if let Some(store) = self.task().beside() {
            let named = |p: Parameter| (p.name().to_string(), p.tensor());
            safetensors::save(
                folder.join(BESIDE),
                store.parameters().into_iter().map(named),
                None,
            )?;
        }
        if let Some(best) = self.best.as_ref().filter(|best| !self.has_weights_of(best.step)) {
            let named = |(p, value): &(Parameter, Tensor)| (p.name().to_string(), value.clone());
            safetensors::save(folder.join(BEST), best.values.iter().map(named), None)?;
        }
        let mut hashes = BTreeMap::new();
        hash_all(folder, "", &mut hashes)?;
        let json = serde_json::to_vec_pretty(&self.state(hashes))
            .map_err(|e| Error::Input(format!("the state cannot be written: {e}")))?;
        files::write_atomic(&folder.join(STATE), &json)
    }

    /// Whether the model has the weights of the best model at this step.
    fn has_weights_of(&self, step: u64) -> bool {
        step == self.step && self.ema.is_none()
    }

    fn state(&self, hashes: BTreeMap<String, String>) -> State {
        let best = |best: &Best| BestState {
            step: best.step,
            stale: best.stale,
            result: best.result.clone(),
        };
        State {
            format: Some(FORMAT),
            step: self.step,
            place: (self.task().windows() > 1).then_some(self.order.place),
            recipe: Value::Object(fields(&self.recipe)),
            hashes,
            loss_scale: self.guard.scales.then(|| self.guard.scaler.state()),
            guard: self.guard.state(),
            run: self.run.clone(),
            base: self.base.clone(),
            best: self.best.as_ref().map(best),
        }
    }

    /// Continues the run from `checkpoint`, a `checkpoint-STEP` folder. The store must already hold
    /// its weights. The recipe must be that of the saved run, except for the number of epochs or
    /// steps: more of them prolong the run.
    ///
    /// # Errors
    /// [`Error::OtherRecipe`] with every field that differs; [`Error::Checkpoint`] when the
    /// checkpoint is of another run or data, is damaged, or has done more steps than are asked for.
    pub fn resume(&mut self, checkpoint: &Path) -> Result<Resumed> {
        let path = checkpoint.join(STATE);
        let fail = |message: String| Error::Checkpoint { path: path.clone(), message };
        let state: State = files::parse_json(&files::read(&path)?)
            .map_err(|e| fail(format!("is not the state of a training run: {e}")))?;
        let saved: Recipe = serde_json::from_value(state.recipe.clone())
            .map_err(|e| fail(format!("is not the state of a training run: recipe: {e}")))?;
        if state.format != Some(FORMAT) {
            let format = state.format.map_or("of version 0.1".into(), |format| format.to_string());
            return Err(fail(format!(
                "has the format {format}, and this version of Gradus reads format {FORMAT}: resume it \
                 with the version that wrote it, or begin a new run from its weights"
            )));
        }
        let changes = changes(&state.recipe, &self.recipe);
        if !changes.is_empty() {
            return Err(Error::OtherRecipe { path, changes });
        }
        let test_changed = self.check_run(&state).map_err(fail)?;
        self.check_base(&state).map_err(fail)?;
        if state.step > self.total {
            return Err(fail(format!(
                "{} steps are done already, but the run asks for {}",
                state.step, self.total
            )));
        }
        check_hashes(checkpoint, &state.hashes)?;
        self.load_scale(&state).map_err(fail)?;
        self.guard.load(state.guard)?;
        let file = SafeTensors::open(checkpoint.join(OPTIMIZER))?;
        let mut tensors = HashMap::new();
        let keeps = |name: &String| self.shards().is_none_or(|ranks| ranks.keeps(name));
        for name in file.names().into_iter().filter(keeps) {
            let tensor = file.tensor(&name)?;
            tensors.insert(name, tensor);
        }
        self.optimizer.load_state(&tensors)?;
        self.step = state.step;
        let place = match (self.task().windows(), state.place) {
            (1, _) => Place::after(self.step, self.steps_per_epoch, self.recipe.accumulate),
            (_, Some(place)) => place,
            (_, None) => return Err(fail("has no `place` in the order of the examples".into())),
        };
        self.order.seek(place);
        self.load_beside(checkpoint)?;
        self.load_averages(checkpoint)?;
        self.best = state.best.map(|best| self.load_best(checkpoint, best)).transpose()?;
        Ok(Resumed {
            step: self.step,
            planned: saved.total_steps(self.steps_per_epoch),
            test_changed,
        })
    }

    /// The loss scale of a run in f16.
    fn load_scale(&mut self, state: &State) -> std::result::Result<(), String> {
        match (self.guard.scales, state.loss_scale) {
            (true, Some(saved)) => self.guard.scaler.load_state(saved).map_err(|e| e.to_string()),
            (false, None) => Ok(()),
            (true, None) => {
                Err("has no `loss_scale`, and a run in f16 cannot continue without it".into())
            }
            (false, Some(_)) => Err(format!(
                "has a `loss_scale`: it belongs to a run in f16, and this run is in {}",
                self.recipe.precision
            )),
        }
    }

    fn load_averages(&mut self, checkpoint: &Path) -> Result<()> {
        let Some(ema) = &mut self.ema else { return Ok(()) };
        let path = checkpoint.join(EMA);
        let file = SafeTensors::open(&path)?;
        let averages = ema.load_state(|name| file.tensor(name));
        averages.map_err(|e| Error::Checkpoint { path, message: format!("does not fit: {e}") })
    }

    /// The parameters beside the model; the store has those of the model already.
    fn load_beside(&self, checkpoint: &Path) -> Result<()> {
        let Some(store) = self.task().beside() else { return Ok(()) };
        let file = Parts::open(checkpoint.join(BESIDE))?;
        let device = self.store.device();
        store.parameters().iter().try_for_each(|p| Ok(p.set(file.value(p, device)?)?))
    }

    fn load_best(&self, checkpoint: &Path, saved: BestState) -> Result<Best> {
        let values = if self.has_weights_of(saved.step) {
            self.trained().map(|p| (p.clone(), p.tensor())).collect()
        } else {
            let file = Parts::open(checkpoint.join(BEST))?;
            let value = |p: &Parameter| Ok((p.clone(), file.value(p, self.store.device())?));
            self.trained().map(value).collect::<Result<_>>()?
        };
        Ok(Best { result: saved.result, step: saved.step, stale: saved.stale, values })
    }

    /// Checks that an adapter goes on with the weights of its base that it began with.
    fn check_base(&self, state: &State) -> std::result::Result<(), String> {
        match (&state.base, &self.base) {
            (Some(saved), Some(base)) if saved.hash != base.hash => Err(format!(
                "the weights of the base {} are not those that the run began with ({}); restore them",
                base.name, saved.name
            )),
            _ => Ok(()),
        }
    }

    /// Checks that run and data are those of the saved state. Returns whether the test set has
    /// changed.
    fn check_run(&self, state: &State) -> std::result::Result<bool, String> {
        // Without a mark (of an older checkpoint, or of a caller who sets none) there is nothing to
        // compare.
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
                    "the {name} set has changed since; restore the old one, or begin a new run \
                     from the trained weights"
                ));
            }
        }
        Ok(was.test != is.test)
    }
}

/// A file with a value for each of some parameters.
struct Parts {
    path: PathBuf,
    file: SafeTensors,
}

impl Parts {
    fn open(path: PathBuf) -> Result<Parts> {
        Ok(Parts { file: SafeTensors::open(&path)?, path })
    }

    fn value(&self, parameter: &Parameter, device: Device) -> Result<Tensor> {
        let value = self.file.tensor(parameter.name())?.to_device(device)?;
        parameter.check(&value).map_err(|e| Error::Checkpoint {
            path: self.path.clone(),
            message: format!("belongs to another model: {e}"),
        })?;
        Ok(value)
    }
}

/// The difference between two lists of labels, for a message.
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

/// Fields of a recipe that may change when a run is resumed: its length, and what changes no
/// result.
const FREE: [&str; 3] = ["epochs", "steps", "activation_checkpointing"];

/// Where a recipe differs from the saved one. A field that an older version did not save had its
/// default.
fn changes(saved: &Value, recipe: &Recipe) -> Vec<Change> {
    let show = |value: &Value| match value {
        Value::Null => "not set".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let default = fields(&Recipe::default());
    fields(recipe)
        .iter()
        .filter(|(name, _)| !FREE.contains(&name.as_str()))
        .filter_map(|(name, now)| Some((name, saved.get(name).or(default.get(name))?, now)))
        .filter(|(_, was, now)| was != now)
        .map(|(name, was, now)| Change { field: name.clone(), was: show(was), is: show(now) })
        .collect()
}

/// Hashes every file of a folder and of those in it, by its path from the folder.
fn hash_all(folder: &Path, below: &str, hashes: &mut BTreeMap<String, String>) -> Result<()> {
    let here = folder.join(below);
    let entries = std::fs::read_dir(&here).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    for entry in entries.map_err(|e| Error::io(&here, e))? {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let name = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
        match path.is_dir() {
            true => hash_all(folder, &name, hashes)?,
            false => drop(hashes.insert(name, files::hash(&path)?)),
        }
    }
    Ok(())
}

/// Checks that the files of a checkpoint are those that were saved with its state.
fn check_hashes(checkpoint: &Path, hashes: &BTreeMap<String, String>) -> Result<()> {
    for (name, saved) in hashes {
        let path = checkpoint.join(name);
        if files::hash(&path)? != *saved {
            let message = format!(
                "is not the file that was saved with {STATE}: it has changed since, or belongs to \
                 another step; restore it, or resume from another checkpoint"
            );
            return Err(Error::Checkpoint { path, message });
        }
    }
    Ok(())
}
