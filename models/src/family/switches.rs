//! What the configuration of a model type turns on in the encoder.

use gradus_nn::{Activation, Biases};
use serde_json::{Map, Value};

use crate::folder::values;

/// What config.json turns on. The default is BERT.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Switches {
    /// Which parts of a layer have biases.
    pub biases: Biases,
    /// Whether the feed-forward part is gated.
    pub gated: bool,
    /// Dropout before the second linear layer of the feed-forward part.
    pub intermediate_dropout: f64,
    /// Dropout of the attention's result in a layer that normalises before its blocks.
    pub attention_output_dropout: f64,
    /// Dropout of the feed-forward part's result in such a layer.
    pub feed_forward_dropout: f64,
    /// Whether a token sees only the tokens before it, and itself.
    pub causal: bool,
    /// What scores are multiplied by, where it is not 1/√(size of a head).
    pub scale: Option<f64>,
    /// Whether the scores of layer i are divided by i + 1.
    pub scale_by_layer: bool,
    /// θ of the rotary positions; they take the place of a table.
    pub theta: Option<f64>,
    /// The layers that see a part of their sequence only.
    pub local: Option<Local>,
    /// Rows of the table of biases by distance.
    pub buckets: Option<usize>,
    /// What differs in the head from its type's usual one.
    pub head: HeadSwitches,
}

/// Layers that see a part of their sequence only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Local {
    /// How far they see, on each side of a token.
    pub window: usize,
    /// θ of their rotary positions.
    pub theta: f64,
    /// Whether each layer is one.
    pub layers: Vec<bool>,
}

/// What config.json says of the layer before the labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct HeadSwitches {
    /// The layer has no bias.
    pub no_bias: bool,
    /// The decoder of masked words has no bias.
    pub no_decoder_bias: bool,
    /// Another activation than the type's usual one.
    pub activation: Option<Activation>,
}

/// θ of the rotary positions that `parameters` (`rope_parameters`) describes, or `usual`.
///
/// # Errors
/// For another kind of rotary positions than the default.
pub(super) fn theta(parameters: Option<&Map<String, Value>>, usual: f64) -> Result<f64, String> {
    let Some(parameters) = parameters else { return Ok(usual) };
    if let Some(kind) = values::text(parameters, "rope_type")?.filter(|kind| *kind != "default") {
        return Err(format!(
            "rope_type is `{kind}`; Gradus has the default rotary positions only, not scaled ones"
        ));
    }
    let scaled = |key: &&String| !["rope_type", "rope_theta"].contains(&key.as_str());
    if let Some(key) = parameters.keys().find(scaled) {
        return Err(format!(
            "rope_parameters has `{key}`; Gradus has the default rotary positions only"
        ));
    }
    number(parameters, "rope_theta").map(|theta| theta.unwrap_or(usual))
}

/// A number above 0.
pub(super) fn number(map: &Map<String, Value>, key: &str) -> Result<Option<f64>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|&x| x > 0.0 && x.is_finite()) {
            Some(x) => Ok(Some(x)),
            None => Err(format!("{key} is {value}; it must be a number above 0")),
        },
    }
}

/// A probability, 0 where there is none.
pub(super) fn probability(map: &Map<String, Value>, key: &str) -> Result<f64, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(0.0),
        Some(value) => match value.as_f64().filter(|p| (0.0..1.0).contains(p)) {
            Some(p) => Ok(p),
            None => Err(format!("{key} is {value}; it must be at least 0 and below 1")),
        },
    }
}
