//! The command line of `train sweep`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

/// The arguments of `train sweep`.
#[derive(Args)]
#[command(after_help = "FILE.toml:
  task = \"classify\"
  trials = 20               # the number of runs
  seed = 0                  # of the draws
  metric = \"macro_f1\"       # on the dev set; without it the task's own
  out = \"runs/sweep\"

  [flags]                   # the same in all runs: any flags of the task, and seed and precision
  data = \"data/banking77\"
  model = \"sentence-transformers/all-MiniLM-L6-v2\"
  epochs = 3

  [ranges]                  # drawn for each run
  lr = { min = 1e-5, max = 1e-3, log = true }
  batch-size = { values = [16, 32, 64] }
  lora-rank = { min = 2, max = 16 }

Examples:
  train sweep sweep.toml
  train sweep sweep.toml --trials 40
      twenty more, if the first twenty are done; a sweep that was stopped goes on in the same way
  train sweep sweep.toml --retry-failed
      makes the trials again that failed, once their cause is mended")]
pub struct SweepArgs {
    /// What to try
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    #[command(flatten)]
    pub flags: SweepFlags,
}

/// The flags of `train sweep`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SweepFlags {
    /// Folder for the runs and the results [default: that of the file, else one of the file's name
    /// under runs]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Number of trials [default: that of the file, else 20]
    #[arg(long)]
    pub trials: Option<u64>,
    /// Try the trials again that failed: from their checkpoints, where they have some
    #[arg(long)]
    pub retry_failed: bool,
}
