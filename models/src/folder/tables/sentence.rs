//! The keys of the files of sentence-transformers.

use super::key;
use crate::folder::keys::Rule::{Harmless, Obeyed, Only};
use crate::folder::keys::Table;

/// The keys of `sentence_bert_config.json` with arguments for `transformers`.
pub(crate) const ARGUMENTS: &[&str] = &[
    "processing_kwargs",
    "model_args",
    "model_kwargs",
    "config_args",
    "config_kwargs",
    "tokenizer_args",
    "processor_kwargs",
];

/// `sentence_bert_config.json`, by that name or an older one.
pub(crate) const SENTENCE: Table = Table {
    file: "sentence_bert_config.json",
    keys: &[
        key(
            &["max_seq_length"],
            Obeyed,
            "where texts are cut; the tokenizer's length where it is null",
        ),
        key(&["do_lower_case"], Obeyed, "lower case before the tokenizer"),
        key(
            &["transformer_task"],
            Obeyed,
            "`feature-extraction` embeds, `sequence-classification` is a cross-encoder, `fill-mask` a \
             sparse encoder; others are refused",
        ),
        key(
            &["modality_config", "module_output_name"],
            Obeyed,
            "the last hidden state of a text; others are refused",
        ),
        key(
            ARGUMENTS,
            Obeyed,
            "`model_max_length` of the tokenizer is obeyed; dtype, attention and where files come from \
             change nothing; other keys are refused",
        ),
        key(
            &["tokenizer_name_or_path"],
            Only(&["\"\""]),
            "Gradus takes the tokenizer of the folder",
        ),
        key(
            &["query_length", "document_length", "query_expansion"],
            Only(&[]),
            "Gradus embeds queries and documents alike",
        ),
        key(&["unpad_inputs"], Harmless, "Gradus never pads"),
        key(&["cache_dir"], Harmless, "where files come from"),
    ],
};

/// `config_sentence_transformers.json`.
pub(crate) const SENTENCE_MODEL: Table = Table {
    file: "config_sentence_transformers.json",
    keys: &[
        key(&["prompts", "default_prompt_name"], Obeyed, "texts put before an input"),
        key(&["truncate_dim"], Obeyed, "how many numbers of a vector are kept"),
        key(
            &["similarity_fn_name"],
            Obeyed,
            "by `infer similarity`: cosine, dot, euclidean, manhattan",
        ),
        key(
            &["model_type"],
            Only(&["\"SentenceTransformer\"", "\"CrossEncoder\"", "\"SparseEncoder\""]),
            "Gradus runs sentence embedders, cross-encoders and sparse encoders",
        ),
        key(&["activation_fn"], Obeyed, "what a cross-encoder applies to its outputs"),
        key(&["__version__", "requirements"], Harmless, "what the model was made with"),
    ],
};

/// The `config.json` of a `Pooling` module.
pub(crate) const POOLING: Table = Table {
    file: "1_Pooling/config.json",
    keys: &[
        key(&["pooling_mode"], Obeyed, "one mode, or several end to end"),
        key(
            &[
                "pooling_mode_cls_token",
                "pooling_mode_max_tokens",
                "pooling_mode_mean_tokens",
                "pooling_mode_mean_sqrt_len_tokens",
                "pooling_mode_weightedmean_tokens",
                "pooling_mode_lasttoken",
            ],
            Obeyed,
            "the older form",
        ),
        key(&["include_prompt"], Obeyed, "false: the tokens of a prompt are left out"),
        key(
            &["embedding_dimension", "word_embedding_dimension"],
            Harmless,
            "the width follows from the module before",
        ),
    ],
};

/// The `config.json` of a `Dense` module.
pub(crate) const DENSE: Table = Table {
    file: "2_Dense/config.json",
    keys: &[
        key(&["in_features", "out_features", "bias", "use_residual"], Obeyed, "the shape"),
        key(
            &["activation_function"],
            Obeyed,
            "Identity, Tanh, ReLU, GELU, Sigmoid or SiLU; others are refused",
        ),
        key(
            &["module_input_name", "module_output_name"],
            Only(&["\"sentence_embedding\""]),
            "Gradus applies it to the pooled vector only",
        ),
    ],
};

/// The `config.json` of a `Normalize` module.
pub(crate) const NORMALIZE: Table = Table {
    file: "3_Normalize/config.json",
    keys: &[key(
        &["module_input_name", "module_output_name"],
        Only(&["\"sentence_embedding\""]),
        "Gradus applies it to the pooled vector only",
    )],
};

/// The `config.json` of a `LayerNorm` module.
pub(crate) const LAYER_NORM: Table =
    Table { file: "LayerNorm/config.json", keys: &[key(&["dimension"], Obeyed, "the width")] };

/// The `config.json` of a `SpladePooling` module.
pub(crate) const SPLADE: Table = Table {
    file: "1_SpladePooling/config.json",
    keys: &[
        key(&["pooling_strategy"], Obeyed, "max or sum over the tokens"),
        key(&["activation_function"], Obeyed, "relu, or log1p_relu: the logarithm twice"),
        key(
            &["embedding_dimension", "word_embedding_dimension"],
            Harmless,
            "the width is that of the vocabulary",
        ),
        key(&["chunk_size"], Harmless, "how many tokens are pooled at a time"),
    ],
};

/// The `config.json` of a `Dropout` module.
pub(crate) const DROPOUT: Table = Table {
    file: "Dropout/config.json",
    keys: &[key(&["dropout"], Harmless, "it does nothing outside training")],
};

/// An entry of `modules.json`.
pub(crate) const MODULES: Table = Table {
    file: "modules.json",
    keys: &[
        key(&["idx", "name"], Harmless, "names only: the order is that of the list"),
        key(&["path"], Obeyed, "the folder of the module"),
        key(
            &["type"],
            Obeyed,
            "Transformer, Pooling, Dense, LayerNorm, Normalize, Dropout, SpladePooling; others are \
             refused",
        ),
        key(&["kwargs"], Only(&["[]", "{}"]), "Gradus passes nothing to modules"),
    ],
};
