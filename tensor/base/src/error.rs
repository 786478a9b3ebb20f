//! The error of every fallible function of the engine.

use std::path::PathBuf;

/// What kind of thing went wrong: for programs that do something about it. See [`Error::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes, sizes or dimensions that do not fit.
    Shape,
    /// An element type that the operation, or the device, does not take.
    DType,
    /// Operands on several devices, a device that is not there, or more than one can do.
    Device,
    /// More memory than there is: a smaller batch may fit.
    OutOfMemory,
    /// A device that failed: all that lies on it is lost.
    DeviceLost,
    /// Any other invalid value: a setting, an id, a label, a state.
    Value,
    /// A file that the system refused, or that is not what its format says.
    File,
}

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation refused its arguments. Reads `[op] what is wrong: both shapes; what to do`.
    #[error("[{op}] {message}")]
    Op {
        /// PyTorch's name of the operation.
        op: &'static str,
        /// What kind of thing is wrong.
        kind: ErrorKind,
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
    #[error("{}: {}", path.display(), io_reason(source))]
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

/// What the operating system says of a file, in plain words where it means that there is no room.
///
/// ```
/// let full = std::io::ErrorKind::StorageFull.into();
/// assert_eq!(gradus_base::io_reason(&full), "the disk is full");
/// ```
pub fn io_reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull => "the disk is full".into(),
        ErrorKind::QuotaExceeded => "the disk is full: the quota is used up".into(),
        ErrorKind::FileTooLarge => {
            "the file would be too large for the disk, or for the limit of this process (ulimit -f)"
                .into()
        }
        _ => error.to_string(),
    }
}

/// `Result` with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl ErrorKind {
    /// The kind of an operand that differs from what it must be, in its shape or else in its dtype.
    ///
    /// ```
    /// # use gradus_base::ErrorKind;
    /// assert_eq!(ErrorKind::shape_or_dtype(true), ErrorKind::Shape);
    /// assert_eq!(ErrorKind::shape_or_dtype(false), ErrorKind::DType);
    /// ```
    pub fn shape_or_dtype(shapes_differ: bool) -> Self {
        if shapes_differ { ErrorKind::Shape } else { ErrorKind::DType }
    }
}

impl Error {
    /// An operation's refusal of a value; prefer the macro [`bail!`](crate::bail).
    ///
    /// ```
    /// # use gradus_base::Error;
    /// let error = Error::op("add", "shapes [2] and [3] do not broadcast");
    /// assert_eq!(error.to_string(), "[add] shapes [2] and [3] do not broadcast");
    /// ```
    pub fn op(op: &'static str, message: impl Into<String>) -> Self {
        Error::of(ErrorKind::Value, op, message)
    }

    /// An operation's refusal, of this kind; prefer the macro [`bail!`](crate::bail).
    ///
    /// ```
    /// # use gradus_base::{Error, ErrorKind};
    /// let error = Error::of(ErrorKind::Shape, "add", "shapes differ");
    /// assert_eq!(error.to_string(), "[add] shapes differ");
    /// assert_eq!(error.kind(), ErrorKind::Shape);
    /// ```
    pub fn of(kind: ErrorKind, op: &'static str, message: impl Into<String>) -> Self {
        Error::Op { op, kind, message: message.into() }
    }

    /// What kind of thing went wrong, wherever in the model.
    ///
    /// ```
    /// use gradus_base::{Error, ErrorKind};
    ///
    /// let error = Error::of(ErrorKind::OutOfMemory, "zeros", "out of memory").at("encoder");
    /// assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Op { kind, .. } => *kind,
            Error::At { source, .. } => source.kind(),
            Error::Io { .. } | Error::Format { .. } => ErrorKind::File,
        }
    }

    /// The same error, from inside the module `path`. Paths join from the outside in:
    /// `at("attention")` then `at("encoder.layer.3")` reads `encoder.layer.3.attention`.
    ///
    /// ```
    /// # use gradus_base::Error;
    /// let error = Error::op("add", "shapes differ").at("attention").at("encoder.layer.3");
    /// assert_eq!(error.to_string(), "encoder.layer.3.attention: [add] shapes differ");
    /// ```
    pub fn at(self, path: &str) -> Self {
        match self {
            Error::At { path: inner, source } => {
                Error::At { path: format!("{path}.{inner}"), source }
            }
            other => Error::At { path: path.to_string(), source: Box::new(other) },
        }
    }

    /// An error of the operating system about `path`.
    ///
    /// ```
    /// # use gradus_base::Error;
    /// let refused = std::io::Error::other("the disk is full");
    /// assert_eq!(Error::io("model.bin", refused).to_string(), "model.bin: the disk is full");
    /// ```
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// A malformed file.
    ///
    /// ```
    /// # use gradus_base::Error;
    /// let error = Error::format("model.bin", "is truncated");
    /// assert_eq!(error.to_string(), "model.bin: is truncated");
    /// ```
    pub fn format(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Error::Format { path: path.into(), message: message.into() }
    }
}

/// Returns an [`Error::Op`]: `bail!("matmul", Shape, "inner sizes differ: {} and {}", a, b)`. Without an
/// [`ErrorKind`] it is that of an invalid value; one that is computed is given as `kind = …`.
///
/// ```
/// # use gradus_base::{Result, bail};
/// fn half(n: usize) -> Result<usize> {
///     if n % 2 == 1 {
///         bail!("half", "{n} is odd");
///     }
///     Ok(n / 2)
/// }
/// assert_eq!(half(3).unwrap_err().to_string(), "[half] 3 is odd");
/// ```
#[macro_export]
macro_rules! bail {
    ($op:expr, kind = $kind:expr, $message:literal $($arguments:tt)*) => {
        return Err($crate::Error::of($kind, $op, format!($message $($arguments)*)))
    };
    ($op:expr, $kind:ident, $message:literal $($arguments:tt)*) => {
        $crate::bail!($op, kind = $crate::ErrorKind::$kind, $message $($arguments)*)
    };
    ($op:expr, $($message:tt)*) => {
        return Err($crate::Error::op($op, format!($($message)*)))
    };
}
