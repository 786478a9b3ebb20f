//! Questions about texts, with the parts of the texts that answer them.

mod json;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::ending::ending;
use super::folder::{Files, Parts};
use super::{Dataset, Row, Split, read};
use crate::error::{Error, Result};

/// A question about a text, and its answers: parts of the text.
///
/// A `.json` file is in the form of SQuAD, version 1.1 or 2.0
/// (`{"data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id": …, "question": …,
/// "answers": [{"text": …, "answer_start": …}]}]}]}]}`), or a list of rows, under `data` or alone.
/// A row, also a line of a `.jsonl` file or a row of a `.parquet` file, is
/// `{"id": …, "question": …, "context": …, "answers": …}`.
/// Its answers are a list as SQuAD's, `{"text": […], "answer_start": […]}` as the data sets of the
/// hub have them, or a single `{"text": …, "answer_start": …}`. A question without answers has none
/// in its text. `plausible_answers` are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its id; where the file has none, its number in the file, from 1.
    pub id: String,
    /// The title of the article that the text is from.
    pub title: Option<String>,
    /// The question.
    pub question: String,
    /// The text that it is about.
    pub context: Arc<str>,
    /// The answers, any of which is right; none where the text does not answer the question. An
    /// answer of white space alone is not kept.
    pub answers: Vec<GivenAnswer>,
    /// The line of the file, counted from 1; `None` for a file that is one JSON value.
    pub line: Option<u64>,
}

/// An answer, as the data gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAnswer {
    /// The answer.
    pub text: String,
    /// Where it starts in the context, in characters (Unicode code points), by the file.
    pub start: i64,
    /// Where it is in the context, in bytes; `None` where another text stands at its start.
    pub place: Option<Range<usize>>,
}

impl GivenAnswer {
    /// An answer that the data says to start at the character `start` of `context`.
    pub fn new(context: &str, text: String, start: i64) -> GivenAnswer {
        let place = usize::try_from(start).ok().and_then(|start| {
            let mut starts = context.char_indices().map(|(at, _)| at).chain([context.len()]);
            let from = starts.nth(start)?;
            context.get(from..)?.starts_with(&text).then(|| from..from + text.len())
        });
        GivenAnswer { text, start, place }
    }
}

impl Question {
    /// Where the first answer is whose text stands at its start.
    pub fn place(&self) -> Option<&Range<usize>> {
        self.answers.iter().find_map(|answer| answer.place.as_ref())
    }

    /// Whether the text does not answer it.
    pub fn is_impossible(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether it has answers, and none of them stands where the data says.
    pub fn is_misplaced(&self) -> bool {
        !self.is_impossible() && self.place().is_none()
    }
}

impl Row for Question {
    type Input<'a> = (&'a str, &'a str);

    fn input(&self) -> (&str, &str) {
        (&self.question, &self.context)
    }

    /// Whether the text answers it.
    fn kind(&self) -> Option<&str> {
        Some(if self.is_impossible() { "impossible" } else { "answered" })
    }

    fn parts<'a>(&'a self, part: &mut dyn FnMut(Option<&'a str>)) {
        part(Some(&self.question));
        part(Some(&self.context));
        for answer in &self.answers {
            part(Some(&answer.text));
            // The bytes before it tell its place.
            let before = answer.place.as_ref().and_then(|place| self.context.get(..place.start));
            part(before);
        }
        part(None);
    }

    fn shift(&mut self, rows: u64) {
        self.line = self.line.map(|line| line + rows);
    }
}

/// The endings of files with questions, without the dot.
const ENDINGS: [&str; 3] = ["json", "jsonl", "parquet"];

/// Reads the questions of a file without their answers, which it need not have.
///
/// # Errors
/// As [`Split::read_questions`].
pub fn read_questions(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    questions(path.as_ref(), false)
}

fn questions(path: &Path, answers: bool) -> Result<Vec<Question>> {
    let ending = ending(path);
    if !ENDINGS.contains(&ending.as_str()) {
        let message = "the ending does not tell the format of questions; use .json (SQuAD's form), \
                       .jsonl or .parquet";
        return Err(Error::data(path, None, message));
    }
    let bytes = read::open(path)?;
    let found = match ending.as_str() {
        "json" => json::file(path, read::text(path, &bytes)?, answers)?,
        _ => json::lines(path, bytes, answers)?,
    };
    if found.is_empty() {
        return Err(Error::data(path, None, "the file holds no questions"));
    }
    Ok(found)
}

impl Split<Question> {
    /// Reads a file of questions with answers.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Data`] with the place for anything
    /// wrong inside it: an unknown ending, invalid UTF-8, malformed JSON, a missing or strange key,
    /// a question that is said to be impossible and has answers or the other way round, no
    /// questions at all. An answer that stands elsewhere is no error: see [`GivenAnswer::place`].
    pub fn read_questions(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Split { path: path.to_path_buf(), examples: questions(path, true)? })
    }

    /// How many questions the texts do not answer.
    pub fn impossible(&self) -> usize {
        self.examples.iter().filter(|question| question.is_impossible()).count()
    }

    /// The ids of questions whose answers all stand elsewhere than the data says.
    pub fn misplaced(&self) -> Vec<&str> {
        let misplaced = self.examples.iter().filter(|question| question.is_misplaced());
        misplaced.map(|question| question.id.as_str()).collect()
    }
}

impl Dataset<Question> {
    /// Reads a data set of questions: a folder with files for `train`, and perhaps for `dev` and
    /// `test` (see [`Dataset::open`]), or one file, which is then the training set.
    ///
    /// # Errors
    /// As [`Split::read_questions`]; and [`Error::Data`] when the folder has no training set, or two
    /// files for one split.
    pub fn open_questions(path: impl AsRef<Path>) -> Result<Self> {
        let Files { train, dev, test, remarks } = Files::find(path.as_ref(), &ENDINGS)?;
        let read = |parts: Parts| Split::of_parts(&parts, |file| Split::read_questions(file));
        Ok(Dataset {
            train: read(train)?,
            dev: dev.map(read).transpose()?,
            test: test.map(read).transpose()?,
            remarks,
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
