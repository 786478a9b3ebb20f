//! The folder of a run: the files in it, and the record that `--resume` reads.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use gradus_cli::{Failure, Outcome};
use gradus_models::training::{has_checkpoints, remove_foreign_checkpoints};
use gradus_models::{Error, files, is_hub_data};
use gradus_nn::Precision;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::flags::{Flags, is_stdin};

/// The flags of a run, kept with its checkpoints so that `--resume` needs no others.
const RUN: &str = "train.json";

/// The content of [`RUN`].
#[derive(Serialize, Deserialize)]
pub struct Record {
    /// The id of the run; `None` for runs of older versions.
    pub run: Option<String>,
    /// The name of the task.
    #[serde(default = "classify")]
    pub task: String,
    /// The flags of the task.
    pub flags: Value,
    pub seed: u64,
    #[serde(default)]
    pub precision: Precision,
}

/// The task of runs that were written before there were others.
fn classify() -> String {
    "classify".into()
}

impl Record {
    /// The record of the run in `dir`, or in the folder that holds the checkpoint `dir`, with that
    /// folder.
    pub fn read(dir: &Path) -> Outcome<(PathBuf, Record)> {
        let absolute = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        let folder =
            [dir, absolute.parent().unwrap_or(dir)].into_iter().find(|f| f.join(RUN).is_file());
        let Some(folder) = folder else {
            return Err(Failure::error(format!(
                "{}: there is no run in this folder ({RUN} is missing)",
                dir.display()
            )));
        };
        let path = folder.join(RUN);
        let record = files::parse_json(&files::read(&path)?).map_err(|e| {
            Failure::error(format!("{}: is not the record of a run: {e}", path.display()))
        })?;
        Ok((folder.to_path_buf(), record))
    }

    /// Begins the run in `out`, or continues it after `step`; checkpoints of other runs are
    /// removed.
    pub fn write(&self, out: &Path, step: u64) -> Outcome {
        let io = |source| Error::Io { path: out.to_path_buf(), source };
        std::fs::create_dir_all(out).map_err(io)?;
        files::write_atomic(&out.join(RUN), &serde_json::to_vec_pretty(self)?)?;
        Ok(remove_foreign_checkpoints(out, self.run.as_deref(), step)?)
    }
}

/// A new run's name: the time, in nanoseconds, and the process.
pub fn new_run() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", time.as_nanos(), std::process::id())
}

/// The files that a run writes, the most telling first, for an error message.
const WRITTEN: [&str; 6] = [
    "model.safetensors",
    "adapter_config.json",
    RUN,
    "metrics.jsonl",
    "config.json",
    "tokenizer.json",
];

/// The first file of a run or a model that a folder already holds.
fn holds(out: &Path) -> Outcome<Option<String>> {
    if let Some(name) = WRITTEN.iter().find(|name| out.join(name).exists()) {
        return Ok(Some(name.to_string()));
    }
    Ok((out.is_dir() && has_checkpoints(out)?).then(|| "checkpoints".into()))
}

/// The folder to write: that of --out, which must not hold another run, or a new one. `resumed` is
/// the folder of a resumed run.
pub fn out_folder(flags: &Flags, data: &Path, resumed: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(out) = &flags.out {
        if out.exists() && !out.is_dir() {
            let path = out.display();
            return Err(Failure::error(format!("--out {path} is a file; name a folder")));
        }
        let own = resumed.is_some_and(|dir| same(dir, out));
        let overwrite = flags.overwrite && resumed.is_none();
        if !own
            && !overwrite
            && let Some(what) = holds(out)?
        {
            let path = out.display();
            let advice = match resumed {
                None => format!(
                    "name another folder, go on with it (--resume {path}), or give --overwrite"
                ),
                Some(_) => "name another folder".to_string(),
            };
            return Err(Failure::error(format!(
                "--out {path} already holds a run or a model ({what}); {advice}"
            )));
        }
        return Ok(out.clone());
    }
    let name = run_name(data);
    for n in 1.. {
        let fresh =
            Path::new("runs").join(if n == 1 { name.clone() } else { format!("{name}-{n}") });
        if holds(&fresh)?.is_none() {
            return Ok(fresh);
        }
    }
    Err(Failure::error("no free folder under runs; name one with --out"))
}

/// A name for the run from that of its data: `texts` of `texts.csv.gz`, `name` of
/// `hub:owner/name@revision`.
fn run_name(data: &Path) -> String {
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = match is_hub_data(data) {
        true => name.trim_start_matches("hub:").split('@').next().unwrap_or_default().to_string(),
        false => Path::new(name.strip_suffix(".gz").unwrap_or(&name))
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
    };
    if name.is_empty() || is_stdin(data) { "model".into() } else { name }
}

/// Refuses an --out that is a file, or holds a run or a model, unless it may be overwritten.
///
/// # Errors
/// The message for the person.
pub fn free(out: &Path, overwrite: bool) -> Outcome {
    let path = out.display();
    if out.exists() && !out.is_dir() {
        return Err(Failure::error(format!("--out {path} is a file; name a folder")));
    }
    match holds(out)?.filter(|_| !overwrite) {
        None => Ok(()),
        Some(what) => Err(Failure::error(format!(
            "--out {path} already holds a run or a model ({what}); name another folder, or give \
             --overwrite"
        ))),
    }
}

fn same(a: &Path, b: &Path) -> bool {
    let full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    full(a) == full(b)
}
