//! BERT (Devlin et al., arXiv:1810.04805).

use gradus_nn::LayerNames;

use super::{EmbeddingNames, Family, MaskedLmNames, Positions, Switches, TokenTypes};

pub(crate) const BERT: Family = Family {
    model_type: "bert",
    class: "Bert",
    prefix: "bert",
    layers: "encoder.layer",
    names: LayerNames::BERT,
    embeddings: EmbeddingNames { words: "word_embeddings", norm: "LayerNorm" },
    file_form: None,
    others: &[],
    pre_norm: false,
    switches: |_| Ok(Switches::default()),
    keys: &[],
    defaults: &[],
    fixed: &[],
    token_types: TokenTypes::Some,
    pooler: true,
    positions: Positions::Zero,
    factorized: false,
    classifier: None,
    answers: Some("qa_outputs"),
    masked_lm: MaskedLmNames {
        dense: "cls.predictions.transform.dense",
        activation: None,
        norm: "cls.predictions.transform.LayerNorm",
        bias: "cls.predictions.bias",
        decoder: "cls.predictions.decoder",
    },
    own_dropouts: false,
    dropouts: &[],
};
