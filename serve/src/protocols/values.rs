//! A model's answer to one input as a JSON value, where the protocol leaves its form to the model.

use std::sync::Arc;

use gradus_models::pipelines::{Fill, Tag, WordLabel};
use serde::Serialize;

use crate::ask::{Asked, Caller, Encode, Question, Scores, Text};
use crate::error::Result;
use crate::pipeline::Task;
use crate::registry::Served;

/// The answer to one input.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Row {
    /// An embedding.
    Vector(Vec<f32>),
    /// The best label, and the scores of all in the order of their ids.
    Label {
        /// The best label.
        label: String,
        /// The scores.
        scores: Vec<f32>,
    },
    /// Words for each mask.
    Masks(Vec<Vec<Fill>>),
    /// Labelled words.
    Words(Vec<Tag>),
}

impl Row {
    /// How many numbers or words it has, about.
    pub fn size(&self) -> usize {
        match self {
            Row::Vector(vector) => vector.len(),
            Row::Label { scores, .. } => scores.len(),
            Row::Masks(masks) => 20 * masks.iter().map(Vec::len).sum::<usize>(),
            Row::Words(words) => 20 * words.len(),
        }
    }
}

/// Words for each mask, where nobody says how many.
pub const FILLS: usize = 5;

/// Answers of the model's own kind.
///
/// # Errors
/// As [`Served::ask`].
pub async fn rows(
    served: &Arc<Served>,
    texts: Vec<Text>,
    options: Encode,
    caller: Caller,
) -> Result<Asked<Row>> {
    fn each<T>(asked: Asked<T>, row: impl Fn(T) -> Row) -> Asked<Row> {
        Asked { answers: asked.answers.into_iter().map(row).collect(), usage: asked.usage }
    }
    Ok(match served.task() {
        Task::Embed => each(
            served.embed(Question::new(texts, options, caller), true, None).await?,
            Row::Vector,
        ),
        Task::Classify => {
            let asked = served.scores(Question::new(texts, options, caller), Scores::Model).await?;
            each(asked, |scores| {
                let label = served.ranked(&scores).into_iter().next().map(|best| best.label);
                Row::Label { label: label.unwrap_or_default(), scores }
            })
        }
        Task::FillMask => each(
            served.fill_mask(Question::new(texts, options, caller), FILLS, None).await?,
            Row::Masks,
        ),
        Task::Tag => {
            let question = Question::new(texts, options, caller);
            each(served.tag(question, WordLabel::First).await?, Row::Words)
        }
    })
}
