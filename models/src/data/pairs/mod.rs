//! Texts whose embeddings are compared: pairs, pairs with negatives, pairs with a score.

mod columns;
mod rows;

use std::path::Path;

pub use columns::PairColumns;

use super::folder::{Files, Parts};
use super::{Dataset, Row, Split};
use crate::error::{Error, Result};

/// Two texts that belong together, perhaps with texts that do not; or two texts and how similar
/// they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPair {
    /// The first text, such as a query.
    pub anchor: String,
    /// The second text: one that belongs to the first, or, of a pair with a score, any other.
    pub positive: String,
    /// Hard negatives: texts that do not belong to the first.
    pub negatives: Vec<String>,
    /// The score, as written in the file; a finite number.
    pub score: Option<String>,
    /// The line of the file on which the example starts, counted from 1.
    pub line: u64,
}

impl TextPair {
    /// The score as a number.
    pub fn number(&self) -> Option<f64> {
        self.score.as_ref().and_then(|score| score.trim().parse().ok())
    }

    /// All of its texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let both = [&self.anchor, &self.positive].into_iter();
        both.chain(&self.negatives).map(String::as_str)
    }
}

impl Row for TextPair {
    type Input<'a> = (&'a str, &'a str);

    fn input(&self) -> (&str, &str) {
        (&self.anchor, &self.positive)
    }

    fn kind(&self) -> Option<&str> {
        None
    }

    fn parts<'a>(&'a self, part: &mut dyn FnMut(Option<&'a str>)) {
        part(Some(&self.anchor));
        part(Some(&self.positive));
        self.negatives.iter().for_each(|text| part(Some(text)));
        part(None);
        part(self.score.as_deref());
    }

    fn shift(&mut self, rows: u64) {
        self.line += rows;
    }
}

/// What the examples of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairForm {
    /// Two texts that belong together.
    Pairs,
    /// The same with hard negatives, at least in one example.
    Triplets,
    /// Two texts and how similar they are.
    Scored,
}

impl PairForm {
    /// The examples of this form, for a message.
    pub fn name(self) -> &'static str {
        match self {
            PairForm::Pairs => "pairs",
            PairForm::Triplets => "pairs with negatives",
            PairForm::Scored => "pairs with a score",
        }
    }
}

impl Split<TextPair> {
    /// Reads a file of pairs: `.csv`, `.tsv`, `.jsonl` or `.parquet`.
    ///
    /// An empty field, or null, in a column of negatives is no negative. A key of a JSON object, or
    /// a column of a Parquet file, may also hold a list of negatives.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Data`] with the line for anything wrong
    /// inside it, an empty text and a score that is no number among it; [`Error::PairColumns`] when
    /// the names of the columns do not tell what they hold.
    pub fn read_pairs(path: impl AsRef<Path>, columns: &PairColumns) -> Result<Self> {
        let path = path.as_ref();
        let examples = rows::read(path, columns)?;
        if examples.is_empty() {
            return Err(Error::data(path, None, "the file holds no examples"));
        }
        Ok(Split { path: path.to_path_buf(), examples })
    }

    /// What the examples are.
    pub fn form(&self) -> PairForm {
        match &self.examples {
            all if all.iter().any(|pair| pair.score.is_some()) => PairForm::Scored,
            all if all.iter().any(|pair| !pair.negatives.is_empty()) => PairForm::Triplets,
            _ => PairForm::Pairs,
        }
    }
}

impl Dataset<TextPair> {
    /// Reads a data set of pairs: a folder with files for `train`, and perhaps for `dev` and `test`
    /// (see [`Dataset::open`]), or one file, which is then the training set. The training set may
    /// have another form than the others, which must have the same.
    ///
    /// # Errors
    /// As [`Split::read_pairs`]; and [`Error::Data`] when the folder has no training set, two files
    /// for one split, or a dev set and a test set of different forms.
    pub fn open_pairs(path: impl AsRef<Path>, columns: &PairColumns) -> Result<Self> {
        let Files { train, dev, test, remarks } = Files::find(path.as_ref(), &ENDINGS)?;
        let read = |parts: Parts| Split::of_parts(&parts, |file| Split::read_pairs(file, columns));
        let (train, dev, test) =
            (read(train)?, dev.map(read).transpose()?, test.map(read).transpose()?);
        if let (Some(dev), Some(test)) = (&dev, &test)
            && (dev.form() == PairForm::Scored) != (test.form() == PairForm::Scored)
        {
            let message = format!(
                "holds {}, but {} holds {}: the same numbers must tell how good the model is on \
                 both; remove one, or give both scores",
                test.form().name(),
                dev.path.display(),
                dev.form().name()
            );
            return Err(Error::data(&test.path, None, message));
        }
        Ok(Dataset { train, dev, test, remarks })
    }
}

/// The endings of files of pairs.
const ENDINGS: [&str; 4] = ["csv", "tsv", "jsonl", "parquet"];

#[cfg(test)]
mod tests;
