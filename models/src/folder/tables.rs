//! The tables of [`keys`](super::keys), file by file.

use super::keys::Rule::{Harmless, Obeyed, Only};
use super::keys::{Key, Rule, Table};

const fn key(names: &'static [&'static str], rule: Rule, remark: &'static str) -> Key {
    Key { names, rule, remark }
}

/// `config.json`.
pub(crate) const CONFIG: Table = Table {
    file: "config.json",
    keys: &[
        key(
            &[
                "vocab_size",
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "max_position_embeddings",
                "type_vocab_size",
            ],
            Obeyed,
            "the shape of the encoder",
        ),
        key(
            &["hidden_act", "layer_norm_eps"],
            Obeyed,
            "an activation that Gradus does not have is refused",
        ),
        key(
            &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
            Obeyed,
            "in training",
        ),
        key(&["initializer_range", "pad_token_id"], Obeyed, "for weights that begin at random"),
        key(
            &["id2label", "label2id", "num_labels", "_num_labels", "problem_type"],
            Obeyed,
            "the head, and how its outputs become scores",
        ),
        key(&["architectures"], Obeyed, "which head; `serve` chooses the task by it"),
        key(&["model_type"], Only(&["\"bert\""]), "Gradus runs BERT only (model_type `bert`)"),
        key(
            &["position_embedding_type"],
            Only(&["\"absolute\""]),
            "Gradus has absolute positions only",
        ),
        key(
            &["is_decoder", "add_cross_attention", "is_encoder_decoder", "tie_encoder_decoder"],
            Only(&["false"]),
            "Gradus builds encoders only",
        ),
        key(
            &["pruned_heads"],
            Only(&["{}", "[]"]),
            "Gradus has no pruned heads; save the model without pruning",
        ),
        key(
            &["quantization_config", "compression_config"],
            Only(&["{}"]),
            "Gradus does not read quantised weights; save the model in float32, float16 or bfloat16",
        ),
        key(
            &["auto_map"],
            Obeyed,
            "code that comes with the model is not BERT's: refused, but for the file that Gradus writes itself",
        ),
        key(
            &["tie_word_embeddings"],
            Obeyed,
            "false is refused by the masked-LM head, which shares them",
        ),
        key(
            &["sentence_transformers", "sbert_ce_default_activation_function"],
            Obeyed,
            "what a cross-encoder applies to its outputs",
        ),
        key(&["pooling"], Obeyed, "Gradus's own key: how a classifier pools"),
        key(&["tokenizer_class"], Obeyed, "where tokenizer_config.json names none"),
        key(
            &["dtype", "torch_dtype"],
            Harmless,
            "how the weights are stored; Gradus computes in --precision. A folder that it writes says what it holds",
        ),
        key(
            &[
                "_name_or_path",
                "name_or_path",
                "_commit_hash",
                "transformers_version",
                "sentence_transformers_version",
                "adapter_transformers_version",
                "_attn_implementation",
                "_attn_implementation_autoset",
                "_attn_implementation_internal",
                "attn_implementation",
                "_experts_implementation",
                "use_cache",
                "gradient_checkpointing",
                "chunk_size_feed_forward",
                "output_attentions",
                "output_hidden_states",
                "output_past",
                "return_dict",
                "use_return_dict",
                "torchscript",
                "use_bfloat16",
                "tf_legacy_loss",
                "tpu",
                "finetuning_task",
                "task_specific_params",
                "language",
                "license",
                "tags",
            ],
            Harmless,
            "how a program runs, or where the model comes from",
        ),
        key(
            &[
                "directionality",
                "pooler_fc_size",
                "pooler_num_attention_heads",
                "pooler_num_fc_layers",
                "pooler_size_per_head",
                "pooler_type",
            ],
            Harmless,
            "left over from Google's checkpoints; `transformers` does not read them either",
        ),
        key(
            &[
                "bos_token_id",
                "eos_token_id",
                "sep_token_id",
                "cls_token_id",
                "mask_token_id",
                "unk_token_id",
                "decoder_start_token_id",
                "prefix",
            ],
            Harmless,
            "the tokenizer decides",
        ),
        key(
            &[
                "max_length",
                "min_length",
                "max_new_tokens",
                "min_new_tokens",
                "do_sample",
                "early_stopping",
                "num_beams",
                "num_beam_groups",
                "diversity_penalty",
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "typical_p",
                "epsilon_cutoff",
                "eta_cutoff",
                "repetition_penalty",
                "length_penalty",
                "no_repeat_ngram_size",
                "encoder_no_repeat_ngram_size",
                "bad_words_ids",
                "num_return_sequences",
                "output_scores",
                "return_dict_in_generate",
                "forced_bos_token_id",
                "forced_eos_token_id",
                "remove_invalid_values",
                "exponential_decay_length_penalty",
                "suppress_tokens",
                "begin_suppress_tokens",
                "cross_attention_hidden_size",
            ],
            Harmless,
            "for models that generate text",
        ),
    ],
};

/// `tokenizer_config.json` and `special_tokens_map.json`.
pub(crate) const TOKENIZER: Table = Table {
    file: "tokenizer_config.json, special_tokens_map.json",
    keys: &[
        key(
            &["tokenizer_class"],
            Obeyed,
            "BERT's is built from its vocabulary; for any other, tokenizer.json is; without that file it is refused",
        ),
        key(
            &["do_lower_case", "strip_accents", "tokenize_chinese_chars"],
            Obeyed,
            "for BERT's class also where tokenizer.json says otherwise, as in `transformers`; then with a note",
        ),
        key(
            &["model_max_length", "max_len"],
            Obeyed,
            "where texts are cut, unless sentence_bert_config.json says it",
        ),
        key(
            &["truncation_side"],
            Obeyed,
            "which end of a long text is cut off; also that of tokenizer.json",
        ),
        key(&["model_input_names"], Obeyed, "without `token_type_ids`, all types are 0"),
        key(
            &["split_special_tokens"],
            Obeyed,
            "whether `[SEP]` in a text is split like other words",
        ),
        key(
            &[
                "unk_token",
                "sep_token",
                "pad_token",
                "cls_token",
                "mask_token",
                "bos_token",
                "eos_token",
                "additional_special_tokens",
                "extra_special_tokens",
                "added_tokens_decoder",
                "model_specific_special_tokens",
            ],
            Obeyed,
            "names, and tokens added beside the vocabulary",
        ),
        key(
            &["auto_map"],
            Only(&["{}", "[]"]),
            "the tokenizer is code that comes with the model, which Gradus does not run",
        ),
        key(
            &["word_tokenizer_type"],
            Only(&["\"basic\""]),
            "Gradus splits words at white space and punctuation only",
        ),
        key(&["subword_tokenizer_type"], Only(&["\"wordpiece\""]), "Gradus has WordPiece only"),
        key(
            &["mecab_kwargs", "sudachi_kwargs", "jumanpp_kwargs"],
            Only(&["{}"]),
            "Gradus does not split Japanese words",
        ),
        key(&["clean_text"], Only(&["true"]), "BERT's tokenizer always removes control characters"),
        key(
            &["padding_side", "pad_token_type_id", "pad_to_multiple_of", "padding"],
            Harmless,
            "Gradus never pads: the numbers are those of each text by itself",
        ),
        key(
            &[
                "do_basic_tokenize",
                "never_split",
                "do_word_tokenize",
                "do_subword_tokenize",
                "wordpieces_prefix",
            ],
            Harmless,
            "for the slow tokenizers of earlier versions; `transformers` 5 does not read them",
        ),
        key(
            &[
                "add_bos_token",
                "add_eos_token",
                "add_prefix_space",
                "trim_offsets",
                "errors",
                "legacy",
                "sp_model_kwargs",
                "max_length",
                "stride",
                "truncation_strategy",
                "truncation",
            ],
            Harmless,
            "tokenizer.json has it already, or the caller decides",
        ),
        key(
            &[
                "clean_up_tokenization_spaces",
                "chat_template",
                "response_schema",
                "response_template",
                "chat_control_tokens",
            ],
            Harmless,
            "for decoding and for chats",
        ),
        key(
            &[
                "name_or_path",
                "_name_or_path",
                "special_tokens_map_file",
                "tokenizer_file",
                "vocab_file",
                "full_tokenizer_file",
                "init_inputs",
                "processor_class",
                "backend",
                "is_local",
                "local_files_only",
                "from_slow",
                "use_fast",
                "tokenizer_type",
                "transformers_version",
                "return_token_type_ids",
            ],
            Harmless,
            "where it comes from",
        ),
    ],
};

/// The keys of `sentence_bert_config.json` with arguments for `transformers`.
pub(super) const ARGUMENTS: &[&str] = &[
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
            "`feature-extraction` embeds, `sequence-classification` is a cross-encoder; others are refused",
        ),
        key(
            &["modality_config", "module_output_name"],
            Obeyed,
            "of text, the last hidden state; others are refused",
        ),
        key(
            ARGUMENTS,
            Obeyed,
            "`model_max_length` of the tokenizer is; dtype, attention and where files come from change nothing; any other is refused",
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
            Only(&["\"SentenceTransformer\"", "\"CrossEncoder\""]),
            "Gradus runs sentence embedders and cross-encoders",
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
            "the width is that of what comes in",
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
            "Transformer, Pooling, Dense, LayerNorm, Normalize, Dropout; others are refused",
        ),
        key(&["kwargs"], Only(&["[]", "{}"]), "Gradus passes nothing to modules"),
    ],
};

/// All tables, in the order of the book.
#[cfg(test)]
pub(super) const TABLES: [&Table; 10] = [
    &CONFIG,
    &TOKENIZER,
    &MODULES,
    &SENTENCE,
    &SENTENCE_MODEL,
    &POOLING,
    &DENSE,
    &NORMALIZE,
    &LAYER_NORM,
    &DROPOUT,
];

/// Files that have no keys, or none that are read.
#[cfg(test)]
pub(super) const FILES: [(&str, &str, &str); 12] = [
    ("model.safetensors", "obeyed", "the weights; an encoder that lacks one is refused"),
    (
        "model.safetensors.index.json, model-00001-of-….safetensors",
        "obeyed",
        "weights in several files",
    ),
    (
        "pytorch_model.bin",
        "refused",
        "where there is no .safetensors file; the error says how to convert it",
    ),
    (
        "tokenizer.json",
        "obeyed",
        "WordPiece, SentencePiece, BPE; padding and truncation are the caller's, but for the side",
    ),
    ("vocab.txt", "obeyed", "where there is no tokenizer.json"),
    ("added_tokens.json", "obeyed", "beside vocab.txt, and beside tokenizer.json"),
    (
        "sentence_roberta_config.json and the like",
        "obeyed",
        "older names of sentence_bert_config.json",
    ),
    ("router_config.json", "refused", "a Router chooses between modules; Gradus has none"),
    (
        "adapter_config.json",
        "refused",
        "an adapter changes the weights; merge it first (`merge_and_unload`)",
    ),
    (
        "modeling_gradus.py, README.md",
        "harmless",
        "what Gradus writes for a classifier on the mean of the tokens",
    ),
    ("generation_config.json, chat_template.jinja", "harmless", "for models that generate text"),
    (
        "preprocessor_config.json, processor_config.json, training_args.bin, onnx/, openvino/",
        "harmless",
        "not read",
    ),
];
