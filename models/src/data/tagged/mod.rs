//! Sentences whose words have tags: named entities, parts of speech.

mod conll;
mod jsonl;
mod names;

use std::collections::HashMap;
use std::path::Path;

use super::ending::ending;
use super::folder::{Files, Parts};
use super::{Dataset, Labels, Row, Split, read};
use crate::error::{Error, Result};

/// A sentence, and the tag of each of its words.
///
/// In a CoNLL file (`.conll`, `.iob`, `.bio`; `.txt` in a data set of sentences) a line has a word
/// and what is known about it, in columns separated by a tab or by spaces: the first is the word,
/// the last its tag. A blank line ends a sentence. Lines that begin with `-DOCSTART-` are skipped,
/// and so are comments: lines before a sentence that begin with `#` and have another number of
/// columns. A line of a `.jsonl` file is `{"tokens": […], "tags": […]}`; a `.parquet` file has the
/// same as columns of lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedSentence {
    /// The words. An empty one is possible.
    pub words: Vec<String>,
    /// A tag for each word, as written in the file; none where tags are not read.
    pub tags: Vec<String>,
    /// The line of the file on which the sentence starts, counted from 1.
    pub line: u64,
    /// Whether each word has a line of its own.
    pub word_a_line: bool,
}

impl TaggedSentence {
    /// The line of a word.
    pub fn line_of(&self, word: usize) -> u64 {
        if self.word_a_line { self.line + word as u64 } else { self.line }
    }
}

impl Row for TaggedSentence {
    type Input<'a> = &'a [String];

    fn input(&self) -> &[String] {
        &self.words
    }

    /// The first tag that is not `O`.
    fn kind(&self) -> Option<&str> {
        self.tags.iter().map(String::as_str).find(|tag| *tag != "O")
    }

    fn parts<'a>(&'a self, part: &mut dyn FnMut(Option<&'a str>)) {
        self.words.iter().chain(&self.tags).for_each(|text| part(Some(text)));
        part(None);
    }

    fn shift(&mut self, rows: u64) {
        self.line += rows;
    }
}

/// Where a file has the words and the tags.
///
/// A column has a name in a JSON object, and a number from 1 in a CoNLL file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaggedColumns {
    /// The words; `None` for `tokens`, or the first column.
    pub words: Option<String>,
    /// The tags; `None` for `tags`, or the last column.
    pub tags: Option<String>,
    /// The names of tags that the file writes as numbers: the first is that of 0.
    pub names: Vec<String>,
}

/// The endings of files with tagged sentences, without the dot.
const ENDINGS: [&str; 6] = ["conll", "iob", "bio", "txt", "jsonl", "parquet"];

/// Whether a file's ending says that it holds sentences of given words. A `.txt`, `.jsonl` or
/// `.parquet` file may also hold texts.
pub fn is_tagged(path: &Path) -> bool {
    ["conll", "iob", "bio"].contains(&ending(path).as_str())
}

/// Reads the sentences of a file without their tags, which it need not have.
///
/// # Errors
/// As [`Split::read_tagged`].
pub fn read_words(path: impl AsRef<Path>, columns: &TaggedColumns) -> Result<Vec<TaggedSentence>> {
    sentences(path.as_ref(), columns, false)
}

fn sentences(path: &Path, columns: &TaggedColumns, tags: bool) -> Result<Vec<TaggedSentence>> {
    let ending = ending(path);
    if !ENDINGS.contains(&ending.as_str()) {
        let known = ENDINGS.map(|ending| format!(".{ending}")).join(", ");
        let message =
            format!("the ending does not tell the format of sentences of words; use {known}");
        return Err(Error::data(path, None, message));
    }
    let bytes = read::open(path)?;
    let mut found = match ending.as_str() {
        "jsonl" | "parquet" => jsonl::sentences(path, bytes, columns, tags)?,
        _ => conll::sentences(path, read::text(path, &bytes)?, columns, tags)?,
    };
    if found.is_empty() {
        return Err(Error::data(path, None, "the file holds no sentences"));
    }
    if tags {
        names::of_numbers(path, &mut found, &columns.names)?;
    }
    Ok(found)
}

impl Split<TaggedSentence> {
    /// Reads a file of tagged sentences.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Data`] with the line for anything wrong
    /// inside it: an unknown ending, invalid UTF-8, a line with another number of columns, a
    /// sentence with more words than tags or fewer, a word without a tag, no sentences at all;
    /// [`Error::TagNumbers`] for tags that are numbers without names.
    pub fn read_tagged(path: impl AsRef<Path>, columns: &TaggedColumns) -> Result<Self> {
        let path = path.as_ref();
        let examples = sentences(path, columns, true)?;
        Ok(Split { path: path.to_path_buf(), examples })
    }

    /// The number of words.
    pub fn words(&self) -> usize {
        self.examples.iter().map(|sentence| sentence.words.len()).sum()
    }

    /// The ids of the words' tags, sentence by sentence.
    ///
    /// # Errors
    /// [`Error::Data`] with the tag, the file and the line for a tag that is not among `labels`.
    pub fn tag_ids(&self, labels: &Labels) -> Result<Vec<Vec<u32>>> {
        let id = |sentence: &TaggedSentence, word: usize, tag: &str| {
            labels.id(tag).ok_or_else(|| {
                let message = format!(
                    "the tag `{tag}` of the word `{}` is not one of the {} tags of the training \
                     set ({}); correct it, or add sentences with it there",
                    sentence.words[word],
                    labels.len(),
                    labels.sample()
                );
                Error::data(&self.path, sentence.line_of(word), message)
            })
        };
        let ids = |sentence: &TaggedSentence| {
            let tags = sentence.tags.iter().enumerate();
            tags.map(|(word, tag)| id(sentence, word, tag)).collect()
        };
        self.examples.iter().map(ids).collect()
    }
}

impl Dataset<TaggedSentence> {
    /// Reads a data set of tagged sentences: a folder with files for `train`, and perhaps for `dev`
    /// and `test` (see [`Dataset::open`]), or one file, which is then the training set.
    ///
    /// # Errors
    /// As [`Split::read_tagged`]; and [`Error::Data`] when the folder has no training set, or two
    /// files for one split.
    pub fn open_tagged(path: impl AsRef<Path>, columns: &TaggedColumns) -> Result<Self> {
        let Files { train, dev, test, remarks } = Files::find(path.as_ref(), &ENDINGS)?;
        let read = |parts: Parts| Split::of_parts(&parts, |file| Split::read_tagged(file, columns));
        Ok(Dataset {
            train: read(train)?,
            dev: dev.map(read).transpose()?,
            test: test.map(read).transpose()?,
            remarks,
        })
    }

    /// The tags of the training set; their sorted order gives the ids. There must be two or more,
    /// and the other sets must have no others.
    ///
    /// # Errors
    /// [`Error::Data`] for a single tag, for two tags that differ only in spelling, and for a tag
    /// that the training set lacks, with its file and line.
    pub fn tags(&self) -> Result<Labels> {
        let mut first: HashMap<String, u64> = HashMap::new();
        for sentence in &self.train.examples {
            for (word, tag) in sentence.tags.iter().enumerate() {
                first.entry(tag.clone()).or_insert(sentence.line_of(word));
            }
        }
        let labels = Labels::sorted(&self.train.path, &first)?;
        if let [only] = labels.names() {
            let words = self.train.words();
            let message = format!(
                "all {words} words have the tag `{only}`: there is nothing to learn; is this the \
                 column of the tags?"
            );
            return Err(Error::data(&self.train.path, None, message));
        }
        for split in [&self.dev, &self.test].into_iter().flatten() {
            split.tag_ids(&labels)?;
        }
        Ok(labels)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
