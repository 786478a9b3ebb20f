//! How a program ends.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

/// Why a program stops early. Every error converts into it with `?`.
#[derive(Debug)]
pub enum Failure {
    /// The command line or the configuration file is wrong: exit code 2.
    Usage(String),
    /// Anything else that went wrong: exit code 1.
    Error(Box<dyn Error + Send + Sync>),
    /// Everything is told already: the program ends with this exit code.
    Told(u8),
    /// The reader of standard output has closed it (`infer … | head`): no error, exit code 0.
    Closed,
}

/// The result of a program, or of a part of one.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::Usage(message.into())
    }

    /// Any other error.
    pub fn error(message: impl Into<String>) -> Self {
        Failure::Error(message.into().into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = Box::new(error);
        let closed = error
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        if closed { Failure::Closed } else { Failure::Error(error) }
    }
}

impl fmt::Display for Failure {
    /// The message, then its causes, each once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => f.write_str(message),
            Failure::Told(code) => write!(f, "the program ended with exit code {code}"),
            Failure::Closed => f.write_str("standard output was closed"),
            Failure::Error(error) => {
                let mut told = error.to_string();
                f.write_str(&told)?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    // Many messages contain their cause's message already.
                    let message = error.to_string();
                    if !told.contains(&message) {
                        write!(f, ": {message}")?;
                        told.push_str(&message);
                    }
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

/// Runs a program's main function: prints its failure as `error: …` on standard error, and returns
/// the exit code: 0 for success, 2 for a usage error, 1 otherwise. A panic, which is a bug, is
/// reported in one line.
pub fn run(program: impl FnOnce() -> Outcome) -> ExitCode {
    // Before anything has threads.
    gradus_tensor::quiet_drivers();
    panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(|l| format!(" ({l})")).unwrap_or_default();
        complain(&format!("this is a bug in Gradus, please report it: {message}{place}"));
    }));
    let program = || {
        let outcome = program();
        // A profile of what ran, however it ended; the program's own failure goes first.
        let profile = crate::profile::end();
        outcome.and(profile)
    };
    match panic::catch_unwind(AssertUnwindSafe(program)) {
        Ok(Ok(()) | Err(Failure::Closed)) => ExitCode::SUCCESS,
        Ok(Err(Failure::Told(code))) => ExitCode::from(code),
        Ok(Err(failure @ Failure::Usage(_))) => {
            complain(&format!("{failure}\n\nFor more information, try '--help'."));
            ExitCode::from(2)
        }
        Ok(Err(failure)) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(message: &str) {
    // If standard error is closed too, there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|e| e as _)
        }
    }

    #[test]
    fn causes_are_told_once() {
        let disk = || Some(Box::new(Layer("disk full", None)));
        let plain = Failure::from(Layer("cannot save", disk()));
        assert_eq!(plain.to_string(), "cannot save: disk full");
        let telling = Failure::from(Layer("cannot save: disk full", disk()));
        assert_eq!(telling.to_string(), "cannot save: disk full");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::from(closed), Failure::Closed));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Failure::from(full), Failure::Error(_)));
    }
}
