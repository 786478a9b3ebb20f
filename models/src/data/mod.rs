//! Data sets of texts: what `train` learns from and what `infer` answers.
//!
//! | ending | what a line is |
//! | --- | --- |
//! | `.csv` | RFC 4180: a header, quoted fields may hold commas and line ends |
//! | `.tsv` | a header, one record a line; a field in quotes is unquoted, a lone quote is a character |
//! | `.jsonl` | one JSON object a line |
//! | `.txt` | one text a line, no labels |
//!
//! Everything is UTF-8; a byte-order mark is skipped. Whatever is wrong with a file is reported with its line.

mod labels;
mod read;

use std::fs;
use std::path::{Path, PathBuf};

pub use labels::Labels;
pub use read::{Format, read_inputs, read_inputs_from};

use crate::error::{Error, Result};

/// The columns of a data set, or the keys of its JSON objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The label; `None` for a task without labels, where a label column is ignored.
    pub label: Option<String>,
}

impl Default for Columns {
    /// `text` and `label`, no pair.
    fn default() -> Self {
        Columns { text: "text".into(), pair: None, label: Some("label".into()) }
    }
}

impl Columns {
    /// The column `text` and nothing else.
    pub fn text_only() -> Self {
        Columns { label: None, ..Columns::default() }
    }
}

/// One text, or pair of texts, with its label where the task has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The label, as written in the file.
    pub label: Option<String>,
    /// The line of the file on which the example starts, counted from 1.
    pub line: u64,
}

/// The examples of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The file.
    pub path: PathBuf,
    /// Its examples, in the order of the file; at least one.
    pub examples: Vec<Example>,
}

impl Split {
    /// Reads one file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Data`] with the line for anything wrong inside it: an
    /// unknown ending, invalid UTF-8, a malformed record, a missing column or label, no examples at all.
    pub fn read(path: impl AsRef<Path>, columns: &Columns) -> Result<Self> {
        read::split(path.as_ref(), columns)
    }
}

/// A training set with, where they exist, the sets to choose a model by and to report on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// What the model learns from.
    pub train: Split,
    /// What checkpoints are chosen by.
    pub dev: Option<Split>,
    /// What is reported.
    pub test: Option<Split>,
}

impl Dataset {
    /// Reads a data set: a folder with `train`, and perhaps `dev` (or `validation`) and `test`, each `.csv`, `.tsv`,
    /// `.jsonl` or `.txt`; or one file, which is then the training set.
    ///
    /// # Errors
    /// As [`Split::read`]; and [`Error::Data`] when the folder has no training set, or two files for one split.
    pub fn open(path: impl AsRef<Path>, columns: &Columns) -> Result<Self> {
        let path = path.as_ref();
        let kind = fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::data(path, None, "no such file or folder; check the path")
            }
            _ => Error::io(path, e),
        })?;
        if !kind.is_dir() {
            let train = Split::read(path, columns)?;
            return Ok(Dataset { train, dev: None, test: None });
        }
        let find = |names: &[&str]| -> Result<Option<Split>> {
            let mut found = names
                .iter()
                .flat_map(|name| {
                    Format::ENDINGS.map(|ending| path.join(format!("{name}.{ending}")))
                })
                .filter(|file| file.is_file());
            let Some(first) = found.next() else {
                return Ok(None);
            };
            if let Some(second) = found.next() {
                return Err(Error::data(
                    path,
                    None,
                    format!(
                        "both {} and {} exist; keep one, or pass the file itself",
                        file_name(&first),
                        file_name(&second)
                    ),
                ));
            }
            Split::read(first, columns).map(Some)
        };
        let train = find(&["train"])?.ok_or_else(|| {
            let expected = Format::ENDINGS.map(|ending| format!("train.{ending}")).join(", ");
            Error::data(
                path,
                None,
                format!("no training set: expected {expected}; found {}", listing(path)),
            )
        })?;
        Ok(Dataset { train, dev: find(&["dev", "validation", "valid"])?, test: find(&["test"])? })
    }

    /// The labels of the training set, after checking that the other sets hold no further ones.
    ///
    /// # Errors
    /// [`Error::Data`] with the label, file and line for a label unseen in training, or for an example without one.
    pub fn labels(&self) -> Result<Labels> {
        let labels = Labels::from_split(&self.train)?;
        for split in [&self.dev, &self.test].into_iter().flatten() {
            labels.encode(split)?;
        }
        Ok(labels)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a folder holds, for an error message.
fn listing(path: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(path)
        .map(|entries| {
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    if names.len() > 12 {
        let more = names.len() - 12;
        names.truncate(12);
        names.push(format!("and {more} more"));
    }
    match names.is_empty() {
        true => "nothing".into(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
