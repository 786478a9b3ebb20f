//! BERT (Devlin et al., arXiv:1810.04805).

use gradus_nn::LayerNames;

use super::{EmbeddingNames, Family, MaskedLmNames, Positions, Switches, TokenTypes};

pub(crate) const BERT: Family = Family {
    model_type: "bert",
    class: "Bert",
    prefix: "bert",
    layers: "encoder.layer",
    names: LayerNames::BERT,
    embeddings: EmbeddingNames {
        words: "embeddings.word_embeddings",
        positions: "embeddings.position_embeddings",
        types: "embeddings.token_type_embeddings",
        norm: Some("embeddings.LayerNorm"),
    },
    file_form: None,
    transposed: &[],
    buffers: &[],
    others: &[],
    pre_norm: false,
    final_norm: None,
    switches: |_| Ok(Switches::default()),
    keys: &[],
    defaults: &[],
    fixed: &[],
    complete: |_| {},
    token_types: TokenTypes::Some,
    pooler: true,
    positions: Positions::Zero,
    padding_idx: true,
    factorized: false,
    classifier: None,
    answers: Some("qa_outputs"),
    score: None,
    masked_lm: Some(MASKED_LM),
    causal_lm: None,
    own_dropouts: false,
    dropouts: &[],
};

/// BERT's masked-LM head.
pub(super) const MASKED_LM: MaskedLmNames = MaskedLmNames {
    dense: "cls.predictions.transform.dense",
    activation: None,
    norm: "cls.predictions.transform.LayerNorm",
    bias: "cls.predictions.bias",
    decoder: "cls.predictions.decoder",
};
