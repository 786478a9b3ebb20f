//! GPT-2 (Radford et al., 2019, "Language Models are Unsupervised Multitask Learners"): layers that
//! normalise before their blocks, and a causal mask. Its files hold the weights of linear layers as
//! `[in, out]` (`Conv1D` in `transformers`).

use gradus_nn::LayerNames;
use serde_json::{Map, Value, json};

use super::switches::probability;
use super::{BERT, EmbeddingNames, Family, KeyValue, Positions, Switches, TokenTypes};
use crate::EncoderConfig;
use crate::folder::values;

pub(super) const GPT2: Family = Family {
    model_type: "gpt2",
    class: "GPT2",
    prefix: "transformer",
    layers: "h",
    names: LayerNames {
        qkv: Some("attn.c_attn"),
        attention_output: "attn.c_proj",
        attention_norm: "ln_1",
        intermediate: "mlp.c_fc",
        output: "mlp.c_proj",
        output_norm: "ln_2",
        ..LayerNames::BERT
    },
    transposed: &["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    buffers: &["attn.bias", "attn.masked_bias"],
    embeddings: EmbeddingNames { words: "wte", positions: "wpe", norm: None, ..BERT.embeddings },
    final_norm: Some("ln_f"),
    pre_norm: true,
    pooler: false,
    keys: &[
        ("hidden_size", "n_embd"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
        ("intermediate_size", "n_inner"),
        ("max_position_embeddings", "n_positions"),
        ("hidden_act", "activation_function"),
        ("layer_norm_eps", "layer_norm_epsilon"),
        ("hidden_dropout_prob", "embd_pdrop"),
        ("attention_probs_dropout_prob", "attn_pdrop"),
    ],
    defaults: &[
        ("vocab_size", KeyValue::Int(50_257)),
        ("hidden_size", KeyValue::Int(768)),
        ("num_hidden_layers", KeyValue::Int(12)),
        ("num_attention_heads", KeyValue::Int(12)),
        ("max_position_embeddings", KeyValue::Int(1024)),
        ("hidden_act", KeyValue::Text("gelu_new")),
        ("layer_norm_eps", KeyValue::Float(1e-5)),
        ("resid_pdrop", KeyValue::Float(0.1)),
        ("classifier_dropout", KeyValue::Float(0.1)),
        ("pad_token_id", KeyValue::Null),
        ("pooling", KeyValue::Text("lasttoken")),
    ],
    fixed: &[("type_vocab_size", KeyValue::Int(0))],
    complete: |object: &mut Map<String, Value>| {
        let inner = object.get("intermediate_size").filter(|inner| !inner.is_null());
        let width = object.get("hidden_size").and_then(Value::as_u64);
        if let (None, Some(width)) = (inner, width) {
            object.insert("intermediate_size".into(), json!(width.saturating_mul(4)));
        }
    },
    token_types: TokenTypes::None,
    positions: Positions::Zero,
    padding_idx: false,
    masked_lm: None,
    causal_lm: Some("lm_head"),
    score: Some("score"),
    dropouts: &["resid_pdrop"],
    switches,
    ..BERT
};

fn switches(config: &EncoderConfig) -> Result<Switches, String> {
    let flag = |key: &str| values::flag(&config.extra, key);
    let dropout = probability(&config.extra, "resid_pdrop")?;
    let scaled = flag("scale_attn_weights")?.unwrap_or(true);
    Ok(Switches {
        attention_output_dropout: dropout,
        feed_forward_dropout: dropout,
        causal: true,
        scale: (!scaled).then_some(1.0),
        scale_by_layer: flag("scale_attn_by_inverse_layer_idx")?.unwrap_or(false),
        ..Switches::default()
    })
}
