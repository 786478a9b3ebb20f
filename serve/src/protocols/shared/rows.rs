//! Answers whose form depends on the model and not on the protocol.

use std::sync::Arc;

use gradus_models::pipelines::{Fill, Tag, WordLabel};
use serde::Serialize;

use crate::ask::{Asked, Scores};
use crate::call::Call;
use crate::error::Result;
use crate::pipeline::Task;
use crate::question::{Caller, EncodeOptions, Question, Text};
use crate::served::Served;

/// The answer to one input.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Row {
    /// An embedding.
    Vector(Vec<f32>),
    /// The best label, and the scores of all labels in the order of their ids.
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
    /// About how many numbers or words it has.
    pub fn size(&self) -> usize {
        match self {
            Row::Vector(vector) => vector.len(),
            Row::Label { scores, .. } => scores.len(),
            Row::Masks(masks) => 20 * masks.iter().map(Vec::len).sum::<usize>(),
            Row::Words(words) => 20 * words.len(),
        }
    }
}

/// How many words each mask gets when a request does not say.
pub const FILLS: usize = 5;

/// Asks a model of any task; answers have the model's own form.
///
/// # Errors
/// As [`Served::ask`].
pub async fn rows(served: &Arc<Served>, texts: Vec<Text>, call: &Call) -> Result<Asked<Row>> {
    rows_for(served, texts, call.default_options(), call.caller).await
}

/// As [`rows`], for this caller.
///
/// # Errors
/// As [`Served::ask`].
pub async fn rows_for(
    served: &Arc<Served>,
    texts: Vec<Text>,
    options: EncodeOptions,
    caller: Caller,
) -> Result<Asked<Row>> {
    let question = Question::new(texts, options, caller);
    match served.task() {
        Task::Embed => {
            let asked = served.embed(question, true, None).await?;
            asked.map(|vector| Ok(Row::Vector(vector)))
        }
        Task::Classify => served.scores(question, Scores::Model).await?.map(|scores| {
            let label = served.ranked(&scores).into_iter().next().map(|best| best.label);
            Ok(Row::Label { label: label.unwrap_or_default(), scores })
        }),
        Task::FillMask => {
            let asked = served.fill_mask(question, FILLS, None).await?;
            asked.map(|masks| Ok(Row::Masks(masks)))
        }
        Task::Tag => {
            let asked = served.tag(question, WordLabel::First).await?;
            asked.map(|words| Ok(Row::Words(words)))
        }
        Task::Answer | Task::Generate => Err(served.wrong_task("single texts")),
    }
}
