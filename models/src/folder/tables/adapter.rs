//! The keys of `adapter_config.json`.

use super::key;
use crate::folder::keys::Rule::{Harmless, Obeyed, Only};
use crate::folder::keys::Table;

/// `adapter_config.json` of PEFT.
pub(crate) const ADAPTER: Table = Table {
    file: "adapter_config.json",
    keys: &[
        key(&["peft_type"], Only(&["\"LORA\""]), "Gradus has low-rank adapters (LoRA) only"),
        key(
            &["task_type"],
            Only(&[
                "\"SEQ_CLS\"",
                "\"TOKEN_CLS\"",
                "\"QUESTION_ANS\"",
                "\"CAUSAL_LM\"",
                "\"FEATURE_EXTRACTION\"",
            ]),
            "the head, where the adapter has no config.json; Gradus has no other heads of PEFT's",
        ),
        key(
            &["base_model_name_or_path"],
            Obeyed,
            "the folder or hub id of the base, unless the caller names another",
        ),
        key(&["revision"], Only(&["\"main\""]), "Gradus fetches the revision main of a base"),
        key(&["r", "lora_alpha", "use_rslora"], Obeyed, "the rank and the scale"),
        key(
            &["rank_pattern", "alpha_pattern"],
            Only(&["{}"]),
            "Gradus has one rank and one scale for all layers; merge the adapter with PEFT \
             (`merge_and_unload`)",
        ),
        key(
            &[
                "target_modules",
                "exclude_modules",
                "layers_to_transform",
                "layers_pattern",
                "modules_to_save",
            ],
            Harmless,
            "adapter_model.safetensors says which layers are adapted, and which modules it has in \
             full",
        ),
        key(&["bias"], Only(&["\"none\""]), "Gradus does not read trained biases of an adapter"),
        key(&["lora_bias"], Only(&["false"]), "Gradus's low-rank parts have no biases"),
        key(
            &["fan_in_fan_out"],
            Harmless,
            "whether a file has a weight as [in, out]: GPT-2's has; the model's type decides, as in \
             PEFT",
        ),
        key(
            &["use_dora", "use_qalora"],
            Only(&["false"]),
            "Gradus does not have this form of low-rank adaptation; merge the adapter with PEFT \
             (`merge_and_unload`)",
        ),
        key(
            &[
                "layer_replication",
                "trainable_token_indices",
                "alora_invocation_tokens",
                "arrow_config",
                "kasa_config",
                "lora_ga_config",
                "monteclora_config",
                "use_bdlora",
            ],
            Only(&[]),
            "Gradus does not have this form of low-rank adaptation; merge the adapter with PEFT \
             (`merge_and_unload`)",
        ),
        key(&["target_parameters"], Only(&["[]"]), "Gradus adapts linear layers only"),
        key(
            &["init_lora_weights"],
            Only(&["true", "false", "\"gaussian\"", "\"eva\"", "\"orthogonal\""]),
            "this initialisation may change the base too; convert the adapter with PEFT \
             (`path_initial_model_for_weight_conversion`)",
        ),
        key(
            &[
                "lora_dropout",
                "inference_mode",
                "auto_mapping",
                "peft_version",
                "qalora_group_size",
                "megatron_config",
                "megatron_core",
                "loftq_config",
                "eva_config",
                "corda_config",
                "velora_config",
                "runtime_config",
                "ensure_weight_tying",
            ],
            Harmless,
            "about training, or how a program runs",
        ),
    ],
};
