//! `--class-weights` of `train classify`.

use gradus_cli::{Failure, Outcome};
use gradus_models::Labels;
use gradus_models::tasks::Answers;

use super::classify::ClassifyFlags;
use crate::flags::with_flag;

/// The weights that --class-weights gives.
pub fn class_weights(
    flags: &ClassifyFlags,
    labels: &Labels,
    answers: &Answers,
) -> Outcome<Option<Vec<f32>>> {
    let Some(text) = &flags.class_weights else { return Ok(None) };
    let fail = |why: String| Failure::usage(format!("--class-weights {text}: {why}"));
    if text == "balanced" {
        return Ok(Some(answers.balanced_weights(labels.len()).map_err(with_flag)?));
    }
    let mut weights = vec![1.0; labels.len()];
    for part in text.split(',') {
        let pair =
            part.rsplit_once('=').ok_or_else(|| fail(format!("`{part}` is no label=weight")))?;
        let (name, weight) = (pair.0.trim(), pair.1.trim());
        let id =
            labels.id(name).ok_or_else(|| fail(format!("`{name}` is no label of the data")))?;
        weights[id as usize] =
            weight.parse().map_err(|_| fail(format!("`{weight}` is no number")))?;
    }
    Ok(Some(weights))
}
