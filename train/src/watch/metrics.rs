//! `metrics.jsonl`: a line for each step and each evaluation.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use gradus_cli::Outcome;
use gradus_models::Error;
use serde_json::Value;

/// The open file.
pub struct Metrics {
    path: std::path::PathBuf,
    file: BufWriter<File>,
    /// The losses of the last steps, as many as an epoch has.
    losses: VecDeque<f64>,
    epoch: usize,
}

impl Metrics {
    /// Starts the file, or continues it after `step`: lines of later steps, which a stopped run
    /// wrote after its last checkpoint, are dropped. `epoch` is the number of its steps.
    pub fn open(folder: &Path, step: u64, epoch: u64) -> Outcome<Self> {
        let mut losses = Vec::new();
        let path = folder.join("metrics.jsonl");
        let io = |source| Error::Io { path: path.clone(), source };
        if step > 0 && path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(io)?;
            let done = |line: &&str| {
                serde_json::from_str::<Value>(line)
                    .is_ok_and(|v| v["step"].as_u64().is_some_and(|s| s <= step))
            };
            let kept: String = text.lines().filter(done).map(|l| format!("{l}\n")).collect();
            let lines = kept.lines().flat_map(serde_json::from_str::<Value>);
            losses = lines.filter_map(|line| loss(&line)).collect();
            gradus_models::files::write_atomic(&path, kept.as_bytes())?;
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        let options = if step > 0 { options.append(true) } else { options.truncate(true) };
        let file = BufWriter::new(options.open(&path).map_err(io)?);
        let mut metrics = Metrics { path, file, losses: VecDeque::new(), epoch: epoch as usize };
        losses.into_iter().for_each(|loss| metrics.remember(loss));
        Ok(metrics)
    }

    /// Writes a line to the file at once.
    pub fn write(&mut self, line: &Value) -> Outcome {
        if let Some(loss) = loss(line) {
            self.remember(loss);
        }
        writeln!(self.file, "{line}")
            .and_then(|()| self.file.flush())
            .map_err(|source| Error::Io { path: self.path.clone(), source })?;
        Ok(())
    }

    fn remember(&mut self, loss: f64) {
        self.losses.push_back(loss);
        if self.losses.len() > self.epoch {
            self.losses.pop_front();
        }
    }

    /// The mean training loss of the last epoch; `None` before the first step.
    pub fn train_loss(&self) -> Option<f64> {
        let sum: f64 = self.losses.iter().sum();
        (!self.losses.is_empty()).then(|| sum / self.losses.len() as f64)
    }
}

/// The loss of a line about a step. It was written as an f32: the last digits of the text mean no
/// more.
fn loss(line: &Value) -> Option<f64> {
    line.get("grad_norm")?;
    line["loss"].as_f64().map(|loss| f64::from(loss as f32))
}
