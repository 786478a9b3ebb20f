//! ELECTRA (Clark et al., arXiv:2003.10555): its discriminator, which is what people fine-tune, and
//! its generator, a masked language model. The embeddings may be narrower than the layers.

use gradus_nn::Activation;

use super::{BERT, Family, InnerLayer, KeyValue, MaskedLmNames};

pub(super) const ELECTRA: Family = Family {
    model_type: "electra",
    class: "Electra",
    prefix: "electra",
    defaults: &[("embedding_size", KeyValue::Int(128))],
    pooler: false,
    factorized: true,
    classifier: Some(InnerLayer {
        dense: "classifier.dense",
        activation: Activation::Gelu,
        output: "classifier.out_proj",
        dropout_before: true,
        ..InnerLayer::TEXTS
    }),
    masked_lm: Some(MaskedLmNames {
        dense: "generator_predictions.dense",
        activation: Some(Activation::Gelu),
        norm: "generator_predictions.LayerNorm",
        bias: "generator_lm_head.bias",
        decoder: "generator_lm_head",
    }),
    ..BERT
};
