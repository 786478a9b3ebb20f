//! MPNet (Song et al., arXiv:2004.09297): RoBERTa's positions, and a bias in the attention's scores
//! by the distance of two tokens, in buckets as T5's.

use gradus_nn::LayerNames;

use super::roberta::ROBERTA;
use super::{Family, KeyValue, Switches, TokenTypes};
use crate::EncoderConfig;
use crate::folder::values;

pub(super) const MPNET: Family = Family {
    model_type: "mpnet",
    class: "MPNet",
    prefix: "mpnet",
    names: LayerNames {
        query: "attention.attn.q",
        key: "attention.attn.k",
        value: "attention.attn.v",
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        ..LayerNames::BERT
    },
    others: &["encoder.relative_attention_bias"],
    fixed: &[("type_vocab_size", KeyValue::Int(0))],
    token_types: TokenTypes::None,
    switches: |config: &EncoderConfig| {
        if config.pad_token_id != Some(1) {
            let pad = config.pad_token_id.map_or("null".to_string(), |pad| pad.to_string());
            return Err(format!("pad_token_id is {pad}; the positions of mpnet begin after row 1"));
        }
        let rows = values::positive(&config.extra, "relative_attention_num_buckets")?.unwrap_or(32);
        if rows < 32 {
            return Err(format!(
                "relative_attention_num_buckets is {rows}; the attention of mpnet reads 32"
            ));
        }
        Ok(Switches { buckets: Some(rows), ..Switches::default() })
    },
    ..ROBERTA
};
