//! Ranking texts by a query.

use std::sync::Arc;

use super::model;
use super::texts::empty;
use crate::ask::{Asked, Scores};
use crate::call::Call;
use crate::error::Result;
use crate::json::{Fields, string};
use crate::pipeline::Task;
use crate::question::Question;
use crate::served::Served;

/// The model of a request for a ranking: a classifier with a single label.
pub fn ranker(call: &Call, fields: &mut Fields) -> Result<Arc<Served>> {
    model::fitting(call, fields, "ranking, with a single label", |served| {
        served.task() == Task::Classify && served.pipeline().labels().len() == 1
    })
}

/// The text that others are ranked by.
pub fn query(fields: &mut Fields) -> Result<String> {
    let query = string(fields.required("query")?, "query")?;
    match query.is_empty() {
        true => Err(empty("query")),
        false => Ok(query),
    }
}

/// The indices of the pairs with their scores, best first. Pairs with equal scores keep their
/// order.
pub async fn ranked(
    served: &Arc<Served>,
    pairs: Question,
    scores: Scores,
) -> Result<Asked<(usize, f32)>> {
    let Asked { answers, usage } = served.scores(pairs, scores).await?;
    let first = |scores: Vec<f32>| scores.first().copied().unwrap_or_default();
    let mut answers: Vec<(usize, f32)> = answers.into_iter().map(first).enumerate().collect();
    answers.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Asked { answers, usage })
}
