//! Columns of the CoNLL shared tasks: a word a line, a blank line after each sentence.

use std::path::Path;

use super::{TaggedColumns, TaggedSentence};
use crate::error::{Error, Result};

/// How the lines that separate documents begin.
const DOCUMENT: &str = "-DOCSTART-";

/// The columns of a file.
struct Places {
    /// How many there are, and a line that says so.
    width: (usize, u64),
    word: usize,
    tag: Option<usize>,
}

pub(super) fn sentences(
    path: &Path,
    text: &str,
    columns: &TaggedColumns,
    tags: bool,
) -> Result<Vec<TaggedSentence>> {
    let Some(places) = Places::of(path, text, columns, tags)? else { return Ok(Vec::new()) };
    let mut sentences: Vec<TaggedSentence> = Vec::new();
    let mut open = false;
    for (line, row) in lines(text) {
        let fields = fields(row);
        if is_gap(&fields) {
            open = false;
            continue;
        }
        let (width, first) = places.width;
        if fields.len() != width {
            if !open && row.starts_with('#') {
                continue; // a comment
            }
            let message = format!(
                "{} columns where line {first} has {width}: separate columns by one tab, or all \
                 by spaces with no space inside a word",
                fields.len()
            );
            return Err(Error::data(path, line, message));
        }
        if !open {
            let (words, tags) = (Vec::new(), Vec::new());
            sentences.push(TaggedSentence { words, tags, line, word_a_line: true });
            open = true;
        }
        let Some(sentence) = sentences.last_mut() else { continue };
        let word = fields[places.word];
        sentence.words.push(word.to_string());
        if let Some(tag) = places.tag {
            let tag = fields[tag];
            if tag.is_empty() {
                let message = format!("the word `{word}` has no tag; write O for no entity");
                return Err(Error::data(path, line, message));
            }
            sentence.tags.push(tag.to_string());
        }
    }
    Ok(sentences)
}

impl Places {
    /// The columns of a file, by its first line with a word; `None` where there is none.
    fn of(path: &Path, text: &str, columns: &TaggedColumns, tags: bool) -> Result<Option<Places>> {
        let rows = || lines(text).map(|(line, row)| (line, row, fields(row)));
        let mut rows = rows().filter(|(_, _, fields)| !is_gap(fields));
        // Lines that begin with # may be comments.
        let first = rows.clone().find(|(_, row, _)| !row.starts_with('#')).or_else(|| rows.next());
        let Some((line, _, fields)) = first else { return Ok(None) };
        let width = fields.len();
        if tags && width < 2 {
            let message = "one column, where a word and its tag are expected, separated by a tab \
                           or a space";
            return Err(Error::data(path, line, message));
        }
        let place = |column: &Option<String>, default: usize| match column {
            None => Ok(default),
            Some(name) => {
                column_number(name, width).map_err(|message| Error::data(path, line, message))
            }
        };
        let tag = tags.then(|| place(&columns.tags, width - 1)).transpose()?;
        Ok(Some(Places { width: (width, line), word: place(&columns.words, 0)?, tag }))
    }
}

/// The place of a column, from 0.
fn column_number(name: &str, width: usize) -> Result<usize, String> {
    match name.parse::<usize>() {
        Ok(number) if (1..=width).contains(&number) => Ok(number - 1),
        Ok(number) => Err(format!("there is no column {number}: this line has {width}")),
        Err(_) => Err(format!(
            "the columns of this file have no names, and `{name}` is no number; count them from 1"
        )),
    }
}

fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> + Clone {
    (1..).zip(text.lines())
}

/// The columns of a line.
fn fields(row: &str) -> Vec<&str> {
    match row.trim().is_empty() {
        true => Vec::new(),
        false if row.contains('\t') => {
            row.split('\t').map(|field| field.trim_matches(' ')).collect()
        }
        // Not at other white space, such as a no-break space: it may be a word.
        false => row.split(' ').filter(|field| !field.is_empty()).collect(),
    }
}

/// Whether a line separates sentences.
fn is_gap(fields: &[&str]) -> bool {
    fields.first().is_none_or(|first| first.starts_with(DOCUMENT))
}
