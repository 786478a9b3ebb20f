//! Label names and their ids.

use std::collections::HashMap;

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

    /// The distinct labels of a split; their sorted order (by Unicode code points, as Python sorts) gives the ids.
    ///
    /// # Errors
    /// [`Error::Data`] with the line for an example without a label.
    pub fn from_split(split: &Split) -> Result<Self> {
        let mut names = Vec::new();
        for example in &split.examples {
            names.push(example.label.clone().ok_or_else(|| unlabelled(split, example.line))?);
        }
        names.sort();
        names.dedup();
        Self::from_names(names)
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
                let label = example.label.as_ref().ok_or_else(|| unlabelled(split, example.line))?;
                self.id(label).ok_or_else(|| {
                    Error::data(
                        &split.path,
                        example.line,
                        format!(
                            "the label `{label}` does not occur in training ({} labels: {}); correct it, or add examples of it",
                            self.len(),
                            self.sample()
                        ),
                    )
                })
            })
            .collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
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

    fn sample(&self) -> String {
        let first: Vec<&str> = self.names.iter().take(5).map(String::as_str).collect();
        let more = if self.len() > 5 { ", …" } else { "" };
        format!("{}{more}", first.join(", "))
    }
}

fn unlabelled(split: &Split, line: u64) -> Error {
    Error::data(&split.path, line, "this example has no label; add one, or remove the line")
}
