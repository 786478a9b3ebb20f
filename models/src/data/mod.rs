//! Data sets of texts: what `train` learns from and what `infer` answers.
//!
//! | ending | what a line is |
//! | --- | --- |
//! | `.csv` | RFC 4180: a header, quoted fields may hold commas and line ends; a stray quote is an error |
//! | `.tsv` | a header, one record a line; a field in quotes is unquoted, a lone quote is a character |
//! | `.jsonl` | one JSON object a line |
//! | `.txt` | one text a line, no labels |
//!
//! Everything is UTF-8; a byte-order mark is skipped. Whatever is wrong with a file is reported
//! with its line.

mod fingerprint;
mod folder;
mod hold_out;
mod labels;
mod quotes;
mod read;
mod table;

use std::path::{Path, PathBuf};

pub use fingerprint::Fingerprint;
pub use labels::Labels;
pub use read::{Format, read_inputs, read_inputs_from};

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;

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
    /// [`Error::Io`] when the file cannot be read; [`Error::Data`] with the line for anything wrong
    /// inside it: an unknown ending, invalid UTF-8, a malformed record, a missing column or label,
    /// no examples at all.
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
    /// What whoever trains should know: files that are not used, and why. Each is a sentence to
    /// show.
    pub remarks: Vec<String>,
}

impl Dataset {
    /// Reads a data set: a folder with files for `train`, and perhaps for `dev` (or `validation`,
    /// `valid`, `val`, `eval`) and `test`, each `.csv`, `.tsv`, `.jsonl` or `.txt`; or one file,
    /// which is then the training set.
    ///
    /// A test set without labels, as competitions have them, is left out with a remark.
    ///
    /// # Errors
    /// As [`Split::read`]; and [`Error::Data`] when the folder has no training set, or two files
    /// for one split.
    pub fn open(path: impl AsRef<Path>, columns: &Columns) -> Result<Self> {
        folder::open(path.as_ref(), columns)
    }

    /// The labels of the training set, after checking that they are two or more, and that the other
    /// sets hold no further ones.
    ///
    /// # Errors
    /// As [`Labels::from_split`]; [`Error::Data`] for labels that a classifier cannot learn, and
    /// with the label, file and line for a label unseen in training, or for an example without one.
    pub fn labels(&self) -> Result<Labels> {
        let labels = Labels::from_split(&self.train)?;
        labels.check_learnable(&self.train)?;
        for split in [&self.dev, &self.test].into_iter().flatten() {
            labels.encode(split)?;
        }
        Ok(labels)
    }

    /// Sets `fraction` of the training texts aside as the dev set: of every label its share, which
    /// ones is drawn by `seed`, and one text of a label at least stays. Returns how many; 0 where
    /// there are too few texts.
    pub fn hold_out(&mut self, fraction: f64, seed: u64) -> usize {
        let (rest, held) = hold_out::split(&self.train, fraction, seed);
        let count = held.examples.len();
        if count > 0 {
            (self.train, self.dev) = (rest, Some(held));
        }
        count
    }
}

#[cfg(test)]
mod tests;
