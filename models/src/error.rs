//! The error type of this crate.
//!
//! Every message says what is wrong, where, and what to do about it. A program that adds its own
//! advice, such as the flag to use, matches on the kind:
//!
//! ```
//! use gradus_models::Error;
//! use gradus_models::training::Recipe;
//!
//! let recipe = Recipe { lr: -1.0, ..Recipe::default() };
//! let Err(Error::Recipe { field, value, requirement }) = recipe.validate() else { panic!() };
//! assert_eq!(format!("--{field} is {value}; {requirement}"), "--lr is -1; it must be 0 or more");
//! ```

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Task;

/// What can go wrong between a file on disk and a model that runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] gradus_tensor::Error),
    /// The operating system could not read or write a file.
    #[error("[io] {}: {}", path.display(), gradus_tensor::io_reason(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A `config.json` is malformed, or describes a model that Gradus cannot build.
    #[error("[config] {}: {message}", path.display())]
    Config {
        /// The file; empty for a configuration that was built in memory.
        path: PathBuf,
        /// The problem, and what to do.
        message: String,
    },
    /// A data set is missing or malformed, or lacks a column, a label or a set.
    #[error("[data] {}{}: {message}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Data {
        /// The file or folder; `-` is standard input.
        path: PathBuf,
        /// The line, counted from 1, where one line is to blame.
        line: Option<u64>,
        /// The problem, and what to do.
        message: String,
    },
    /// The tags of a data set are numbers, and nothing says what they mean.
    #[error(
        "[data] {}: the tags are numbers, and the file does not say what they mean; give the names of \
         the tags in the order of their numbers, or write names such as B-PER into the file",
        path.display()
    )]
    TagNumbers {
        /// The file.
        path: PathBuf,
    },
    /// The names of a file's columns do not tell which texts belong together.
    #[error("[data] {}: {message}", path.display())]
    PairColumns {
        /// The file.
        path: PathBuf,
        /// What is not clear.
        message: String,
    },
    /// The score of a pair of texts is none that a cosine reaches.
    #[error(
        "[data] {}:{line}: the score is {score}, but a cosine is within -1 and 1; divide all scores \
         by the largest",
        path.display()
    )]
    Score {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The score.
        score: f64,
    },
    /// A tokenizer cannot be read, built or applied.
    #[error("[tokenizer] {}: {message}", path.display())]
    Tokenizer {
        /// The file or folder that it came from.
        path: PathBuf,
        /// The problem, and what to do.
        message: String,
    },
    /// A checkpoint is truncated, corrupt, or does not fit the model.
    #[error("[checkpoint] {}: {message}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// The problem, and what to do.
        message: String,
    },
    /// A checkpoint has no trained head for a task.
    #[error(
        "[checkpoint] {}: has no {}; there is no trained head for {}: train one, or choose a model \
         that was saved with one (`{}`)",
        path.display(), listed(parameters), task.name(), architecture
    )]
    MissingHead {
        /// The file or folder.
        path: PathBuf,
        /// The task of the head.
        task: Task,
        /// The class of `transformers` that has such a head.
        architecture: String,
        /// The parameters that are missing.
        parameters: Vec<String>,
    },
    /// A model's head is for another task than the one asked for.
    #[error("[config] {}: the model is {model}; {}", path.display(), task.advice())]
    OtherTask {
        /// The file that names the head.
        path: PathBuf,
        /// A name for the model, with its article.
        model: String,
        /// The task of the model's head.
        task: Task,
    },
    /// The base of an adapter is not known, or cannot be opened.
    #[error("[adapter] {}: {message}", path.display())]
    MissingBase {
        /// The `adapter_config.json`.
        path: PathBuf,
        /// The problem.
        message: String,
    },
    /// A model could not be fetched from the hub.
    #[error("[hub] {id}: {message}")]
    Hub {
        /// The id, as given.
        id: String,
        /// The problem, and what to do.
        message: String,
    },
    /// A setting of a training run is out of its range.
    #[error("[recipe] {field} is {value}; {requirement}")]
    Recipe {
        /// The field of [`Recipe`](crate::training::Recipe) or
        /// [`SessionOptions`](crate::training::SessionOptions).
        field: &'static str,
        /// Its value.
        value: String,
        /// What the value must be: `it must be 0 or more`.
        requirement: Cow<'static, str>,
    },
    /// A checkpoint was saved by a run with another recipe.
    #[error(
        "[checkpoint] {}: the run was made with another recipe: {}; resume with the same, or begin a \
         new run",
        path.display(), joined(changes)
    )]
    OtherRecipe {
        /// The state of the saved run.
        path: PathBuf,
        /// The fields that differ.
        changes: Vec<Change>,
    },
    /// A folder has no checkpoint from which a run could continue.
    #[error(
        "[checkpoint] {}: holds no checkpoint-STEP folder to resume from{}",
        path.display(), match others { 0 => String::new(), n => format!(" (but {n} of another run)") }
    )]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// How many checkpoints of other runs it has.
        others: usize,
    },
    /// Training cannot continue: the loss or the gradients of the last steps are not numbers, or
    /// spikes.
    #[error(
        "[training] the loss became {loss} (gradient norm {grad_norm}) at step {step}, the last of \
         {in_row} skipped in a row; try a lower rate, a longer warm-up, or a limit for the norm of the \
         gradients"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// The norm of its gradients.
        grad_norm: f64,
        /// Skipped steps in a row, this one included.
        in_row: u64,
    },
    /// One of several ranks that train together has failed.
    #[error("[ranks] rank {rank}: {message}")]
    Rank {
        /// The rank, from 0.
        rank: usize,
        /// Why it failed.
        message: String,
    },
    /// An argument is out of its range.
    #[error("[input] {0}")]
    Input(String),
}

/// A field of a recipe that differs from that of a saved run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field of [`Recipe`](crate::training::Recipe).
    pub field: String,
    /// Its value in the saved run.
    pub was: String,
    /// Its value now.
    pub is: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}, and is {}", self.field, self.was, self.is)
    }
}

/// Changes in one line of a message.
fn joined(changes: &[Change]) -> String {
    changes.iter().map(Change::to_string).collect::<Vec<_>>().join("; ")
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    pub(crate) fn config(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::Config { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn data(
        path: impl AsRef<Path>,
        line: impl Into<Option<u64>>,
        message: impl Into<String>,
    ) -> Self {
        Error::Data {
            path: path.as_ref().to_path_buf(),
            line: line.into(),
            message: message.into(),
        }
    }

    pub(crate) fn tokenizer(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::Tokenizer { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn recipe(
        field: &'static str,
        value: impl ToString,
        requirement: impl Into<Cow<'static, str>>,
    ) -> Self {
        Error::Recipe { field, value: value.to_string(), requirement: requirement.into() }
    }

    pub(crate) fn hub(id: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Hub { id: id.into(), message: message.into() }
    }
}

/// Names for a message: the first few, and how many more.
pub(crate) fn listed(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(4) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_recipe_is_told_field_by_field() {
        let change = |field: &str, was: &str, is: &str| Change {
            field: field.into(),
            was: was.into(),
            is: is.into(),
        };
        let changes = vec![change("lr", "0.1", "0.2"), change("seed", "1", "7")];
        let error = Error::OtherRecipe { path: "run/state.json".into(), changes }.to_string();
        assert!(error.starts_with("[checkpoint] run/state.json:"), "{error}");
        assert!(error.contains("lr was 0.1, and is 0.2; seed was 1, and is 7;"), "{error}");
    }

    #[test]
    fn many_names_are_shortened() {
        let names: Vec<String> = (0..6).map(|i| format!("p{i}")).collect();
        assert_eq!(listed(&names), "`p0`, `p1`, `p2`, `p3` and 2 more");
        assert_eq!(listed(&names[..2]), "`p0`, `p1`");
    }

    #[test]
    fn a_message_names_the_place() {
        let with_line = Error::data("a/train.csv", 7, "bad");
        assert_eq!(with_line.to_string(), "[data] a/train.csv:7: bad");
        let without = Error::data("a/train.csv", None, "bad");
        assert_eq!(without.to_string(), "[data] a/train.csv: bad");
    }
}
