//! What a configuration must be for a model to be built from it.

use serde_json::{Map, Value};

use super::EncoderConfig;
use super::of_type::ANSWER_DROPOUT;
use crate::error::{Error, Result};
use crate::family::{Family, Switches, TokenTypes, unsupported};
use crate::folder::tables::CONFIG;
use crate::folder::values;
use crate::interchange;

/// The types of problem: what a head's outputs mean.
const PROBLEMS: [&str; 3] =
    ["single_label_classification", "multi_label_classification", "regression"];

impl EncoderConfig {
    /// Checks that the sizes make sense together.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|m| Error::config("", m))
    }

    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if Family::of(&self.model_type).is_none() {
            return Err(unsupported(&self.model_type));
        }
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type `{}` is not supported; only `absolute` is",
                self.position_embedding_type
            ));
        }
        CONFIG.check(&self.extra)?;
        values::positive(&self.extra, "num_labels")?;
        if let Some(kind) =
            self.problem_type.as_ref().filter(|kind| !PROBLEMS.contains(&kind.as_str()))
        {
            return Err(format!(
                "problem_type is `{kind}`; it must be one of {}",
                PROBLEMS.join(", ")
            ));
        }
        if let Some(code) = foreign_code(&self.extra) {
            return Err(format!(
                "auto_map names `{code}`: the model brings its own code, and Gradus builds only \
                 models of `transformers`; run the model there with trust_remote_code=True"
            ));
        }
        self.check_sizes()?;
        self.check_numbers()?;
        (self.family().switches)(self).map(drop)
    }

    /// What the file turns on in the encoder.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that Gradus does not have.
    pub(crate) fn switches(&self) -> Result<Switches> {
        (self.family().switches)(self).map_err(|m| Error::config("", m))
    }

    fn check_sizes(&self) -> std::result::Result<(), String> {
        // The upper limits are far above those of any BERT. A corrupt size below them cannot
        // exhaust the memory.
        for (name, value, most) in [
            ("vocab_size", self.vocab_size, 16_000_000),
            ("hidden_size", self.hidden_size, 65_536),
            ("num_hidden_layers", self.num_hidden_layers, 1_024),
            ("num_attention_heads", self.num_attention_heads, 4_096),
            ("intermediate_size", self.intermediate_size, 1_048_576),
            ("max_position_embeddings", self.max_position_embeddings, 1_048_576),
            ("embedding_size", self.embedding_width(), 65_536),
        ] {
            if value == 0 || value > most {
                return Err(format!("{name} is {value}; it must be from 1 to {most}"));
            }
        }
        let fits = match self.family().token_types {
            TokenTypes::Some => self.type_vocab_size > 0,
            TokenTypes::None => self.type_vocab_size == 0,
            TokenTypes::Either => true,
        };
        if self.type_vocab_size > 65_536 || !fits {
            return Err(format!(
                "type_vocab_size is {}; it must be from 1 to 65536",
                self.type_vocab_size
            ));
        }
        if self.max_tokens() == 0 {
            return Err(format!(
                "max_position_embeddings is {}, but positions begin after pad_token_id, at {}",
                self.max_position_embeddings,
                self.first_position()
            ));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        Ok(())
    }

    fn check_numbers(&self) -> std::result::Result<(), String> {
        for (name, p) in [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            ("attention_probs_dropout_prob", Some(self.attention_probs_dropout_prob)),
            ("classifier_dropout", self.classifier_dropout),
            (ANSWER_DROPOUT, Some(self.answer_dropout())),
        ] {
            if let Some(p) = p.filter(|p| !(0.0..1.0).contains(p)) {
                return Err(format!("{name} is {p}; it must be at least 0 and below 1"));
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!(
                "layer_norm_eps is {}; it must be between 0 and 1",
                self.layer_norm_eps
            ));
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(format!(
                "initializer_range is {}; it must be finite and not negative",
                self.initializer_range
            ));
        }
        if let Some(pad) = self.pad_token_id.filter(|&p| p as usize >= self.vocab_size) {
            return Err(format!(
                "pad_token_id {pad} is outside the vocabulary of {}",
                self.vocab_size
            ));
        }
        Ok(())
    }
}

/// The code that a folder names in `auto_map`, unless it is the file that Gradus writes.
fn foreign_code(extra: &Map<String, Value>) -> Option<String> {
    let entries = match extra.get("auto_map")? {
        Value::Object(map) => map.values().cloned().collect(),
        Value::Array(list) => list.clone(),
        other => vec![other.clone()],
    };
    let names = entries.iter().filter_map(Value::as_str);
    names.into_iter().find(|name| !name.starts_with(interchange::MODULE)).map(str::to_string)
}
