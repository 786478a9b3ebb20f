//! The keys of a tokenizer's files.

use super::key;
use crate::folder::keys::Rule::{Harmless, Obeyed, Only};
use crate::folder::keys::Table;

/// `tokenizer_config.json` and `special_tokens_map.json`.
pub(crate) const TOKENIZER: Table = Table {
    file: "tokenizer_config.json, special_tokens_map.json",
    keys: &[
        key(
            &["tokenizer_class"],
            Obeyed,
            "the tokenizers of BERT, RoBERTa, XLM-RoBERTa, CamemBERT and MPNet are built from \
             their vocabulary, any other from tokenizer.json; without that file it is refused",
        ),
        key(
            &["do_lower_case", "strip_accents", "tokenize_chinese_chars"],
            Obeyed,
            "BERT's class follows it even where tokenizer.json differs, as in `transformers`; a \
             note says so",
        ),
        key(
            &["add_prefix_space", "trim_offsets"],
            Obeyed,
            "by the classes of RoBERTa, XLM-RoBERTa and CamemBERT; for any other tokenizer.json \
             has it already",
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
            "names, and tokens added to the vocabulary",
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
                "unk_id",
                "add_eos_token",
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
