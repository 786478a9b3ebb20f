//! The file formats.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{Columns, Example, Split};
use crate::error::{Error, Result};
use crate::files;

/// How the lines of a file are to be read.
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

    /// The format that the ending of a file's name tells, whatever its case.
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
/// Labels are not looked for. In a `.txt` file and on standard input an empty line is an empty text, so that line `n`
/// of the input is text `n` of the output.
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

/// As [`read_inputs`], from any reader; `name` is what errors call it.
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

fn open(path: &Path) -> Result<Vec<u8>> {
    match files::read(path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::data(path, None, "no such file; check the path"))
        }
        other => other,
    }
}

/// The text of one file, checked to be UTF-8.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    columns: &'a Columns,
}

impl<'a> Source<'a> {
    fn new(path: &'a Path, bytes: &'a [u8], columns: &'a Columns) -> Result<Self> {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(Error::data(path, 1, "the file is UTF-16; save it as UTF-8"));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
            let line = 1 + good.iter().filter(|&&b| b == b'\n').count() as u64;
            let bad = bytes.get(e.valid_up_to()).copied().unwrap_or_default();
            Error::data(
                path,
                line,
                format!("invalid UTF-8 (byte 0x{bad:02x}); save the file as UTF-8"),
            )
        })?;
        Ok(Source { path, text: text.strip_prefix('\u{feff}').unwrap_or(text), columns })
    }

    /// The examples of the file; `blank`: whether an empty line of a `.txt` file is a text.
    fn examples(&self, format: Format, blank: bool) -> Result<Vec<Example>> {
        let examples = match format {
            Format::Csv => self.csv(),
            Format::Tsv => self.tsv(),
            Format::Jsonl => self.jsonl(),
            Format::Text => Ok(self.plain(blank)),
        }?;
        if examples.is_empty() {
            return Err(self.error(None, "the file holds no examples"));
        }
        Ok(examples)
    }

    fn error(&self, line: impl Into<Option<u64>>, message: impl Into<String>) -> Error {
        Error::data(self.path, line, message)
    }

    /// Lines with their numbers, without the line ends.
    fn lines(&self) -> impl Iterator<Item = (u64, &'a str)> {
        (1..).zip(self.text.lines())
    }

    fn plain(&self, blank: bool) -> Vec<Example> {
        self.lines()
            .filter(|(_, text)| blank || !text.trim().is_empty())
            .map(|(line, text)| Example { text: text.into(), pair: None, label: None, line })
            .collect()
    }

    fn csv(&self) -> Result<Vec<Example>> {
        // The crate's own line numbers are off where lines end in CR LF or are empty: count from its byte positions.
        let failed = |e: csv::Error| {
            let line = e.position().map(|p| self.line_at(p.byte(), (1, 0)).0);
            match e.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    self.error(line, wrong_width(*len as usize, *expected_len as usize))
                }
                _ => self.error(line, e.to_string()),
            }
        };
        let mut reader = csv::Reader::from_reader(self.text.as_bytes());
        let header: Vec<Cow<str>> =
            reader.headers().map_err(failed)?.iter().map(|s| Cow::Owned(s.to_string())).collect();
        let places = self.places(&header)?;
        let mut examples = Vec::new();
        let mut counted = (1, 0);
        for record in reader.records() {
            let record = record.map_err(failed)?;
            counted = self.line_at(record.position().map_or(0, csv::Position::byte), counted);
            let field = |i| record.get(i).unwrap_or_default();
            examples.push(self.example(counted.0, &places, field)?);
        }
        Ok(examples)
    }

    /// The line of the first character at or after `byte` that does not end a line, and that character's place,
    /// counting on from such a pair.
    fn line_at(&self, byte: u64, (line, from): (u64, usize)) -> (u64, usize) {
        let bytes = self.text.as_bytes();
        let mut at = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
        while matches!(bytes.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        let passed = bytes.get(from..at).unwrap_or_default();
        (line + passed.iter().filter(|&&b| b == b'\n').count() as u64, at)
    }

    fn tsv(&self) -> Result<Vec<Example>> {
        let mut lines = self.lines().filter(|(_, text)| !text.is_empty());
        let Some((_, header)) = lines.next() else {
            return Err(self.error(None, "the file is empty"));
        };
        let header: Vec<Cow<str>> = header.split('\t').map(unquote).collect();
        let places = self.places(&header)?;
        lines
            .map(|(line, text)| {
                let fields: Vec<Cow<str>> = text.split('\t').map(unquote).collect();
                if fields.len() != header.len() {
                    return Err(self.error(line, wrong_width(fields.len(), header.len())));
                }
                self.example(line, &places, |i| fields.get(i).map_or("", |f| f.as_ref()))
            })
            .collect()
    }

    /// Where the columns are among those of a header.
    fn places(&self, header: &[Cow<str>]) -> Result<Places> {
        if header.iter().all(|name| name.trim().is_empty()) {
            return Err(self.error(None, "the file is empty"));
        }
        let place = |name: &str| {
            header.iter().position(|column| column.trim() == name).ok_or_else(|| {
                self.error(1, format!("no column `{name}`; the columns are: {}", header.join(", ")))
            })
        };
        Ok(Places {
            text: place(&self.columns.text)?,
            pair: self.columns.pair.as_deref().map(place).transpose()?,
            label: self.columns.label.as_deref().map(place).transpose()?,
        })
    }

    fn example<'f>(
        &self,
        line: u64,
        places: &Places,
        field: impl Fn(usize) -> &'f str,
    ) -> Result<Example> {
        let label = match places.label.map(&field) {
            Some("") => {
                return Err(self.error(line, "the label is empty; add one, or remove the line"));
            }
            label => label.map(str::to_string),
        };
        Ok(Example {
            text: field(places.text).to_string(),
            pair: places.pair.map(|i| field(i).to_string()),
            label,
            line,
        })
    }

    fn jsonl(&self) -> Result<Vec<Example>> {
        self.lines()
            .filter(|(_, text)| !text.trim().is_empty())
            .map(|(line, text)| {
                let value: Value = serde_json::from_str(text)
                    .map_err(|e| self.error(line, format!("not a JSON object on one line: {e}")))?;
                let Value::Object(object) = value else {
                    return Err(
                        self.error(line, "expected a JSON object, such as {\"text\": \"…\"}")
                    );
                };
                let get = |key: &str| {
                    object.get(key).ok_or_else(|| {
                        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
                        self.error(
                            line,
                            format!("no key `{key}`; the keys are: {}", keys.join(", ")),
                        )
                    })
                };
                let string = |key: &str| match get(key)? {
                    Value::String(text) => Ok(text.clone()),
                    other => {
                        Err(self.error(line, format!("`{key}` is {}, not a string", kind(other))))
                    }
                };
                let label = |key: &str| match get(key)? {
                    Value::String(text) if text.is_empty() => {
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
            })
            .collect()
    }
}

/// The places of the columns in a record.
struct Places {
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
}

fn wrong_width(found: usize, expected: usize) -> String {
    format!(
        "{found} fields where the header has {expected}; quote fields that hold the separator or a line end"
    )
}

/// Takes the quotes off a field that some programs put around it: `"a ""b"""` becomes `a "b"`. A field whose quotes
/// are not of that kind is left as it is.
fn unquote(field: &str) -> Cow<'_, str> {
    let inner = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => {
            Cow::Owned(inner.replace("\"\"", "\""))
        }
        _ => Cow::Borrowed(field),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
