//! The pooling of sparse encoders.

use serde_json::{Map, Value};

use super::values::text;

/// How the logits of a text become a sparse vector: the settings of `SpladePooling` in
/// sentence-transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Splade {
    /// The numbers of the places are added; otherwise the largest counts.
    pub sum: bool,
    /// The logarithm is taken twice.
    pub twice: bool,
}

impl Splade {
    /// Reads the `config.json` of the module.
    pub(super) fn read(config: &Map<String, Value>) -> Result<Splade, String> {
        let one_of = |key: &str, words: [&str; 2]| match text(config, key)?.unwrap_or(words[0]) {
            word if word == words[0] => Ok(false),
            word if word == words[1] => Ok(true),
            other => Err(format!("{key} is `{other}`; Gradus has {} and {}", words[0], words[1])),
        };
        Ok(Splade {
            sum: one_of("pooling_strategy", ["max", "sum"])?,
            twice: one_of("activation_function", ["relu", "log1p_relu"])?,
        })
    }
}
