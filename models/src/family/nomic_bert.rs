//! NomicBERT (Nussbaum et al., arXiv:2402.01613) and GTE (Zhang et al., arXiv:2407.19669): BERT with
//! rotary positions and gated feed-forward layers.

use gradus_nn::{Activation, Biases, LayerNames};

use super::bert::MASKED_LM;
use super::file_form::{FileForm, WHOLE};
use super::switches::theta;
use super::{BERT, Family, KeyValue, MaskedLmNames, Positions, Switches, TokenTypes};
use crate::EncoderConfig;
use crate::folder::values;

/// The names of both.
const NAMES: LayerNames = LayerNames {
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    attention_output: "self_attn.o_proj",
    attention_norm: "post_attention_layernorm",
    intermediate: "mlp.up_proj",
    gate: Some("mlp.gate_proj"),
    output: "mlp.down_proj",
    output_norm: "post_mlp_layernorm",
    ..LayerNames::BERT
};

pub(super) const NOMIC_BERT: Family = Family {
    model_type: "nomic_bert",
    class: "NomicBert",
    prefix: "nomic_bert",
    layers: "layers",
    names: NAMES,
    file_form: Some(FileForm {
        layers: "encoder.layers",
        parts: &[
            ("self_attn.q_proj", "attn.Wqkv", (0, 3)),
            ("self_attn.k_proj", "attn.Wqkv", (1, 3)),
            ("self_attn.v_proj", "attn.Wqkv", (2, 3)),
            ("self_attn.o_proj", "attn.out_proj", WHOLE),
            ("post_attention_layernorm", "norm1", WHOLE),
            ("mlp.up_proj", "mlp.fc11", WHOLE),
            ("mlp.gate_proj", "mlp.fc12", WHOLE),
            ("mlp.down_proj", "mlp.fc2", WHOLE),
            ("post_mlp_layernorm", "norm2", WHOLE),
        ],
        others: &[("embeddings.LayerNorm", "emb_ln")],
    }),
    answers: None,
    defaults: &[
        ("hidden_act", KeyValue::Text("silu")),
        ("hidden_dropout_prob", KeyValue::Float(0.0)),
        ("attention_probs_dropout_prob", KeyValue::Float(0.0)),
        ("max_position_embeddings", KeyValue::Int(2048)),
    ],
    positions: Positions::Rotary,
    masked_lm: Some(MaskedLmNames { norm: "cls.predictions.transform.layer_norm", ..MASKED_LM }),
    switches: |config: &EncoderConfig| {
        let size = config.hidden_size / config.num_attention_heads.max(1);
        let given = values::positive(&config.extra, "head_dim")?;
        if let Some(given) = given.filter(|&given| given != size) {
            return Err(format!(
                "head_dim is {given}; Gradus has heads of hidden_size/num_attention_heads = {size}"
            ));
        }
        let theta = theta(values::object(&config.extra, "rope_parameters")?, 1000.0)?;
        let biases = Biases { attention: false, intermediate: false, output: false, norm: true };
        Ok(Switches { biases, gated: true, theta: Some(theta), ..Switches::default() })
    },
    ..BERT
};

pub(super) const GTE: Family = Family {
    model_type: "gte",
    class: "Gte",
    prefix: "gte",
    layers: "layers",
    names: NAMES,
    file_form: Some(FileForm {
        layers: "encoder.layer",
        parts: &[
            ("self_attn.q_proj", "attention.qkv_proj", (0, 3)),
            ("self_attn.k_proj", "attention.qkv_proj", (1, 3)),
            ("self_attn.v_proj", "attention.qkv_proj", (2, 3)),
            ("self_attn.o_proj", "attention.o_proj", WHOLE),
            ("post_attention_layernorm", "attn_ln", WHOLE),
            ("mlp.up_proj", "mlp.up_gate_proj", (0, 2)),
            ("mlp.gate_proj", "mlp.up_gate_proj", (1, 2)),
            ("mlp.down_proj", "mlp.down_proj", WHOLE),
            ("post_mlp_layernorm", "mlp_ln", WHOLE),
        ],
        others: &[("lm_head.layer_norm", "lm_head.norm")],
    }),
    answers: None,
    defaults: &[
        ("attention_probs_dropout_prob", KeyValue::Float(0.0)),
        ("max_position_embeddings", KeyValue::Int(8192)),
        ("type_vocab_size", KeyValue::Int(1)),
        ("pad_token_id", KeyValue::Int(1)),
    ],
    token_types: TokenTypes::Either,
    positions: Positions::Rotary,
    masked_lm: Some(MaskedLmNames {
        dense: "lm_head.dense",
        activation: Some(Activation::Gelu),
        norm: "lm_head.layer_norm",
        bias: "lm_head.decoder.bias",
        decoder: "lm_head.decoder",
    }),
    switches: |config: &EncoderConfig| {
        let theta = theta(values::object(&config.extra, "rope_parameters")?, 160_000.0)?;
        Ok(Switches {
            biases: Biases { intermediate: false, ..Biases::default() },
            gated: true,
            intermediate_dropout: config.hidden_dropout_prob,
            theta: Some(theta),
            ..Switches::default()
        })
    },
    ..BERT
};
