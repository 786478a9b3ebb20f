//! The other forms of a label column: several labels a text, and numbers.

use serde_json::Value;

use super::labels::unlabelled;
use super::{Example, Labels, Split};
use crate::error::{Error, Result};
use crate::files;

/// What the label column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelForm {
    /// One label or one number; an empty one is an error.
    #[default]
    One,
    /// Any number of labels: separated by `|`, or a JSON list. An empty one is no label.
    Several,
}

impl Labels {
    /// The distinct labels of a split whose examples have several each, in the order of
    /// [`Labels::from_split`].
    ///
    /// # Errors
    /// As [`Labels::from_split`]; [`Error::Data`] with the line for a list that is malformed.
    pub fn from_sets(split: &Split) -> Result<Self> {
        let mut occurrences = Vec::new();
        for example in &split.examples {
            let names = label_set(split, example)?;
            occurrences.extend(names.into_iter().map(|name| (name, example.line)));
        }
        Self::from_occurrences(&split.path, occurrences)
    }

    /// The ids of a split's labels, several for each example, ascending.
    ///
    /// # Errors
    /// [`Error::Data`] with the line for a list that is malformed, or a label that is not among
    /// these.
    pub fn encode_sets(&self, split: &Split) -> Result<Vec<Vec<u32>>> {
        let of = |example: &Example| {
            let names = label_set(split, example)?;
            let ids = names.iter().map(|name| self.known(name, split, example.line));
            let mut ids = ids.collect::<Result<Vec<u32>>>()?;
            ids.sort_unstable();
            ids.dedup();
            Ok(ids)
        };
        split.examples.iter().map(of).collect()
    }
}

/// The labels of an example that has several.
fn label_set(split: &Split, example: &Example) -> Result<Vec<String>> {
    let text = example.label.as_deref().ok_or_else(|| unlabelled(split, example.line))?.trim();
    let fail = |message: &str| Error::data(&split.path, example.line, message);
    if !text.starts_with('[') {
        let names = text.split('|').map(str::trim);
        return Ok(names.filter(|name| !name.is_empty()).map(str::to_string).collect());
    }
    let list = files::parse_json::<Vec<Value>>(text.as_bytes());
    let list = list.map_err(|_| fail("the labels begin with `[` and are no JSON list"))?;
    let name = |value: Value| match value {
        Value::String(name) if !name.trim().is_empty() => Ok(name),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(fail("the list of labels holds something that is neither a name nor a number")),
    };
    list.into_iter().map(name).collect()
}

/// The numbers that are the labels of a split, for a regression.
///
/// # Errors
/// [`Error::Data`] with the line for a label that is no finite number.
pub fn numbers(split: &Split) -> Result<Vec<f32>> {
    let number = |example: &Example| {
        let text = example.label.as_deref().ok_or_else(|| unlabelled(split, example.line))?;
        let number = text.trim().parse().ok().filter(|number: &f32| number.is_finite());
        number.ok_or_else(|| {
            let message = format!("the label `{text}` is no number; a regression needs numbers");
            Error::data(&split.path, example.line, message)
        })
    };
    split.examples.iter().map(number).collect()
}
