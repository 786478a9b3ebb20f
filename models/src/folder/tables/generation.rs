//! The keys of `generation_config.json`.

use super::key;
use crate::folder::keys::Rule::{Harmless, Obeyed, Only};
use crate::folder::keys::Table;

/// `generation_config.json`.
pub(crate) const GENERATION: Table = Table {
    file: "generation_config.json",
    keys: &[
        key(
            &["do_sample", "temperature", "top_k", "top_p", "repetition_penalty"],
            Obeyed,
            "how a token is chosen; `infer generate` has a flag for each",
        ),
        key(&["max_new_tokens", "max_length"], Obeyed, "how long a text becomes"),
        key(&["eos_token_id", "bos_token_id"], Obeyed, "where a text ends, and begins"),
        key(&["num_beams", "num_beam_groups"], Only(&["1"]), "Gradus has no beam search"),
        key(
            &["no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "min_length", "min_p"],
            Only(&["0", "0.0"]),
            "Gradus does not have it",
        ),
        key(
            &["typical_p", "encoder_repetition_penalty", "top_h"],
            Only(&["1", "1.0"]),
            "Gradus does not have it",
        ),
        key(
            &["epsilon_cutoff", "eta_cutoff", "diversity_penalty"],
            Only(&["0", "0.0"]),
            "Gradus does not have it",
        ),
        key(
            &[
                "penalty_alpha",
                "min_new_tokens",
                "bad_words_ids",
                "force_words_ids",
                "constraints",
                "forced_bos_token_id",
                "forced_eos_token_id",
                "suppress_tokens",
                "begin_suppress_tokens",
                "sequence_bias",
                "guidance_scale",
                "exponential_decay_length_penalty",
                "stop_strings",
                "max_time",
                "dola_layers",
            ],
            Only(&[]),
            "Gradus does not have it",
        ),
        key(
            &[
                "pad_token_id",
                "decoder_start_token_id",
                "num_return_sequences",
                "use_cache",
                "cache_implementation",
                "cache_config",
                "early_stopping",
                "length_penalty",
                "renormalize_logits",
                "remove_invalid_values",
                "return_dict_in_generate",
                "output_attentions",
                "output_hidden_states",
                "output_scores",
                "output_logits",
                "token_healing",
                "low_memory",
                "transformers_version",
                "_from_model_config",
            ],
            Harmless,
            "padding, beams, memory and what `transformers` returns",
        ),
    ],
};
