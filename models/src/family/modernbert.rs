//! ModernBERT (Warner et al., arXiv:2412.13663): layers that normalise before their blocks, rotary
//! positions, gated feed-forward layers; most layers see a window around a token.

use gradus_nn::{Activation, Biases, LayerNames};
use serde_json::{Map, Value};

use super::switches::{HeadSwitches, Local, number, probability, theta};
use super::{
    BERT, EmbeddingNames, Family, InnerLayer, KeyValue, MaskedLmNames, Positions, Switches,
    TokenTypes,
};
use crate::EncoderConfig;
use crate::folder::values;

pub(super) const MODERNBERT: Family = Family {
    model_type: "modernbert",
    class: "ModernBert",
    prefix: "model",
    layers: "layers",
    names: LayerNames {
        qkv: Some("attn.Wqkv"),
        attention_output: "attn.Wo",
        attention_norm: "attn_norm",
        intermediate: "mlp.Wi",
        output: "mlp.Wo",
        output_norm: "mlp_norm",
        ..LayerNames::BERT
    },
    embeddings: EmbeddingNames {
        words: "embeddings.tok_embeddings",
        norm: Some("embeddings.norm"),
        ..BERT.embeddings
    },
    pre_norm: true,
    final_norm: Some("final_norm"),
    pooler: false,
    keys: &[
        ("hidden_act", "hidden_activation"),
        ("layer_norm_eps", "norm_eps"),
        ("hidden_dropout_prob", "embedding_dropout"),
        ("attention_probs_dropout_prob", "attention_dropout"),
        ("pooling", "classifier_pooling"),
    ],
    defaults: &[
        ("layer_norm_eps", KeyValue::Float(1e-5)),
        ("hidden_dropout_prob", KeyValue::Float(0.0)),
        ("attention_probs_dropout_prob", KeyValue::Float(0.0)),
        ("classifier_dropout", KeyValue::Float(0.0)),
        ("max_position_embeddings", KeyValue::Int(8192)),
        ("pooling", KeyValue::Text("cls")),
    ],
    fixed: &[("type_vocab_size", KeyValue::Int(0))],
    token_types: TokenTypes::None,
    positions: Positions::Rotary,
    classifier: Some(InnerLayer {
        dense: "head.dense",
        activation: Activation::Gelu,
        norm: Some("head.norm"),
        output: "classifier",
        everywhere: true,
        ..InnerLayer::TEXTS
    }),
    answers: Some("classifier"),
    masked_lm: Some(MaskedLmNames {
        dense: "head.dense",
        activation: Some(Activation::Gelu),
        norm: "head.norm",
        bias: "decoder.bias",
        decoder: "decoder",
    }),
    dropouts: &["mlp_dropout"],
    switches,
    ..BERT
};

fn switches(config: &EncoderConfig) -> Result<Switches, String> {
    let extra = &config.extra;
    let flag = |key: &str, usual: bool| values::flag(extra, key).map(|on| on.unwrap_or(usual));
    let (attention, feed_forward) = (flag("attention_bias", false)?, flag("mlp_bias", false)?);
    let activation = match values::text(extra, "classifier_activation")? {
        Some(name) => Some(Activation::try_from(name.to_string()).map_err(|e| e.to_string())?),
        None => None,
    };
    let rope = |kind: &str, older: &str, usual: f64| -> Result<f64, String> {
        let usual = number(extra, older)?.unwrap_or(usual);
        let all = values::object(extra, "rope_parameters")?;
        let own = all.map(|all| values::object(all, kind)).transpose()?.flatten();
        theta(own, usual)
    };
    let window = values::positive(extra, "local_attention")?.unwrap_or(128) / 2;
    Ok(Switches {
        biases: Biases {
            attention,
            intermediate: feed_forward,
            output: feed_forward,
            norm: flag("norm_bias", false)?,
        },
        gated: true,
        intermediate_dropout: probability(extra, "mlp_dropout")?,
        attention_output_dropout: config.attention_probs_dropout_prob,
        theta: Some(rope("full_attention", "global_rope_theta", 160_000.0)?),
        local: Some(Local {
            window,
            theta: rope("sliding_attention", "local_rope_theta", 10_000.0)?,
            layers: local_layers(extra, config.num_hidden_layers)?,
        }),
        head: HeadSwitches {
            no_bias: !flag("classifier_bias", false)?,
            no_decoder_bias: !flag("decoder_bias", true)?,
            activation,
        },
        ..Switches::default()
    })
}

/// Whether each layer sees a window only: `layer_types`, else all but every n-th.
fn local_layers(extra: &Map<String, Value>, layers: usize) -> Result<Vec<bool>, String> {
    let every = values::positive(extra, "global_attn_every_n_layers")?.unwrap_or(3);
    let Some(types) = extra.get("layer_types").filter(|types| !types.is_null()) else {
        return Ok((0..layers).map(|i| i % every != 0).collect());
    };
    let local = |kind: &Value| match kind.as_str() {
        Some("sliding_attention") => Some(true),
        Some("full_attention") => Some(false),
        _ => None,
    };
    let found: Option<Vec<bool>> = types.as_array().and_then(|all| all.iter().map(local).collect());
    found.filter(|all| all.len() >= layers).ok_or_else(|| {
        format!(
            "layer_types is {types}; it must have `full_attention` or `sliding_attention` for each of \
             the {layers} layers"
        )
    })
}
