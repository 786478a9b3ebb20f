//! DistilBERT (Sanh et al., arXiv:1910.01108): BERT without token types and pooler.

use gradus_nn::{Activation, LayerNames};

use super::{BERT, Family, InnerLayer, KeyValue, MaskedLmNames, TokenTypes};

pub(super) const DISTILBERT: Family = Family {
    model_type: "distilbert",
    class: "DistilBert",
    prefix: "distilbert",
    layers: "transformer.layer",
    names: LayerNames {
        query: "attention.q_lin",
        key: "attention.k_lin",
        value: "attention.v_lin",
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        intermediate: "ffn.lin1",
        output: "ffn.lin2",
        output_norm: "output_layer_norm",
        ..LayerNames::BERT
    },
    keys: &[
        ("hidden_size", "dim"),
        ("num_hidden_layers", "n_layers"),
        ("num_attention_heads", "n_heads"),
        ("intermediate_size", "hidden_dim"),
        ("hidden_act", "activation"),
        ("hidden_dropout_prob", "dropout"),
        ("attention_probs_dropout_prob", "attention_dropout"),
        ("classifier_dropout", "seq_classif_dropout"),
    ],
    defaults: &[("classifier_dropout", KeyValue::Float(0.2))],
    fixed: &[("type_vocab_size", KeyValue::Int(0)), ("layer_norm_eps", KeyValue::Float(1e-12))],
    pooler: false,
    token_types: TokenTypes::None,
    classifier: Some(InnerLayer {
        dense: "pre_classifier",
        activation: Activation::Relu,
        output: "classifier",
        ..InnerLayer::TEXTS
    }),
    masked_lm: Some(MaskedLmNames {
        dense: "vocab_transform",
        activation: None,
        norm: "vocab_layer_norm",
        bias: "vocab_projector.bias",
        decoder: "vocab_projector",
    }),
    own_dropouts: true,
    dropouts: &["qa_dropout"],
    ..BERT
};
