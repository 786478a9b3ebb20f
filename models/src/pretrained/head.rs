//! Fits a checkpoint's classification head to the labels of a data set.

use super::Pretrained;
use crate::checkpoint::Head;
use crate::{EncoderConfig, Labels, Result, Task};

impl Pretrained {
    /// Fits the checkpoint's classification head to the labels of a data set, before a classifier
    /// is built. A head with the same labels is kept, with its rows in the order of the labels. Any
    /// other head is replaced by a new one, and the folder's settings for the old head's outputs
    /// are dropped.
    ///
    /// Returns a note for a person; `None` where the head is kept as it is, or there is none.
    pub fn fit_head(&mut self, labels: &Labels) -> Option<String> {
        self.fit_head_for(Task::Classify, labels)
    }

    /// As [`Pretrained::fit_head`], for the head of a token classifier and the tags of words.
    pub fn fit_tag_head(&mut self, tags: &Labels) -> Option<String> {
        self.fit_head_for(Task::Tag, tags)
    }

    fn fit_head_for(&mut self, task: Task, labels: &Labels) -> Option<String> {
        let shape = self.checkpoint.label_shape()?;
        let head = match self.other_than(task) {
            Some(task) => Err(format!("it is for {task}")),
            None => rows(&self.config, labels, shape.first().copied().unwrap_or(0)),
        };
        let (head, note) = match head {
            Ok(rows) if rows.iter().copied().eq(0..labels.len() as u32) => (Head::Kept, None),
            Ok(rows) => {
                let note = "the checkpoint's classification head has the labels in another order; its rows were reordered";
                (Head::Reordered(rows), Some(note.to_string()))
            }
            Err(why) => {
                for key in ["sentence_transformers", "sbert_ce_default_activation_function"] {
                    self.config.extra.remove(key);
                }
                (
                    Head::LeftOut,
                    Some(format!(
                        "the classification head starts from random weights; the checkpoint's \
                         head does not fit ({why})"
                    )),
                )
            }
        };
        self.checkpoint.set_head(head);
        note
    }

    /// What a head is for that is not for `task`, where the folder names it.
    fn other_than(&self, task: Task) -> Option<&'static str> {
        let has = |head: &str| self.config.architectures.iter().any(|name| name.contains(head));
        match task {
            _ if has("MultipleChoice") => Some("multiple choice"),
            Task::Tag => has("SequenceClassification").then_some("texts, not words"),
            _ => has("TokenClassification").then_some("words, not texts"),
        }
    }
}

/// The row of the checkpoint's head for each label of the data; or the reason why there is none.
fn rows(config: &EncoderConfig, labels: &Labels, outputs: usize) -> Result<Vec<u32>, String> {
    let count = |n: usize| if n == 1 { "1 label".to_string() } else { format!("{n} labels") };
    if outputs != labels.len() {
        return Err(format!("it has {}, the data has {}", count(outputs), count(labels.len())));
    }
    let of = |place: usize, label: &String| {
        let named = config.id2label.iter().position(|name| name == label);
        // `transformers` calls a label without a name `LABEL_2`.
        let generic = || {
            let unnamed =
                config.id2label.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"));
            (unnamed && *label == place.to_string()).then_some(place)
        };
        named.or_else(generic).map(|row| row as u32)
    };
    let rows: Option<Vec<u32>> = labels.names().iter().enumerate().map(|(i, l)| of(i, l)).collect();
    rows.ok_or_else(|| {
        let some = |names: &[String]| {
            let first: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
            format!("{}{}", first.join(", "), if names.len() > 3 { ", …" } else { "" })
        };
        format!("its labels are {}, the data's {}", some(&config.id2label), some(labels.names()))
    })
}
