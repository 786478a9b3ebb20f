//! Where results go: lines of JSON or of text, to standard output or a file.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_tensor::io::write_atomically;
use serde::Serialize;

/// Results, a line or a block for each text.
pub enum Sink {
    /// Text for people on standard output.
    People(BufWriter<StdoutLock<'static>>),
    /// JSON lines on standard output.
    Json(BufWriter<StdoutLock<'static>>),
    /// JSON lines for a file, which is written whole at the end.
    File(PathBuf, Vec<u8>),
}

impl Sink {
    /// Chooses by --json and --output, which must end in .jsonl.
    pub fn open(shared: &SharedArgs, output: Option<&Path>) -> Outcome<Sink> {
        let stdout = || BufWriter::new(io::stdout().lock());
        match output {
            Some(path) if ending(path) == "jsonl" => Ok(Sink::File(path.to_path_buf(), Vec::new())),
            Some(path) => Err(wrong_ending(path, ".jsonl")),
            None if shared.json => Ok(Sink::Json(stdout())),
            None => Ok(Sink::People(stdout())),
        }
    }

    /// Writes one result: `record` as JSON, or what `people` writes.
    pub fn write(
        &mut self,
        record: &impl Serialize,
        people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Outcome {
        match self {
            Sink::People(out) => people(out)?,
            Sink::Json(out) => line(out, record)?,
            Sink::File(_, out) => line(out, record)?,
        }
        Ok(())
    }

    /// Where people read, if they do.
    pub fn people(&mut self) -> Option<&mut dyn Write> {
        match self {
            Sink::People(out) => Some(out),
            Sink::Json(_) | Sink::File(..) => None,
        }
    }

    /// Writes the buffered results.
    pub fn flush(&mut self) -> Outcome {
        if let Sink::People(out) | Sink::Json(out) = self {
            out.flush()?;
        }
        Ok(())
    }

    /// Ends the output.
    pub fn finish(mut self, shared: &SharedArgs, results: usize) -> Outcome {
        self.flush()?;
        if let Sink::File(path, bytes) = &self {
            write_atomically(path, |file| file.write_all(bytes))?;
            written(shared, path, results);
        }
        Ok(())
    }
}

fn line(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

/// Tells that a file was written.
pub fn written(shared: &SharedArgs, path: &Path, results: usize) {
    let noun = if results == 1 { "result" } else { "results" };
    note(shared, format!("wrote {results} {noun} to {}", path.display()));
}

/// The ending of a file's name in lower case, without the dot.
pub fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The usage error of an --output with another ending.
pub fn wrong_ending(path: &Path, known: &str) -> Failure {
    Failure::usage(format!(
        "--output {}: the ending does not tell the format; use {known}",
        path.display()
    ))
}
