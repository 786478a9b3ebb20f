//! `--resume`: the flags of a resumed run.

use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::Error;
use gradus_models::error::Change;
use gradus_models::training::{self, Task, Trainer, latest_checkpoint};
use serde_json::Value;

use crate::flags::{TaskFlags, flag, given, is_on_disk, object, over};
use crate::folder::Record;

/// A run to continue.
pub struct Resumed {
    /// Its folder.
    pub folder: PathBuf,
    /// The `checkpoint-STEP` folder.
    pub checkpoint: PathBuf,
    /// Its id; `None` for runs of older versions.
    pub run: Option<String>,
}

impl Resumed {
    /// Tells where the run continues, and what has changed.
    pub fn tell<T: Task>(
        &self,
        shared: &SharedArgs,
        trainer: &Trainer<T>,
        found: &training::Resumed,
    ) {
        let (step, total) = (found.step, trainer.total_steps());
        note(shared, format!("resumed from {} at step {step}", self.checkpoint.display()));
        if total != found.planned {
            note(
                shared,
                format!(
                    "the run now has {total} steps instead of {}: from here on the learning rate \
                     follows step {step} of {total}",
                    found.planned
                ),
            );
        } else if step == total {
            note(
                shared,
                format!("all {total} steps are done; more --epochs or --steps prolong the run"),
            );
        }
        if found.test_changed {
            note(shared, "warning: the test set has changed since the run began");
        }
    }
}

/// The flags of the run in `dir`, overridden by those given now, which may change its length, its
/// course and its folder.
///
/// # Errors
/// When there is no such run, or a flag would make it another.
pub fn resumed<F: TaskFlags>(
    shared: &mut SharedArgs,
    given: &F,
    dir: &Path,
) -> Outcome<(F, Resumed)> {
    let found = Record::read(dir);
    let (folder, record) = found.map_err(|e| Failure::error(format!("--resume {e}")))?;
    if record.task != F::TASK {
        let (task, dir) = (&record.task, dir.display());
        return Err(Failure::usage(format!(
            "--resume {dir}: the run is one of train {task}; resume it with train {task} --resume {dir}"
        )));
    }
    let checkpoint = latest_checkpoint(dir, record.run.as_deref()).map_err(with_flags)?;
    let mut given = given.clone();
    *given.common_mut() = given.common().absolute()?;
    let mut below: F = serde_json::from_value(record.flags)?;
    // Older versions set no texts aside.
    if record.run.is_none() {
        below.common_mut().dev_fraction.get_or_insert(0.0);
    }
    refuse_changes(&given, &below)?;
    let mut flags = over(&given, &below)?;
    let common = flags.common_mut();
    if given.common().epochs.is_some() && given.common().steps.is_none() {
        common.steps = None;
    }
    // The recorded path may be relative to another folder, or the run's folder may have moved.
    common.out = Some(given.common().out.clone().unwrap_or_else(|| folder.clone()));
    common.overwrite = false;
    if let Some(data) = common.data.as_ref().filter(|data| is_on_disk(data) && !data.exists()) {
        return Err(Failure::error(format!(
            "the data of the run, {}, is not there; say where it is with --data PATH",
            data.display()
        )));
    }
    shared.seed = shared.seed.or(Some(record.seed));
    shared.precision = shared.precision.or(Some(record.precision));
    Ok((flags, Resumed { folder, checkpoint, run: record.run }))
}

/// The error of a run that cannot be resumed, with the flags that are to blame or would help.
pub fn with_flags(error: Error) -> Failure {
    match &error {
        Error::OtherRecipe { path, changes } => {
            let changes: Vec<String> = changes
                .iter()
                .map(|Change { field, was, is }| format!("{} was {was}, and is {is}", flag(field)))
                .collect();
            Failure::error(format!(
                "[checkpoint] {}: the run was made with another recipe: {}; resume with the same \
                 flags, or begin a new run",
                path.display(),
                changes.join("; ")
            ))
        }
        Error::NoCheckpoint { .. } => Failure::error(format!(
            "{error}; a run saves them with --save-every, at Ctrl-C and at its end"
        )),
        _ => error.into(),
    }
}

/// Flags that may change, and those of the recipe, which the trainer compares.
const FREE: &[&str] = &[
    "data",
    "out",
    "overwrite",
    "resume",
    "epochs",
    "steps",
    "eval-every",
    "save-every",
    "keep",
    "keep-last",
    "early-stop",
    "metric",
    "max-skipped",
    "skip-spikes",
    "dry-run",
    "tensorboard",
    "histograms",
    "trace-step",
    "batch-size",
    "accumulate",
    "lr",
    "head-lr",
    "warmup",
    "schedule",
    "weight-decay",
    "clip-norm",
    "optimizer",
    "activation-checkpointing",
    "reduce",
    "shard-optimizer",
    "rank-timeout",
];

/// Refuses flags that would make it another run.
fn refuse_changes<F: TaskFlags>(now: &F, saved: &F) -> Outcome {
    let saved = object(&over(saved, &F::plain())?)?;
    let changed: Vec<String> = object(now)?
        .into_iter()
        .filter(|(name, value)| !FREE.contains(&name.as_str()) && given(value))
        .filter(|(name, value)| saved.get(name) != Some(value))
        .map(|(name, value)| {
            let was = saved.get(&name).unwrap_or(&Value::Null);
            let was =
                if was.is_null() { "was not given".to_string() } else { format!("was {was}") };
            format!("--{name} {was}, and is {value}")
        })
        .collect();
    match changed.is_empty() {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "the run was begun with other flags: {}; leave them out, or begin a new run",
            changed.join("; ")
        ))),
    }
}
