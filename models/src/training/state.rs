//! Saving and resuming a run: `checkpoint-STEP` folders, each a model folder with
//! `trainer_state.json` and `optimizer.safetensors` beside the model's files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gradus_nn::GradScaler;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Recipe, Task, Trainer};
use crate::{BertConfig, Error, Result, Tokenizer, files, save_folder};

const STATE: &str = "trainer_state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const PREFIX: &str = "checkpoint-";

#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    recipe: Recipe,
    /// Of a run in f16; see `GradScaler::state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_scale: Option<[f64; 3]>,
}

impl<T: Task> Trainer<T> {
    /// Saves the model and all that resuming needs as `out/checkpoint-STEP`. The folder is written
    /// under another name and renamed when complete: one that is there is whole.
    pub fn save_checkpoint(
        &self,
        out: &Path,
        config: &BertConfig,
        tokenizer: &Tokenizer,
    ) -> Result<PathBuf> {
        let folder = out.join(format!("{PREFIX}{}", self.step));
        let aside = out.join(format!(".{PREFIX}{}.part", self.step));
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Io { path, source }
        };
        let written = (|| {
            if aside.exists() {
                std::fs::remove_dir_all(&aside).map_err(io(&aside))?;
            }
            save_folder(&aside, config, tokenizer, &self.store)?;
            safetensors::save(aside.join(OPTIMIZER), self.optimizer.state()?, None)?;
            let loss_scale = self.scaler.as_ref().map(GradScaler::state);
            let state = State { step: self.step, recipe: self.recipe.clone(), loss_scale };
            let json = serde_json::to_vec_pretty(&state)
                .map_err(|e| Error::Input(format!("the state cannot be written: {e}")))?;
            files::write_atomic(&aside.join(STATE), &json)?;
            if folder.exists() {
                std::fs::remove_dir_all(&folder).map_err(io(&folder))?;
            }
            std::fs::rename(&aside, &folder).map_err(io(&folder))
        })();
        if written.is_err() {
            // Best effort: the first error is the one worth reporting.
            let _ = std::fs::remove_dir_all(&aside);
        }
        written.map(|()| folder)
    }

    /// Goes on where `checkpoint` (a `checkpoint-STEP` folder) stopped. The store must already hold
    /// its weights, and the recipe must be that of the saved run.
    pub fn resume(&mut self, checkpoint: &Path) -> Result<()> {
        let path = checkpoint.join(STATE);
        let fail = |message: String| Error::Checkpoint { path: path.clone(), message };
        let state: State = serde_json::from_slice(&files::read(&path)?)
            .map_err(|e| fail(format!("is no state of a training run: {e}")))?;
        if state.recipe != self.recipe {
            return Err(fail(format!(
                "the run was made with another recipe; resume with the same flags. saved: {}; now: {}",
                serde_json::to_string(&state.recipe).unwrap_or_default(),
                serde_json::to_string(&self.recipe).unwrap_or_default()
            )));
        }
        let file = SafeTensors::open(checkpoint.join(OPTIMIZER))?;
        let mut tensors = HashMap::new();
        for name in file.names() {
            let tensor = file.tensor(&name)?;
            tensors.insert(name, tensor);
        }
        self.optimizer.load_state(&tensors)?;
        if let (Some(scaler), Some(state)) = (&mut self.scaler, state.loss_scale) {
            scaler.load_state(state).map_err(|e| fail(e.to_string()))?;
        }
        self.step = state.step;
        self.epoch = None;
        Ok(())
    }
}

/// The `checkpoint-STEP` folders in `out`, oldest first.
fn checkpoints(out: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries =
        std::fs::read_dir(out).map_err(|source| Error::Io { path: out.to_path_buf(), source })?;
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let step = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            entry.path().join(STATE).is_file().then(|| (step, entry.path()))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// The checkpoint to resume from: `dir` itself if it is one, else the newest in it.
pub fn latest_checkpoint(dir: &Path) -> Result<PathBuf> {
    if dir.join(STATE).is_file() {
        return Ok(dir.to_path_buf());
    }
    checkpoints(dir)?.pop().map(|(_, path)| path).ok_or_else(|| Error::Checkpoint {
        path: dir.to_path_buf(),
        message: format!(
            "holds no {PREFIX}STEP folder to resume from; a run saves them with --save-every, at \
             Ctrl-C and at its end"
        ),
    })
}

/// Removes all but the newest `keep` checkpoints in `out`.
pub fn remove_old_checkpoints(out: &Path, keep: usize) -> Result<()> {
    let mut found = checkpoints(out)?;
    let old = found.len().saturating_sub(keep);
    for (_, path) in found.drain(..old) {
        std::fs::remove_dir_all(&path).map_err(|source| Error::Io { path, source })?;
    }
    Ok(())
}
