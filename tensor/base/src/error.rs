//! The error of every fallible function of the engine.

use std::path::PathBuf;

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation refused its arguments. Reads `[op] what is wrong: both shapes; what to do`.
    #[error("[{op}] {message}")]
    Op {
        /// PyTorch's name of the operation.
        op: &'static str,
        /// What is wrong, with the shapes, and what to do.
        message: String,
    },
    /// An error inside a module, with the module's path (`encoder.layer.3.attention`).
    #[error("{path}: {source}")]
    At {
        /// Where in the model.
        path: String,
        /// What happened there.
        source: Box<Error>,
    },
    /// The operating system refused a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what its format says.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// `Result` with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An operation's refusal; prefer the macro [`crate::bail`].
    pub fn op(op: &'static str, message: impl Into<String>) -> Self {
        Error::Op { op, message: message.into() }
    }

    /// The same error, from inside the module `path`. Paths join from the outside in:
    /// `at("attention")` then `at("encoder.layer.3")` reads `encoder.layer.3.attention`.
    pub fn at(self, path: &str) -> Self {
        match self {
            Error::At { path: inner, source } => {
                Error::At { path: format!("{path}.{inner}"), source }
            }
            other => Error::At { path: path.to_string(), source: Box::new(other) },
        }
    }

    /// An error of the operating system about `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// A malformed file.
    pub fn format(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Error::Format { path: path.into(), message: message.into() }
    }
}

/// Returns an [`Error::Op`]: `bail!("matmul", "inner sizes differ: {} and {}", a, b)`.
#[macro_export]
macro_rules! bail {
    ($op:expr, $($message:tt)*) => {
        return Err($crate::Error::op($op, format!($($message)*)))
    };
}
