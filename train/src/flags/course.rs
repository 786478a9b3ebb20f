//! The flags of a run's course: evaluations, checkpoints, its end, and what it writes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gradus_models::training::{Every, SessionOptions};
use serde::{Deserialize, Serialize};

/// How often a checkpoint is written, unless --save-every says otherwise.
const SAVE_EVERY: Every = Every::Time(Duration::from_secs(15 * 60));

/// The flags of a run's course; `None` or `false` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Course {
    /// Steps between evaluations on the dev set [default: one epoch]
    #[arg(long, help_heading = "Course")]
    pub eval_every: Option<u64>,
    /// Steps between checkpoints (500), or time (90s, 15m, 2h); there is also one at Ctrl-C and at
    /// the end [default: 15m]
    #[arg(long, help_heading = "Course", value_name = "STEPS|TIME")]
    pub save_every: Option<Every>,
    /// Number of checkpoints to keep, the newest; each holds the best weights so far [default: 2]
    #[arg(long, help_heading = "Course")]
    pub keep: Option<usize>,
    /// The number on the dev set that decides which model is best, such as loss or macro_f1
    /// [default: the task's own]
    #[arg(long, help_heading = "Course")]
    pub metric: Option<String>,
    /// Stop after this many evaluations without a better model on the dev set, by --metric (or the
    /// same at a lower loss), not counting the warm-up
    #[arg(long, help_heading = "Course")]
    pub early_stop: Option<usize>,
    /// Give up after this many skipped steps in a row [default: 10]
    #[arg(long, help_heading = "Course")]
    pub max_skipped: Option<u64>,
    /// Write event files for TensorBoard into the folder tensorboard of the run
    #[arg(long, help_heading = "Course")]
    pub tensorboard: bool,
    /// Add histograms of weights and gradients to them at every evaluation on the dev set
    #[arg(long, help_heading = "Course", requires = "tensorboard")]
    pub histograms: bool,
    /// Read and check everything, make a few steps, tell what the run will need, and stop: nothing
    /// is written
    #[arg(long, help_heading = "Course")]
    pub dry_run: bool,
    /// Write trace.html: a page that shows these steps operation by operation (formulas with their
    /// numbers, gradients, time, memory, kernels), several beside each other
    #[arg(long, help_heading = "Course", value_name = "N[,M]", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    pub trace_step: Option<Vec<u64>>,
    /// End with the last weights [default: with the best ones on the dev set]
    #[arg(long, help_heading = "Course")]
    pub keep_last: bool,
    /// Continue the run in this folder from its newest checkpoint; more --epochs or --steps prolong
    /// it
    #[arg(long, help_heading = "Course")]
    pub resume: Option<PathBuf>,
}

impl Course {
    /// The flags of the session.
    pub fn session(&self) -> SessionOptions {
        let base = SessionOptions::default();
        SessionOptions {
            eval_every: self.eval_every,
            save_every: Some(self.save_every.unwrap_or(SAVE_EVERY)),
            keep: self.keep.unwrap_or(base.keep),
            early_stop: self.early_stop,
            max_skipped: self.max_skipped.unwrap_or(base.max_skipped),
            keep_last: self.keep_last,
            trace_steps: self.trace_step.clone().unwrap_or_default(),
        }
    }
}
