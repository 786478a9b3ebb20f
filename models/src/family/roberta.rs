//! RoBERTa (Liu et al., arXiv:1907.11692), and the models that are built like it: XLM-RoBERTa
//! (Conneau et al., arXiv:1911.02116), CamemBERT (Martin et al., arXiv:1911.03894).

use gradus_nn::Activation;

use super::{BERT, Family, InnerLayer, KeyValue, MaskedLmNames, Positions};

pub(super) const ROBERTA: Family = Family {
    model_type: "roberta",
    class: "Roberta",
    prefix: "roberta",
    defaults: &[("pad_token_id", KeyValue::Int(1))],
    positions: Positions::AfterPadding,
    classifier: Some(InnerLayer {
        dense: "classifier.dense",
        activation: Activation::Tanh,
        output: "classifier.out_proj",
        dropout_before: true,
        ..InnerLayer::TEXTS
    }),
    masked_lm: Some(MaskedLmNames {
        dense: "lm_head.dense",
        activation: Some(Activation::Gelu),
        norm: "lm_head.layer_norm",
        bias: "lm_head.bias",
        decoder: "lm_head.decoder",
    }),
    ..BERT
};

pub(super) const XLM_ROBERTA: Family =
    Family { model_type: "xlm-roberta", class: "XLMRoberta", ..ROBERTA };

pub(super) const CAMEMBERT: Family =
    Family { model_type: "camembert", class: "Camembert", ..ROBERTA };
