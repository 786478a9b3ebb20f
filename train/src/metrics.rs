//! `metrics.jsonl`: a line a step, a line an evaluation.

use std::fmt;
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
}

impl Metrics {
    /// Starts the file, or goes on with it after `step`: lines of later steps, which a stopped run
    /// wrote after its last checkpoint, are dropped.
    pub fn open(folder: &Path, step: u64) -> Outcome<Self> {
        let path = folder.join("metrics.jsonl");
        let io = |source| Error::Io { path: path.clone(), source };
        if step > 0 && path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(io)?;
            let done = |line: &&str| {
                serde_json::from_str::<Value>(line)
                    .is_ok_and(|v| v["step"].as_u64().is_some_and(|s| s <= step))
            };
            let kept: String = text.lines().filter(done).map(|l| format!("{l}\n")).collect();
            gradus_models::files::write_atomic(&path, kept.as_bytes())?;
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        let options = if step > 0 { options.append(true) } else { options.truncate(true) };
        let file = BufWriter::new(options.open(&path).map_err(io)?);
        Ok(Metrics { path, file })
    }

    /// Writes a line and hands it to the system.
    pub fn write(&mut self, line: &Value) -> Outcome {
        writeln!(self.file, "{line}")
            .and_then(|()| self.file.flush())
            .map_err(|source| Error::Io { path: self.path.clone(), source })?;
        Ok(())
    }
}

/// What loss scaling did in a step.
pub struct Scaling {
    /// The scale of the loss.
    pub scale: f64,
    /// Steps skipped so far, this one included.
    pub skipped_steps: u64,
}

impl Scaling {
    /// From the numbers of a verdict; see `Tensor::loss_scale_`.
    pub fn of(verdict: &[f64]) -> Option<Scaling> {
        let &[_, skipped, before, _, scale] = verdict else { return None };
        Some(Scaling { scale, skipped_steps: (before + skipped) as u64 })
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  loss scale {}", self.scale)?;
        match self.skipped_steps {
            0 => Ok(()),
            n => write!(f, ", {n} skipped"),
        }
    }
}
