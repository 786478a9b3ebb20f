//! Why a model type is not supported.

use super::Family;

/// What Gradus lacks for model types that people try.
const WHY: [(&[&str], &str); 9] = [
    (
        &["new"],
        "its files are for code of its own; transformers has the model as `gte`: load the folder \
         there (GteModel) and save it again",
    ),
    (
        &["eurobert", "neobert", "jina_embeddings_v3", "xlm-roberta-flash"],
        "it joins switches that Gradus has in other models only",
    ),
    (&["albert"], "its layers share their weights"),
    (
        &["deberta", "deberta-v2"],
        "its attention is disentangled: content and places have scores apart",
    ),
    (
        &["xlnet", "longformer", "big_bird", "reformer", "funnel", "fnet"],
        "its attention is not BERT's",
    ),
    (
        &["mobilebert", "squeezebert", "convbert", "layoutlm", "roformer"],
        "its layers are not BERT's",
    ),
    (
        &["roberta-prelayernorm", "xlm-roberta-xl", "ernie", "data2vec-text", "xmod"],
        "its layers or embeddings are not RoBERTa's or BERT's",
    ),
    (
        &[
            "gpt_neox",
            "llama",
            "mistral",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "phi3",
        ],
        "Gradus has no decoder with rotary positions, gated feed-forward layers or grouped heads",
    ),
    (
        &["t5", "mt5", "umt5", "bart", "mbart", "marian", "pegasus", "m2m_100"],
        "it has an encoder, and a decoder that reads it; Gradus has no such pair",
    ),
];

/// The error of a model type that is not in [`FAMILIES`](super::FAMILIES).
pub(crate) fn unsupported(model_type: &str) -> String {
    let supported = Family::supported();
    let why = WHY.iter().find(|(types, _)| types.contains(&model_type));
    let why = why.map_or("Gradus does not know it", |(_, why)| why);
    format!("model_type is `{model_type}`: {why}; Gradus runs {supported}")
}
