//! The file formats.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Columns, Example, LabelForm, Split};
use crate::error::{Error, Result};
use crate::files;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header (RFC 4180).
    Csv,
    /// Tab-separated, with a header.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// One text a line.
    Text,
}

impl Format {
    /// The file endings, without the dot.
    pub const ENDINGS: [&str; 4] = ["csv", "tsv", "jsonl", "txt"];

    /// The format of a file by the ending of its name, in upper or lower case.
    ///
    /// # Errors
    /// [`Error::Data`] when the ending is not one of [`Format::ENDINGS`].
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            "jsonl" => Ok(Format::Jsonl),
            "txt" => Ok(Format::Text),
            _ => Err(Error::data(
                path,
                None,
                "the ending does not tell the format; use .csv, .tsv, .jsonl or .txt",
            )),
        }
    }
}

/// Reads the texts to run a model on: a file, or standard input for `-` (one text a line).
///
/// The label column is not read. In a `.txt` file and on standard input an empty line is an empty
/// text, so that line `n` of the input is text `n` of the output.
///
/// # Errors
/// As [`Split::read`].
pub fn read_inputs(path: impl AsRef<Path>, columns: &Columns) -> Result<Vec<Example>> {
    let path = path.as_ref();
    if path == Path::new("-") {
        return read_inputs_from(std::io::stdin().lock(), path, Format::Text, columns);
    }
    let format = Format::of(path)?;
    read_inputs_from(open(path)?.as_slice(), path, format, columns)
}

/// As [`read_inputs`], from any reader; errors call it `name`.
///
/// # Errors
/// As [`Split::read`].
pub fn read_inputs_from(
    mut reader: impl Read,
    name: &Path,
    format: Format,
    columns: &Columns,
) -> Result<Vec<Example>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|e| Error::io(name, e))?;
    let columns = Columns { label: None, ..columns.clone() };
    Source::new(name, &bytes, &columns)?.examples(format, true)
}

/// Reads a training, development or test set.
pub(super) fn split(path: &Path, columns: &Columns) -> Result<Split> {
    let format = Format::of(path)?;
    let bytes = open(path)?;
    if format == Format::Text && columns.label.is_some() {
        let message =
            "a .txt file has texts and no labels; use .csv, .tsv or .jsonl for a task with labels";
        return Err(Error::data(path, None, message));
    }
    Ok(Split {
        path: path.to_path_buf(),
        examples: Source::new(path, &bytes, columns)?.examples(format, false)?,
    })
}

/// Whether a file has a column (or its JSON objects a key) of this name.
pub(super) fn has_column(path: &Path, columns: &Columns, name: &str) -> Result<bool> {
    let bytes = open(path)?;
    Ok(Source::new(path, &bytes, columns)?.has_column(Format::of(path)?, name))
}

pub(super) fn open(path: &Path) -> Result<Vec<u8>> {
    match files::read(path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::data(path, None, "no such file; check the path"))
        }
        other => other,
    }
}

/// The text of a file, without a byte-order mark.
///
/// # Errors
/// When it is not UTF-8, or its lines end as on an old Mac: the file would be one line.
pub(super) fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let wide = [[0xff, 0xfe, 0, 0], [0, 0, 0xfe, 0xff]];
    if wide.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(Error::data(path, 1, "the file is UTF-32; save it as UTF-8"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::data(path, 1, "the file is UTF-16; save it as UTF-8"));
    }
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).take(8).all(|&b| b == 0);
    if bytes.len() > 16 && (zeros(0) || zeros(1)) {
        return Err(Error::data(path, 1, "the file looks like UTF-16; save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|&&b| b == b'\n').count() as u64;
        let bad = bytes.get(e.valid_up_to()).copied().unwrap_or_default();
        Error::data(path, line, format!("invalid UTF-8 (byte 0x{bad:02x}); save the file as UTF-8"))
    })?;
    if text.trim_end().contains('\r') && !text.contains('\n') {
        let message = "the lines end in CR alone; save the file with LF or CR LF";
        return Err(Error::data(path, None, message));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The JSON object of every line that is not blank, with its number. `example` shows such an
/// object.
pub(super) fn json_lines<'a>(
    path: &'a Path,
    text: &'a str,
    example: &'static str,
) -> impl Iterator<Item = Result<(u64, Map<String, Value>)>> + 'a {
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
    lines.map(move |(line, text)| {
        let error = |message: String| Error::data(path, line, message);
        let value: Value = files::parse_json(text.as_bytes())
            .map_err(|e| error(format!("not a JSON object on one line: {e}")))?;
        match value {
            Value::Object(object) => Ok((line, object)),
            Value::Array(_) => Err(error(format!(
                "expected a JSON object, not an array: a .jsonl file has one object a line, {example}"
            ))),
            _ => Err(error(format!("expected a JSON object, such as {example}"))),
        }
    })
}

/// The value of a key.
///
/// # Errors
/// When it is missing; the error names the keys that are there.
pub(super) fn key<'a>(
    path: &Path,
    line: u64,
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<&'a Value> {
    object.get(key).ok_or_else(|| {
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        let message = format!("no key `{key}`; the keys are: {}", keys.join(", "));
        Error::data(path, line, message)
    })
}

/// The text of one file, checked to be UTF-8.
pub(super) struct Source<'a> {
    path: &'a Path,
    pub(super) text: &'a str,
    pub(super) columns: &'a Columns,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8], columns: &'a Columns) -> Result<Self> {
        Ok(Source { path, text: text(path, bytes)?, columns })
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// The examples of the file; `blank`: whether an empty line of a `.txt` file is a text.
    fn examples(&self, format: Format, blank: bool) -> Result<Vec<Example>> {
        let examples = match format {
            Format::Csv => self.csv(),
            Format::Tsv => self.tsv(),
            Format::Jsonl => self.jsonl(),
            Format::Text if self.columns.pair.is_some() => {
                Err(self.error(None, "a .txt file has no pairs; use .csv, .tsv or .jsonl"))
            }
            Format::Text => Ok(self.plain(blank)),
        }?;
        if examples.is_empty() {
            return Err(self.error(None, "the file holds no examples"));
        }
        Ok(examples)
    }

    pub(super) fn error(&self, line: impl Into<Option<u64>>, message: impl Into<String>) -> Error {
        Error::data(self.path, line, message)
    }

    /// Lines with their numbers, without the line ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &'a str)> {
        (1..).zip(self.text.lines())
    }

    fn plain(&self, blank: bool) -> Vec<Example> {
        self.lines()
            .filter(|(_, text)| blank || !text.trim().is_empty())
            .map(|(line, text)| Example { text: text.into(), pair: None, label: None, line })
            .collect()
    }

    /// The JSON object of every line that is not blank.
    pub(super) fn objects(&self) -> impl Iterator<Item = Result<(u64, Map<String, Value>)>> {
        json_lines(self.path, self.text, "{\"text\": \"…\"}")
    }

    fn jsonl(&self) -> Result<Vec<Example>> {
        self.objects()
            .map(|object| object.and_then(|(line, object)| self.record(line, &object)))
            .collect()
    }

    fn record(&self, line: u64, object: &Map<String, Value>) -> Result<Example> {
        let get = |name: &str| key(self.path, line, object, name);
        let string = |key: &str| match get(key)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.error(line, format!("`{key}` is {}, not a string", kind(other)))),
        };
        let several = self.columns.labels == LabelForm::Several;
        let label = |key: &str| match get(key)? {
            list @ Value::Array(_) if several => Ok(list.to_string()),
            Value::String(text) if text.trim().is_empty() && !several => {
                Err(self.error(line, "the label is empty"))
            }
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(value) => Ok(value.to_string()),
            other => Err(self.error(line, format!("the label `{key}` is {}", kind(other)))),
        };
        Ok(Example {
            text: string(&self.columns.text)?,
            pair: self.columns.pair.as_deref().map(string).transpose()?,
            label: self.columns.label.as_deref().map(label).transpose()?,
            line,
        })
    }
}

/// What a JSON value is, for a message.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
