//! Label names and their ids.

use std::collections::HashMap;
use std::path::Path;

use unicode_normalization_alignments::UnicodeNormalization;

use super::Split;
use crate::error::{Error, Result};

/// The labels of a task: names, and their ids in `0..len`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    names: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Labels {
    /// Labels in the given order: the first has id 0.
    ///
    /// # Errors
    /// [`Error::Input`] when a name occurs twice.
    pub fn from_names(names: Vec<String>) -> Result<Self> {
        let mut ids = HashMap::with_capacity(names.len());
        for (id, name) in names.iter().enumerate() {
            let id = u32::try_from(id).map_err(|_| Error::Input("more than 2^32 labels".into()))?;
            if ids.insert(name.clone(), id).is_some() {
                return Err(Error::Input(format!("the label `{name}` occurs twice")));
            }
        }
        Ok(Labels { names, ids })
    }

    /// The distinct labels of a split; their sorted order gives the ids. Labels that are all
    /// numbers are sorted as numbers (0 to n − 1 are their own ids), others by Unicode code points,
    /// as Python sorts.
    ///
    /// # Errors
    /// [`Error::Data`] with the line for an example without a label, and for a label that is
    /// another one written otherwise: the same number (`1` and `1.0`), with spaces around it, in
    /// characters that look alike or cannot be seen.
    pub fn from_split(split: &Split) -> Result<Self> {
        let label = |example: &super::Example| {
            let label = example.label.clone().ok_or_else(|| unlabelled(split, example.line))?;
            Ok((label, example.line))
        };
        let occurrences = split.examples.iter().map(label).collect::<Result<Vec<_>>>()?;
        Self::from_occurrences(&split.path, occurrences)
    }

    /// The distinct labels among names and the lines on which they occur.
    pub(super) fn from_occurrences(path: &Path, occurrences: Vec<(String, u64)>) -> Result<Self> {
        let mut first: HashMap<String, u64> = HashMap::new();
        for (name, line) in occurrences {
            first.entry(name).or_insert(line);
        }
        Self::sorted(path, &first)
    }

    /// Labels in their sorted order, from each label's first line in the file `path`.
    pub(super) fn sorted(path: &Path, first: &HashMap<String, u64>) -> Result<Self> {
        let mut names: Vec<String> = first.keys().cloned().collect();
        names.sort();
        if let Some(values) = numbers(&names) {
            let mut pairs: Vec<(f64, String)> = values.into_iter().zip(names).collect();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            names = pairs.into_iter().map(|(_, name)| name).collect();
        }
        let mut seen: HashMap<String, &String> = HashMap::new();
        for name in &names {
            if let Some(other) = seen.insert(meaning(name), name) {
                let (line, later) = match first[name] > first[other] {
                    true => (first[name], name),
                    false => (first[other], other),
                };
                let earlier = if later == name { other } else { name };
                return Err(Error::data(path, line, one_spelling(earlier, later)));
            }
        }
        Self::from_names(names)
    }

    /// Warnings about the labels of a training set, each a sentence.
    pub fn remarks(&self, split: &Split) -> Vec<String> {
        let (mut remarks, texts) = (Vec::new(), split.examples.len());
        let values = numbers(&self.names);
        let whole = values.as_ref().is_some_and(|v| v.iter().all(|v| v.fract() == 0.0));
        if values.is_some() && !whole {
            remarks.push(format!(
                "the labels are decimal numbers ({}): each is a class of its own, however close \
                 two numbers are",
                self.sample()
            ));
        }
        let shifted = |(id, value): &(usize, f64)| *value != *id as f64;
        if let Some(values) = values.filter(|_| whole)
            && let Some((id, _)) = values.into_iter().enumerate().find(shifted)
        {
            remarks.push(format!(
                "the labels are whole numbers, but not 0 to {}: the label `{}` has the id {id}",
                self.len() - 1,
                self.names[id]
            ));
        }
        if self.lonely(texts) {
            remarks.push(format!(
                "{} labels for {texts} texts, so most labels have a single text: is this the \
                 column of the labels?",
                self.len()
            ));
        }
        let quoted = |name: &str| name.len() > 1 && name.starts_with('"') && name.ends_with('"');
        let odd = |name: &&String| name.trim() != name.as_str() || quoted(name.trim());
        if let Some(name) = self.names.iter().find(odd) {
            remarks.push(format!(
                "the label `{name}` has spaces or quotes around it, and they are part of the \
                 label: is there a space after each separator?"
            ));
        }
        let mut folded: HashMap<String, &String> = HashMap::new();
        for name in &self.names {
            if let Some(other) = folded.insert(name.to_lowercase(), name) {
                remarks.push(format!(
                    "the labels `{other}` and `{name}` differ only in upper and lower case"
                ));
            }
        }
        remarks
    }

    /// Checks that a classifier can learn the labels: there are two or more, and they are not
    /// decimal numbers that hardly repeat, which would be a quantity.
    ///
    /// # Errors
    /// [`Error::Data`] with what is wrong.
    pub(super) fn check_learnable(&self, split: &Split) -> Result<()> {
        let texts = split.examples.len();
        if let [only] = self.names.as_slice() {
            let message = format!(
                "all {texts} texts have the label `{only}`; a classifier needs two labels or more"
            );
            return Err(Error::data(&split.path, None, message));
        }
        let decimal = numbers(&self.names).is_some_and(|v| v.iter().any(|v| v.fract() != 0.0));
        if decimal && self.lonely(texts) {
            let message = format!(
                "the labels are decimal numbers, and most occur once ({}; {} for {texts} texts): \
                 a classifier cannot learn a quantity; group the numbers into classes",
                self.sample(),
                self.len()
            );
            return Err(Error::data(&split.path, None, message));
        }
        Ok(())
    }

    /// Whether there are fewer than two texts for each label.
    fn lonely(&self, texts: usize) -> bool {
        2 * self.len() > texts
    }

    /// The ids of a split's labels, in the order of its examples.
    ///
    /// # Errors
    /// [`Error::Data`] with the label, the file and the line for a label that is not among these.
    pub fn encode(&self, split: &Split) -> Result<Vec<u32>> {
        split
            .examples
            .iter()
            .map(|example| {
                let label =
                    example.label.as_ref().ok_or_else(|| unlabelled(split, example.line))?;
                self.known(label, split, example.line)
            })
            .collect()
    }

    /// The id of a label on a line of a split.
    pub(super) fn known(&self, label: &str, split: &Split, line: u64) -> Result<u32> {
        self.id(label).ok_or_else(|| {
            let message = format!(
                "the label `{label}` is not one of the {} labels of the training set ({}); \
                 correct it, or add examples of it there",
                self.len(),
                self.sample()
            );
            Error::data(&split.path, line, message)
        })
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names in the order of their ids.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of an id.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(String::as_str)
    }

    /// The id of a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// The first few names, for a message.
    pub(super) fn sample(&self) -> String {
        let first: Vec<&str> = self.names.iter().take(5).map(String::as_str).collect();
        let more = if self.len() > 5 { ", …" } else { "" };
        format!("{}{more}", first.join(", "))
    }
}

/// The values of labels that are all numbers.
fn numbers(names: &[String]) -> Option<Vec<f64>> {
    names.iter().map(|name| number(name.trim())).collect()
}

/// The value of a label that is a decimal number; `inf` and `nan` count as words.
fn number(name: &str) -> Option<f64> {
    let digits = name.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && name.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    name.parse().ok().filter(|value: &f64| digits && value.is_finite())
}

/// A form that two labels share if they differ in spelling alone.
fn meaning(name: &str) -> String {
    let name = name.trim();
    let unsigned = name.strip_prefix('+').unwrap_or(name);
    let whole = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match number(name) {
        // Whole numbers stay text: floats are too coarse beyond 2^53.
        Some(_) if whole(unsigned.strip_prefix('-').unwrap_or(unsigned)) => {
            let (sign, digits) = match unsigned.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", unsigned),
            };
            match digits.trim_start_matches('0') {
                "" => "0".into(),
                digits => format!("{sign}{digits}"),
            }
        }
        Some(value) => format!("{}", if value == 0.0 { 0.0 } else { value }),
        // Unicode has two forms of some letters, and characters that cannot be seen.
        None => name.nfc().map(|(c, _)| c).filter(|c| !is_invisible(*c)).collect(),
    }
}

/// Characters of no width: joiners, marks of direction, the byte-order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// The error of one label in two spellings; where they look alike, their characters are written
/// out.
fn one_spelling(a: &str, b: &str) -> String {
    let alike = !(a.is_ascii() && b.is_ascii()) && a.trim() == a && b.trim() == b;
    let shown = |name: &str| match alike {
        true => name.escape_default().to_string(),
        false => name.to_string(),
    };
    format!(
        "the labels `{}` and `{}` differ only in spelling; write both the same way",
        shown(a),
        shown(b)
    )
}

pub(super) fn unlabelled(split: &Split, line: u64) -> Error {
    Error::data(&split.path, line, "this example has no label; add one, or remove the line")
}
