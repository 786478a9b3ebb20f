//! The error type of this crate.
//!
//! Every message says what is wrong, where, and what to do about it.

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
    #[error("[io] {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A `config.json` is malformed, or describes a model that Gradus cannot build.
    #[error("[config] {}: {message}", path.display())]
    Config {
        /// The file; empty for a configuration that was built in memory.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A data set is missing, malformed, or lacks what was asked of it.
    #[error("[data] {}{}: {message}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Data {
        /// The file or folder; `-` is standard input.
        path: PathBuf,
        /// The line, counted from 1, where one line is to blame.
        line: Option<u64>,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A tokenizer cannot be read, built or applied.
    #[error("[tokenizer] {}: {message}", path.display())]
    Tokenizer {
        /// The file or folder that it came from.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A checkpoint is truncated, corrupt, or does not fit the model.
    #[error("[checkpoint] {}: {message}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A checkpoint has no trained head for what is asked of it.
    #[error(
        "[checkpoint] {}: has no {}; there is no trained head for {}: train one, or choose a model \
         that was saved with one (`{}`)",
        path.display(), listed(parameters), task.name(), task.architecture()
    )]
    MissingHead {
        /// The file or folder.
        path: PathBuf,
        /// What the head would be for.
        task: Task,
        /// The parameters that are missing.
        parameters: Vec<String>,
    },
    /// A model's head is for another task than the one asked for.
    #[error("[config] {}: the model is {model}; {}", path.display(), task.advice())]
    OtherTask {
        /// The file that says so.
        path: PathBuf,
        /// What the model is, with its article.
        model: String,
        /// What the model's head is for.
        task: Task,
    },
    /// A model could not be fetched from the hub.
    #[error("[hub] {id}: {message}")]
    Hub {
        /// The id, as given.
        id: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Training cannot go on: the loss or the gradients are no numbers.
    #[error(
        "[training] the loss became {loss} (gradient norm {grad_norm}) at step {step}; try a lower rate, \
         a longer warm-up, or a limit for the norm of the gradients"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// The norm of its gradients.
        grad_norm: f64,
    },
    /// An argument is out of its range.
    #[error("[input] {0}")]
    Input(String),
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
