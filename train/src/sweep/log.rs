//! `sweep.jsonl`: what the sweep is, and a line for each trial that has ended.

use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome};
use gradus_models::files;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plan::{Drawn, Plan};

/// The name of the file in the folder of the sweep.
pub const LOG: &str = "sweep.jsonl";

/// A trial that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    pub trial: u64,
    /// What it drew.
    pub flags: Drawn,
    /// The folder of its run.
    pub folder: PathBuf,
    #[serde(flatten)]
    pub how: How,
}

/// How a trial has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum How {
    /// With a best model.
    Finished(Best),
    /// With an error.
    Failed { error: String },
}

/// The best model of a trial on the dev set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Best {
    /// The metric by which trials are compared.
    pub metric: String,
    pub lower_is_better: bool,
    pub value: f64,
    /// The value as a screen shows it.
    pub shown: String,
    pub step: u64,
}

impl Ended {
    pub fn best(&self) -> Option<&Best> {
        match &self.how {
            How::Finished(best) => Some(best),
            How::Failed { .. } => None,
        }
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    sweep: Plan,
}

/// The open file.
pub struct Log {
    path: PathBuf,
    text: String,
    pub ended: Vec<Ended>,
}

impl Log {
    /// Opens the sweep in `out`, or begins one there.
    ///
    /// # Errors
    /// When the folder holds another sweep or runs of none, or the file cannot be read or written.
    pub fn open(out: &Path, plan: &Plan) -> Outcome<Log> {
        let path = out.join(LOG);
        if !path.is_file() {
            return Log::begin(out, path, plan);
        }
        let bytes = files::read(&path)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let wrong = |e: serde_json::Error| {
            Failure::error(format!("{}: is not the record of a sweep: {e}", path.display()))
        };
        let mut lines = text.lines();
        let header: Header =
            serde_json::from_str(lines.next().unwrap_or_default()).map_err(wrong)?;
        // Through the same text, which may round a number.
        let again: Plan = serde_json::from_str(&serde_json::to_string(plan)?)?;
        if !header.sweep.is_same(&again) {
            return Err(Failure::error(format!(
                "{} holds another sweep: its task, flags, ranges, seed or metric are not those of \
                 the file; name another folder with --out",
                out.display()
            )));
        }
        let ended = lines.map(serde_json::from_str).collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Log { path, text, ended })
    }

    fn begin(out: &Path, path: PathBuf, plan: &Plan) -> Outcome<Log> {
        if out.exists() && !out.is_dir() {
            let out = out.display();
            return Err(Failure::error(format!("--out {out} is a file; name a folder")));
        }
        let first = out.join(folder(0));
        if first.exists() {
            return Err(Failure::error(format!(
                "{} is there, and no {LOG} beside it: the folder is that of something else; name \
                 another one with --out",
                first.display()
            )));
        }
        std::fs::create_dir_all(out)?;
        let mut log = Log { path, text: String::new(), ended: Vec::new() };
        log.write(json!(Header { sweep: plan.clone() }).to_string())?;
        Ok(log)
    }

    /// Whether a trial has ended.
    pub fn has(&self, trial: u64) -> bool {
        self.ended.iter().any(|ended| ended.trial == trial)
    }

    /// How many trials have failed.
    pub fn failed(&self) -> usize {
        self.ended.iter().filter(|ended| ended.best().is_none()).count()
    }

    /// Removes the trials that failed, so that they are made again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_failed(&mut self) -> Outcome {
        self.ended.retain(|ended| ended.best().is_some());
        let header = self.text.lines().next().unwrap_or_default().to_string();
        let ended = self.ended.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        self.text = [vec![header], ended].concat().iter().map(|line| format!("{line}\n")).collect();
        Ok(files::write_atomic(&self.path, self.text.as_bytes())?)
    }

    /// Adds a trial.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, ended: Ended) -> Outcome {
        self.write(serde_json::to_string(&ended)?)?;
        self.ended.push(ended);
        Ok(())
    }

    /// Adds a line. The file is replaced as a whole, so that a kill leaves no part of a line.
    fn write(&mut self, line: String) -> Outcome {
        self.text += &format!("{line}\n");
        Ok(files::write_atomic(&self.path, self.text.as_bytes())?)
    }

    /// The trials, the best first and those that failed last.
    pub fn ranked(&self) -> Vec<&Ended> {
        let mut ranked: Vec<&Ended> = self.ended.iter().collect();
        ranked.sort_by(|a, b| match (a.best(), b.best()) {
            (Some(a), Some(b)) if a.lower_is_better => a.value.total_cmp(&b.value),
            (Some(a), Some(b)) => b.value.total_cmp(&a.value),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        ranked
    }
}

/// The name of a trial's folder.
pub fn folder(trial: u64) -> String {
    format!("trial-{trial:03}")
}
