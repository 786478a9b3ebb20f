//! Data sets of texts, for training and for inference.
//!
//! | ending | what a line is |
//! | --- | --- |
//! | `.csv` | RFC 4180: a header, quoted fields may hold commas and line ends; a stray quote is an error |
//! | `.tsv` | a header, one record a line; a field in quotes is unquoted, a lone quote is a character |
//! | `.jsonl` | one JSON object a line |
//! | `.parquet` | a row of a table (Apache Parquet), read like a JSON object; needs the feature `parquet` |
//! | `.txt` | one text a line, no labels |
//! | `.conll`, `.iob`, `.bio` | a word and its tag a line; see [`TaggedSentence`] |
//! | `.json` | questions about texts, in SQuAD's form; see [`Question`] |
//!
//! Pairs of texts ([`TextPair`]) are read from `.csv`, `.tsv`, `.jsonl` and `.parquet` too. Each may
//! be packed by gzip: `train.csv.gz`.
//!
//! Everything is UTF-8; a byte-order mark is skipped. Errors name the file and the line. The rows of
//! a Parquet file count as lines.
//!
//! ```
//! use std::path::Path;
//!
//! use gradus_models::data::{Columns, Format, read_inputs_from};
//!
//! # fn main() -> gradus_models::Result<()> {
//! let file = "text,topic\n\"Where, please, is my card?\",cards\n";
//! let name = Path::new("questions.csv");
//! let texts = read_inputs_from(file.as_bytes(), name, Format::Csv, &Columns::text_only())?;
//! assert_eq!((texts[0].text.as_str(), texts[0].line), ("Where, please, is my card?", 2));
//! # Ok(())
//! # }
//! ```

mod answers;
mod corpus;
mod ending;
mod fingerprint;
mod folder;
mod hold_out;
mod labels;
mod pairs;
#[cfg_attr(not(feature = "parquet"), path = "no_parquet.rs")]
mod parquet;
mod questions;
mod quotes;
mod read;
mod rows;
mod similar;
mod table;
mod tagged;

use std::collections::HashSet;
use std::hash::Hash;
use std::path::{Path, PathBuf};

pub use answers::{LabelForm, numbers};
pub use corpus::{Corpora, Corpus, WINDOW};
pub use ending::ending;
pub use fingerprint::{Fingerprint, hash_text};
#[cfg(feature = "hub")]
pub(crate) use folder::set_of;
pub use folder::{Set, set_file};
pub use labels::Labels;
pub use pairs::{PairColumns, PairForm, TextPair};
pub use questions::{GivenAnswer, Question, read_questions};
pub use read::{Format, read_inputs, read_inputs_from};
pub use similar::{Similar, similar_texts};
pub use tagged::{TaggedColumns, TaggedSentence, is_tagged, read_words};

use crate::error::{Error, Result};

/// The columns of a data set, or the keys of its JSON objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The label; `None` for a task without labels, which ignores a label column.
    pub label: Option<String>,
    /// What the label column holds.
    pub labels: LabelForm,
}

impl Default for Columns {
    /// `text` and `label`, no pair.
    fn default() -> Self {
        Columns {
            text: "text".into(),
            pair: None,
            label: Some("label".into()),
            labels: LabelForm::One,
        }
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
    /// The line of the file on which the example starts, or its row, counted from 1.
    pub line: u64,
}

impl Example {
    /// The text, and the second of a pair.
    pub fn texts(&self) -> (&str, Option<&str>) {
        (&self.text, self.pair.as_deref())
    }
}

/// What a data set asks of its examples.
pub trait Row: Clone {
    /// What a model sees of an example, without the answer.
    type Input<'a>: Eq + Hash
    where
        Self: 'a;

    /// What a model sees of it, without the answer.
    fn input(&self) -> Self::Input<'_>;

    /// The kind of example: a part of every kind is set aside for the dev set.
    fn kind(&self) -> Option<&str>;

    /// Calls `part` with everything that the example consists of, for a hash.
    fn parts<'a>(&'a self, part: &mut dyn FnMut(Option<&'a str>));

    /// Adds rows to the example's line: those of the files before its own in a set of several.
    fn shift(&mut self, rows: u64);
}

impl Row for Example {
    type Input<'a> = (&'a str, Option<&'a str>);

    fn input(&self) -> Self::Input<'_> {
        self.texts()
    }

    fn kind(&self) -> Option<&str> {
        self.label.as_deref()
    }

    fn parts<'a>(&'a self, part: &mut dyn FnMut(Option<&'a str>)) {
        part(Some(&self.text));
        part(self.pair.as_deref());
        part(self.label.as_deref());
    }

    fn shift(&mut self, rows: u64) {
        self.line += rows;
    }
}

/// The examples of one file, or of the shards of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split<E = Example> {
    /// The file; of shards, their name with `*` for the number, and rows are counted through all.
    pub path: PathBuf,
    /// Its examples, in the order of the file; at least one.
    pub examples: Vec<E>,
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

/// A training set, with a dev set and a test set where they exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset<E = Example> {
    /// The examples that the model learns from.
    pub train: Split<E>,
    /// The examples that choose the best model.
    pub dev: Option<Split<E>>,
    /// The examples for the final report.
    pub test: Option<Split<E>>,
    /// Warnings for a person, each a sentence: files that are not used, and why.
    pub remarks: Vec<String>,
}

impl Dataset {
    /// Reads a data set: a folder with files for `train`, and perhaps for `dev` (or `validation`,
    /// `valid`, `val`, `eval`) and `test`, each `.csv`, `.tsv`, `.jsonl`, `.parquet` or `.txt`, or a
    /// folder with those files in the subfolder `data`; or one file, which is then the training set.
    /// A set may be several Parquet files, as on the hub: `train-00000-of-00002.parquet`, ….
    ///
    /// A test set without labels, as in competitions, is left out with a remark.
    ///
    /// # Errors
    /// As [`Split::read`]; and [`Error::Data`] when the folder has no training set, or two files
    /// for one split.
    pub fn open(path: impl AsRef<Path>, columns: &Columns) -> Result<Self> {
        folder::open(path.as_ref(), columns)
    }

    /// As [`Dataset::open`], but each file may lack the label column: its examples then have no
    /// labels.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_partly(path: impl AsRef<Path>, columns: &Columns) -> Result<Self> {
        folder::open_partly(path.as_ref(), columns)
    }

    /// The labels of the training set. There must be two or more, and the other sets must have no
    /// others.
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

    /// The labels of a data set whose examples have several each; see [`Dataset::labels`].
    ///
    /// # Errors
    /// As [`Labels::from_sets`]; [`Error::Data`] when the training set has no label at all, and with
    /// the label, file and line for a label unseen in training.
    pub fn label_sets(&self) -> Result<Labels> {
        let labels = Labels::from_sets(&self.train)?;
        if labels.is_empty() {
            let message = "no example of the training set has a label";
            return Err(Error::data(&self.train.path, None, message));
        }
        for split in [&self.dev, &self.test].into_iter().flatten() {
            labels.encode_sets(split)?;
        }
        Ok(labels)
    }
}

impl<E: Row> Dataset<E> {
    /// How many examples of `split` have the text, or pair of texts, of a training example: a model
    /// may remember their labels.
    pub fn seen_in_training(&self, split: &Split<E>) -> usize {
        let seen: HashSet<_> = self.train.examples.iter().map(Row::input).collect();
        split.examples.iter().filter(|example| seen.contains(&example.input())).count()
    }

    /// Sets `fraction` of the training texts aside as the dev set: a share of every kind (a label),
    /// drawn by `seed`. At least one text of each kind stays. Returns the number of texts set
    /// aside, which is 0 where there are too few.
    pub fn hold_out(&mut self, fraction: f64, seed: u64) -> usize {
        self.set_aside(hold_out::by_kind(&self.train, fraction, seed))
    }

    /// As [`hold_out`](Dataset::hold_out), without regard to the labels, where each example has
    /// several, or a number.
    pub fn hold_out_any(&mut self, fraction: f64, seed: u64) -> usize {
        self.set_aside(hold_out::any(&self.train, fraction, seed))
    }

    fn set_aside(&mut self, (rest, held): (Split<E>, Split<E>)) -> usize {
        let count = held.examples.len();
        if count > 0 {
            (self.train, self.dev) = (rest, Some(held));
        }
        count
    }
}

#[cfg(test)]
mod gzip_tests;
#[cfg(test)]
mod tests;
