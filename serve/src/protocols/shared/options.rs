//! Fields that say how texts are encoded and scored.

use gradus_models::pipelines::ClassificationFunction;

use crate::ask::Scores;
use crate::call::Call;
use crate::error::{Problem, Result};
use crate::json::Fields;
use crate::question::EncodeOptions;

/// `truncate`, `truncation_direction`, `prompt_name`.
pub fn encoding(call: &Call, fields: &mut Fields) -> Result<EncodeOptions> {
    Ok(EncodeOptions { prompt: fields.string("prompt_name")?, ..truncation(call, fields)? })
}

/// `truncate`, `truncation_direction`.
pub fn truncation(call: &Call, fields: &mut Fields) -> Result<EncodeOptions> {
    let truncate = fields.bool("truncate")?.unwrap_or(call.app.limits.truncate);
    let left = match fields.string("truncation_direction")?.as_deref() {
        None | Some("Right" | "right") => false,
        Some("Left" | "left") => true,
        Some(_) => return Err(Problem::field("truncation_direction", "must be `Left` or `Right`")),
    };
    Ok(EncodeOptions { truncate, left, prompt: None })
}

/// `raw_scores`.
pub fn scores(fields: &mut Fields) -> Result<Scores> {
    Ok(match fields.bool("raw_scores")?.unwrap_or(false) {
        true => Scores::By(ClassificationFunction::None),
        false => Scores::Model,
    })
}

/// A count of results, such as `top_k`, which must be at least 1.
pub fn top(fields: &mut Fields, key: &str) -> Result<Option<usize>> {
    match fields.count(key)? {
        Some(0) => Err(Problem::field(&fields.at(key), "is 0; it must be 1 or more")),
        count => Ok(count),
    }
}
