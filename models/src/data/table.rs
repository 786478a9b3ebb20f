//! CSV and TSV: a header, then a record a line (or, in CSV, more lines by quotes).

use std::borrow::Cow;
use std::collections::HashSet;

use super::quotes::{Quoted, Stray, quoted_fields, swallowed_rows};
use super::read::Source;
use super::{Example, Format, LabelForm};
use crate::error::{Error, Result};

/// The places of the columns in a record.
struct Places {
    width: usize,
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
}

/// The fields of a record.
pub(super) enum Fields<'r> {
    Csv(&'r csv::StringRecord),
    Tsv(&'r [Cow<'r, str>]),
}

impl Fields<'_> {
    /// A field; empty where there is none.
    pub(super) fn get(&self, place: usize) -> &str {
        match self {
            Fields::Csv(record) => record.get(place).unwrap_or_default(),
            Fields::Tsv(fields) => fields.get(place).map_or("", |field| field.as_ref()),
        }
    }
}

impl Source<'_> {
    pub(super) fn csv(&self) -> Result<Vec<Example>> {
        let quoted = self.quoted()?;
        let mut labels = HashSet::new();
        let places =
            |header: &[Cow<str>]| Ok((self.places(header, ',')?, self.label_place(header)));
        let ((places, judge), examples) =
            self.csv_rows(&quoted, places, |line, read, fields| {
                let (places, judge) = read;
                let label = judge.map(|place| fields.get(place).to_string());
                labels.extend(label.filter(|label| !label.is_empty()));
                self.example(line, places, fields)
            })?;
        if let Some(place) = judge {
            self.refuse_swallowed(&quoted, places.width, place, &labels)?;
        }
        Ok(examples)
    }

    /// The quoted fields of a CSV file.
    pub(super) fn quoted(&self) -> Result<Vec<Quoted>> {
        quoted_fields(self.text).map_err(|stray| self.stray_quote(&stray))
    }

    /// Reads a CSV file: `header` finds the columns, `row` makes an example of a line and its
    /// fields. Returns what `header` found, and the examples.
    pub(super) fn csv_rows<P, E>(
        &self,
        quoted: &[Quoted],
        header: impl FnOnce(&[Cow<str>]) -> Result<P>,
        mut row: impl FnMut(u64, &P, &Fields) -> Result<E>,
    ) -> Result<(P, Vec<E>)> {
        // The crate's own line numbers are off where lines end in CR LF or are empty: count from
        // its byte positions.
        let failed = |e: csv::Error| {
            let begin = e.position().map(|p| self.line_at(p.byte(), (self.first_line(), 0)));
            let line = begin.map(|(line, _)| line);
            match e.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    let mut message = wrong_width(*len as usize, *expected_len as usize);
                    if let Some(end) = begin.and_then(|(_, at)| self.long_field(quoted, at)) {
                        message += &format!("; the quote that opens here closes in line {end}");
                    }
                    self.error(line, message)
                }
                _ => self.error(line, e.to_string()),
            }
        };
        let mut reader = csv::Reader::from_reader(self.text.as_bytes());
        let names: Vec<Cow<str>> =
            reader.headers().map_err(failed)?.iter().map(|s| Cow::Owned(s.to_string())).collect();
        self.refuse_empty(&names)?;
        let found = header(&names)?;
        let (mut examples, mut counted) = (Vec::new(), (self.first_line(), 0));
        for record in reader.records() {
            let record = record.map_err(failed)?;
            counted = self.line_at(record.position().map_or(0, csv::Position::byte), counted);
            examples.push(row(counted.0, &found, &Fields::Csv(&record))?);
        }
        Ok((found, examples))
    }

    /// The column of the label. It may exist in a file whose labels are not needed.
    fn label_place(&self, header: &[Cow<str>]) -> Option<usize> {
        let name = self.columns.label.as_deref().unwrap_or("label");
        header.iter().position(|column| column.trim() == name)
    }

    fn stray_quote(&self, stray: &Stray) -> Error {
        let line = |at: usize| self.line_at(at as u64, (self.first_line(), 0)).0;
        let advice = "write a quote within a field twice (\"\") and the field in quotes";
        match *stray {
            Stray::Open { at } => {
                self.error(line(at), format!("the quote that opens here never closes; {advice}"))
            }
            Stray::Followed { at, closes } => {
                let rest = self.text.get(closes + 1..).unwrap_or_default();
                let rest: String =
                    rest.lines().next().unwrap_or_default().chars().take(20).collect();
                let place = match (line(at), line(closes)) {
                    (from, to) if from == to => String::new(),
                    (_, to) => format!(" in line {to}"),
                };
                self.error(
                    line(at),
                    format!(
                        "the quote that opens here closes{place} before more text, `{rest}`; {advice}"
                    ),
                )
            }
        }
    }

    /// The last line of a field that begins at `at` and has several lines.
    fn long_field(&self, quoted: &[Quoted], at: usize) -> Option<u64> {
        let field = quoted.iter().find(|f| f.from == at + 1)?;
        let (begin, end) = (
            self.line_at(at as u64, (self.first_line(), 0)).0,
            self.line_at(field.to as u64, (self.first_line(), 0)).0,
        );
        (end > begin).then_some(end)
    }

    /// Refuses a quoted field that holds rows of the file.
    fn refuse_swallowed(
        &self,
        quoted: &[Quoted],
        width: usize,
        place: usize,
        labels: &HashSet<String>,
    ) -> Result<()> {
        for field in quoted {
            let text = self.text.get(field.from..field.to).unwrap_or_default();
            let rows = swallowed_rows(text, field.column, width, place, labels);
            if rows > 0 {
                let line = |at: usize| self.line_at(at as u64, (self.first_line(), 0)).0;
                let message = format!(
                    "the quote that opens here closes in line {}, but the lines between look like \
                     rows ({rows} with a label); remove the quote, or use .jsonl if they are \
                     lines of one text",
                    line(field.to)
                );
                return Err(self.error(line(field.from - 1), message));
            }
        }
        Ok(())
    }

    /// The line and the place of the first character at or after `byte` that does not end a line.
    /// Counting starts from an earlier pair of line and place.
    fn line_at(&self, byte: u64, (line, from): (u64, usize)) -> (u64, usize) {
        let bytes = self.text.as_bytes();
        let mut at = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
        while matches!(bytes.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        let passed = bytes.get(from..at).unwrap_or_default();
        (line + passed.iter().filter(|&&b| b == b'\n').count() as u64, at)
    }

    pub(super) fn tsv(&self) -> Result<Vec<Example>> {
        let places = |header: &[Cow<str>]| self.places(header, '\t');
        self.tsv_rows(places, |line, places, fields| self.example(line, places, fields))
    }

    /// As [`csv_rows`](Source::csv_rows), of a TSV file.
    pub(super) fn tsv_rows<P, E>(
        &self,
        header: impl FnOnce(&[Cow<str>]) -> Result<P>,
        mut row: impl FnMut(u64, &P, &Fields) -> Result<E>,
    ) -> Result<Vec<E>> {
        let mut lines = self.lines().filter(|(_, text)| !text.is_empty());
        let Some((_, names)) = lines.next() else {
            return Err(self.error(None, "the file is empty"));
        };
        let names: Vec<Cow<str>> = names.split('\t').map(unquote).collect();
        self.refuse_empty(&names)?;
        let found = header(&names)?;
        lines
            .map(|(line, text)| {
                let fields: Vec<Cow<str>> = text.split('\t').map(unquote).collect();
                if fields.len() != names.len() {
                    let message = format!(
                        "{} fields where the header has {}; a .tsv file has a record a line and no tabs in a field: \
                         use .csv or .jsonl for texts with tabs or line ends",
                        fields.len(),
                        names.len()
                    );
                    return Err(self.error(line, message));
                }
                row(line, &found, &Fields::Tsv(&fields))
            })
            .collect()
    }

    fn refuse_empty(&self, header: &[Cow<str>]) -> Result<()> {
        match header.iter().all(|name| name.trim().is_empty()) {
            true => Err(self.error(None, "the file is empty")),
            false => Ok(()),
        }
    }

    /// Whether the header, or any JSON object, has this column.
    pub(super) fn has_column(&self, format: Format, name: &str) -> bool {
        let header = self.text.lines().find(|line| !line.is_empty()).unwrap_or_default();
        match format {
            Format::Csv => {
                let mut reader = csv::Reader::from_reader(header.as_bytes());
                reader.headers().is_ok_and(|names| names.iter().any(|n| n.trim() == name))
            }
            Format::Tsv => header.split('\t').map(unquote).any(|n| n.trim() == name),
            Format::Jsonl => self.objects().flatten().any(|(_, object)| object.contains_key(name)),
            Format::Text | Format::Parquet => false,
        }
    }

    /// The places of the columns in a header.
    fn places(&self, header: &[Cow<str>], separator: char) -> Result<Places> {
        let place = |name: &str| self.place(header, name, separator);
        Ok(Places {
            width: header.len(),
            text: place(&self.columns.text)?,
            pair: self.columns.pair.as_deref().map(place).transpose()?,
            label: self.columns.label.as_deref().map(place).transpose()?,
        })
    }

    /// The place of a column in a header.
    pub(super) fn place(&self, header: &[Cow<str>], name: &str, separator: char) -> Result<usize> {
        let mut found = (0..header.len()).filter(|&i| header[i].trim() == name);
        let first = found.next().ok_or_else(|| {
            let hint = self.column_hint(header, name, separator);
            let columns = header.join(", ");
            self.error(1, format!("no column `{name}`; the columns are: {columns}{hint}"))
        })?;
        match found.next() {
            None => Ok(first),
            Some(_) => Err(self.error(
                1,
                format!("two columns are called `{name}`; rename one of them in the file"),
            )),
        }
    }

    /// A hint for a header that lacks a column.
    fn column_hint(&self, header: &[Cow<str>], name: &str, separator: char) -> String {
        let alike = |column: &str| column.trim().to_lowercase() == name.to_lowercase();
        if let Some(column) = header.iter().find(|column| alike(column)) {
            return format!("; did you mean `{}`?", column.trim());
        }
        let line = self.text.lines().next().unwrap_or_default();
        let other = [(',', "`,`"), (';', "`;`"), ('\t', "a tab"), ('|', "`|`")]
            .into_iter()
            .filter(|(c, _)| *c != separator)
            .find(|(c, _)| line.split(*c).any(|column| alike(column.trim_matches('"'))));
        match other {
            Some((_, other)) => format!(
                "; the separator looks like {other}: a .csv file has commas, a .tsv file has tabs"
            ),
            None => "; the first line must name the columns".into(),
        }
    }

    fn example(&self, line: u64, places: &Places, fields: &Fields) -> Result<Example> {
        let several = self.columns.labels == LabelForm::Several;
        let label = match places.label.map(|place| fields.get(place)) {
            Some(label) if label.trim().is_empty() && !several => {
                return Err(self.error(line, "the label is empty; add one, or remove the line"));
            }
            label => label.map(str::to_string),
        };
        Ok(Example {
            text: fields.get(places.text).to_string(),
            pair: places.pair.map(|place| fields.get(place).to_string()),
            label,
            line,
        })
    }
}

fn wrong_width(found: usize, expected: usize) -> String {
    format!(
        "{found} fields where the header has {expected}; quote fields that hold the separator or a line end"
    )
}

/// Removes the quotes that some programs put around a field: `"a ""b"""` becomes `a "b"`. A field
/// whose quotes are not of that kind is left as it is.
fn unquote(field: &str) -> Cow<'_, str> {
    let inner = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => {
            Cow::Owned(inner.replace("\"\"", "\""))
        }
        _ => Cow::Borrowed(field),
    }
}
