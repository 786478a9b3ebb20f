//! The file formats.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::ending::{ending, is_gzip};
use super::{Columns, Example, LabelForm, Split, parquet};
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
    /// Apache Parquet: tables by column, as the hub keeps data sets.
    Parquet,
}

impl Format {
    /// The file endings, without the dot.
    pub const ENDINGS: [&str; 5] = ["csv", "tsv", "jsonl", "txt", "parquet"];

    /// The format of a file by the ending of its name, in upper or lower case; `.gz` may follow.
    ///
    /// # Errors
    /// [`Error::Data`] when the ending is not one of [`Format::ENDINGS`].
    pub fn of(path: &Path) -> Result<Self> {
        match ending(path).as_str() {
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            "jsonl" => Ok(Format::Jsonl),
            "txt" => Ok(Format::Text),
            "parquet" => Ok(Format::Parquet),
            _ => Err(Error::data(
                path,
                None,
                "the ending does not tell the format; use .csv, .tsv, .jsonl, .txt (with or \
                 without .gz) or .parquet",
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
    examples(name, bytes, format, &columns, true)
}

/// Reads a training, development or test set.
pub(super) fn split(path: &Path, columns: &Columns) -> Result<Split> {
    let format = Format::of(path)?;
    let bytes = open(path)?;
    if format == Format::Text && columns.label.is_some() {
        let message = "a .txt file has texts and no labels; use .csv, .tsv, .jsonl or .parquet for \
                       a task with labels";
        return Err(Error::data(path, None, message));
    }
    Ok(Split { path: path.to_path_buf(), examples: examples(path, bytes, format, columns, false)? })
}

/// The examples of a file; `blank`: whether an empty line of a `.txt` file is a text.
fn examples(
    path: &Path,
    bytes: Vec<u8>,
    format: Format,
    columns: &Columns,
    blank: bool,
) -> Result<Vec<Example>> {
    let examples = match format {
        Format::Parquet => records(path, format, bytes, SHOWN, |line, object| {
            Record { path, line, object }.example(columns)
        }),
        _ => Source::new(path, &bytes, columns)?.examples(format, blank),
    }?;
    if examples.is_empty() {
        return Err(Error::data(path, None, "the file holds no examples"));
    }
    Ok(examples)
}

/// Whether a file has a column (or its JSON objects a key) of this name.
pub(super) fn has_column(path: &Path, columns: &Columns, name: &str) -> Result<bool> {
    let bytes = open(path)?;
    match Format::of(path)? {
        Format::Parquet => parquet::has_column(path, bytes, name),
        format => Ok(Source::new(path, &bytes, columns)?.has_column(format, name)),
    }
}

/// The bytes of a file, unpacked where gzip has packed it.
pub(super) fn open(path: &Path) -> Result<Vec<u8>> {
    let bytes = match files::read(path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::data(path, None, "no such file; check the path"));
        }
        other => other?,
    };
    if !is_gzip(path) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked);
    read.map_err(|e| not_gzip(path, &e))?;
    Ok(unpacked)
}

/// The error of a file that gzip cannot unpack.
pub(super) fn not_gzip(path: &Path, error: &std::io::Error) -> Error {
    Error::data(path, None, format!("the file ends in .gz, and gzip cannot unpack it: {error}"))
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
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::data(path, 1, "gzip has packed the file; add .gz to its name"));
    }
    if bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1") {
        return Err(Error::data(path, 1, "this is a Parquet file; its name must end in .parquet"));
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

/// Makes an example of every record of a `.jsonl` or `.parquet` file: of its line or row, counted
/// from 1, and its values. `shown` is such a record in JSON.
pub(super) fn records<E>(
    path: &Path,
    format: Format,
    bytes: Vec<u8>,
    shown: &'static str,
    mut example: impl FnMut(u64, &Map<String, Value>) -> Result<E>,
) -> Result<Vec<E>> {
    let mut read = |record: Result<(u64, Map<String, Value>)>| {
        let (line, object) = record?;
        example(line, &object)
    };
    match format {
        Format::Parquet => parquet::Rows::of_bytes(path, bytes)?.map(read).collect(),
        _ => {
            let lines = (1..).zip(text(path, &bytes)?.lines());
            json_lines(path, lines, shown).map(&mut read).collect()
        }
    }
}

/// The JSON object of every line that is not blank, with its number. `example` shows such an
/// object.
fn json_lines<'a>(
    path: &'a Path,
    lines: impl Iterator<Item = (u64, &'a str)> + 'a,
    example: &'static str,
) -> impl Iterator<Item = Result<(u64, Map<String, Value>)>> + 'a {
    lines.filter(|(_, text)| !text.trim().is_empty()).map(move |(line, text)| {
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

/// An example as a JSON object, for errors.
const SHOWN: &str = "{\"text\": \"…\"}";

/// The text of one file, or of a part of it, checked to be UTF-8.
pub(super) struct Source<'a> {
    path: &'a Path,
    pub(super) text: &'a str,
    pub(super) columns: &'a Columns,
    /// The lines of the file that come before.
    before: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8], columns: &'a Columns) -> Result<Self> {
        Source::part(path, bytes, columns, 0)
    }

    /// A part of a file, after `before` lines that are not in it.
    pub(super) fn part(
        path: &'a Path,
        bytes: &'a [u8],
        columns: &'a Columns,
        before: u64,
    ) -> Result<Self> {
        let text = text(path, bytes).map_err(|error| match error {
            Error::Data { path, line, message } => {
                Error::Data { path, line: line.map(|line| before + line), message }
            }
            error => error,
        })?;
        Ok(Source { path, text, columns, before })
    }

    /// The number of the first line.
    pub(super) fn first_line(&self) -> u64 {
        self.before + 1
    }

    /// The examples; `blank`: whether an empty line of a `.txt` file is a text.
    pub(super) fn examples(&self, format: Format, blank: bool) -> Result<Vec<Example>> {
        match format {
            Format::Csv => self.csv(),
            Format::Tsv => self.tsv(),
            Format::Text => self.plain(blank),
            Format::Jsonl => {
                let example = |record: Result<(u64, Map<String, Value>)>| {
                    let (line, object) = record?;
                    Record { path: self.path, line, object: &object }.example(self.columns)
                };
                self.objects().map(example).collect()
            }
            Format::Parquet => Err(self.error(None, "a Parquet file is no text")),
        }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    pub(super) fn error(&self, line: impl Into<Option<u64>>, message: impl Into<String>) -> Error {
        Error::data(self.path, line, message)
    }

    /// Lines with their numbers, without the line ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &'a str)> {
        (self.first_line()..).zip(self.text.lines())
    }

    fn plain(&self, blank: bool) -> Result<Vec<Example>> {
        if self.columns.pair.is_some() {
            let message = "a .txt file has no pairs; use .csv, .tsv, .jsonl or .parquet";
            return Err(self.error(None, message));
        }
        let texts = self.lines().filter(|(_, text)| blank || !text.trim().is_empty());
        let example = |(line, text): (u64, &str)| Example {
            text: text.into(),
            pair: None,
            label: None,
            line,
        };
        Ok(texts.map(example).collect())
    }

    /// The JSON object of every line that is not blank.
    pub(super) fn objects(&self) -> impl Iterator<Item = Result<(u64, Map<String, Value>)>> {
        json_lines(self.path, self.lines(), SHOWN)
    }
}

/// A record of a `.jsonl` or `.parquet` file.
struct Record<'a> {
    path: &'a Path,
    line: u64,
    object: &'a Map<String, Value>,
}

impl Record<'_> {
    fn example(&self, columns: &Columns) -> Result<Example> {
        let several = columns.labels == LabelForm::Several;
        Ok(Example {
            text: self.string(&columns.text)?,
            pair: columns.pair.as_deref().map(|name| self.string(name)).transpose()?,
            label: columns.label.as_deref().map(|name| self.label(name, several)).transpose()?,
            line: self.line,
        })
    }

    fn string(&self, name: &str) -> Result<String> {
        match key(self.path, self.line, self.object, name)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.error(format!("`{name}` is {}, not a string", kind(other)))),
        }
    }

    fn label(&self, name: &str, several: bool) -> Result<String> {
        match key(self.path, self.line, self.object, name)? {
            list @ Value::Array(_) if several => Ok(list.to_string()),
            Value::String(text) if text.trim().is_empty() && !several => {
                Err(self.error("the label is empty"))
            }
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(value) => Ok(value.to_string()),
            other => Err(self.error(format!("the label `{name}` is {}", kind(other)))),
        }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::data(self.path, self.line, message)
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
