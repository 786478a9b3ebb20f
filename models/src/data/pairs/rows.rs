//! From the rows of a file to pairs.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value};

use super::columns::Found;
use super::{PairColumns, TextPair};
use crate::data::read::{self, Source, key, kind, records};
use crate::data::table::Fields;
use crate::data::{Columns, Format};
use crate::error::{Error, Result};

/// The pairs of a file.
pub(super) fn read(path: &Path, columns: &PairColumns) -> Result<Vec<TextPair>> {
    let format = Format::of(path)?;
    let bytes = read::open(path)?;
    let texts = Columns::text_only();
    match format {
        Format::Csv => {
            let source = Source::new(path, &bytes, &texts)?;
            let places = |header: &[Cow<str>]| Places::find(&source, columns, header, ',');
            let row = |line, places: &Places, fields: &Fields| places.pair(path, line, fields);
            source.csv_rows(&source.quoted()?, places, row).map(|(_, pairs)| pairs)
        }
        Format::Tsv => {
            let source = Source::new(path, &bytes, &texts)?;
            let places = |header: &[Cow<str>]| Places::find(&source, columns, header, '\t');
            source.tsv_rows(places, |line, places, fields| places.pair(path, line, fields))
        }
        Format::Jsonl | Format::Parquet => json(path, format, bytes, columns),
        Format::Text => {
            let message = "a .txt file has no pairs; use .csv, .tsv, .jsonl or .parquet";
            Err(Error::data(path, None, message))
        }
    }
}

/// The error of columns whose names do not tell what they hold.
fn unclear(path: &Path, message: String) -> Error {
    Error::PairColumns { path: path.to_path_buf(), message }
}

/// The places of the columns in a record.
struct Places {
    anchor: usize,
    positive: usize,
    negatives: Vec<usize>,
    score: Option<usize>,
}

impl Places {
    fn find(
        source: &Source,
        columns: &PairColumns,
        header: &[Cow<str>],
        separator: char,
    ) -> Result<Places> {
        let names: Vec<&str> = header.iter().map(|name| name.as_ref()).collect();
        let found = columns.find(&names).map_err(|message| unclear(source.path(), message))?;
        let place = |name: &String| source.place(header, name, separator);
        Ok(Places {
            anchor: place(&found.anchor)?,
            positive: place(&found.positive)?,
            negatives: found.negatives.iter().map(place).collect::<Result<_>>()?,
            score: found.score.as_ref().map(place).transpose()?,
        })
    }

    fn pair(&self, path: &Path, line: u64, fields: &Fields) -> Result<TextPair> {
        let text = |place: usize| fields.get(place).to_string();
        let negatives = self.negatives.iter().map(|&place| text(place));
        let pair = TextPair {
            anchor: text(self.anchor),
            positive: text(self.positive),
            negatives: negatives.filter(|text| !text.trim().is_empty()).collect(),
            score: self.score.map(text),
            line,
        };
        checked(path, pair)
    }
}

/// The pairs of JSON lines, or of the rows of a Parquet file. The keys of the first tell what they
/// hold.
fn json(
    path: &Path,
    format: Format,
    bytes: Vec<u8>,
    columns: &PairColumns,
) -> Result<Vec<TextPair>> {
    let mut found: Option<Found> = None;
    records(path, format, bytes, "{\"anchor\": \"…\", \"positive\": \"…\"}", |line, object| {
        let found = match &mut found {
            Some(found) => found,
            none => {
                let names: Vec<&str> = object.keys().map(String::as_str).collect();
                none.insert(columns.find(&names).map_err(|why| unclear(path, why))?)
            }
        };
        json_pair(path, line, object, found)
    })
}

fn json_pair(
    path: &Path,
    line: u64,
    object: &Map<String, Value>,
    found: &Found,
) -> Result<TextPair> {
    let get = |name: &str| key(path, line, object, name);
    let wrong = |name: &str, value: &Value, what: &str| {
        Error::data(path, line, format!("`{name}` is {}, not {what}", kind(value)))
    };
    let text = |name: &str| match get(name)? {
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong(name, other, "a string")),
    };
    let mut negatives = Vec::new();
    for name in &found.negatives {
        let values = match get(name)? {
            Value::Null => &[],
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            let Value::String(text) = value else {
                return Err(wrong(name, value, "a string or a list of strings"));
            };
            negatives.extend(Some(text.clone()).filter(|text| !text.trim().is_empty()));
        }
    }
    let score = |name: &String| match get(name)? {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong(name, other, "a number")),
    };
    let pair = TextPair {
        anchor: text(&found.anchor)?,
        positive: text(&found.positive)?,
        negatives,
        score: found.score.as_ref().map(score).transpose()?,
        line,
    };
    checked(path, pair)
}

/// A pair whose two texts are not empty, and whose score is a number.
fn checked(path: &Path, pair: TextPair) -> Result<TextPair> {
    let fail = |message: String| Err(Error::data(path, pair.line, message));
    for (what, text) in [("first", &pair.anchor), ("second", &pair.positive)] {
        if text.trim().is_empty() {
            return fail(format!("the {what} text is empty; add one, or remove the line"));
        }
    }
    match (&pair.score, pair.number()) {
        (Some(score), number) if !number.is_some_and(f64::is_finite) => {
            fail(format!("the score `{score}` is no number"))
        }
        _ => Ok(pair),
    }
}
