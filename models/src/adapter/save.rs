//! Writes adapters that PEFT reads.

use std::collections::BTreeSet;
use std::path::Path;

use gradus_nn::{Lora, Parameter, Store};
use gradus_tensor::io::safetensors;
use gradus_tensor::{DType, Tensor};
use serde_json::{Value, json};

use super::{PREFIX, SETTINGS, WEIGHTS};
use crate::family::bare;
use crate::pretrained::remove_files;
use crate::{EncoderConfig, Error, Result, Task, Tokenizer, checkpoint, files, interchange};

/// What an adapter is made of, besides its model's folder.
pub(crate) struct Adaptation<'a> {
    /// The parameters of the model.
    pub store: &'a Store,
    /// How its layers are adapted.
    pub lora: &'a Lora,
    /// The folder or hub id of the base.
    pub base: Option<&'a str>,
}

/// Writes a folder with an adapter, and the configuration and the tokenizer of its model. Weights of
/// a whole model that lie there are removed: the folder would have two models.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn save_adapter(
    folder: &Path,
    config: &EncoderConfig,
    tokenizer: &Tokenizer,
    adaptation: &Adaptation,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    tokenizer.save(folder)?;
    interchange::write_files(folder, config)?;
    let modules = adaptation.modules();
    safetensors::save(folder.join(WEIGHTS), adaptation.tensors(config, &modules), None)?;
    let settings = serde_json::to_vec_pretty(&adaptation.settings(config, &modules))
        .map_err(|e| Error::Input(format!("{SETTINGS} cannot be written: {e}")))?;
    files::write_atomic(&folder.join(SETTINGS), &settings)?;
    remove_files(folder, &[checkpoint::WEIGHTS, checkpoint::INDEX])?;
    interchange::config(config, DType::F32).save(folder.join("config.json"))
}

impl Adaptation<'_> {
    /// The modules that are trained in full: of the head, and those of `modules_to_save`.
    fn modules(&self) -> BTreeSet<String> {
        let parameters = self.store.parameters();
        let trained = parameters.iter().filter(|p| p.trainable()).map(Parameter::name);
        trained
            .filter(|name| Lora::layer_of(name).is_none())
            .map(|name| self.module(name))
            .collect()
    }

    /// The module of a parameter that is trained in full.
    fn module(&self, name: &str) -> String {
        let first = || name.split('.').next().unwrap_or(name);
        self.lora.saved_module(name).unwrap_or_else(first).to_string()
    }

    /// The tensors, with PEFT's names.
    fn tensors(&self, config: &EncoderConfig, modules: &BTreeSet<String>) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for parameter in self.store.parameters() {
            let name = parameter.name();
            if Lora::layer_of(name).is_none() && !modules.contains(&self.module(name)) {
                continue;
            }
            // The encoder alone has no `bert.` in its names.
            let own = if config.task() == Task::Embed { bare(name) } else { name };
            let own = interchange::head_name(config, own);
            tensors.push((format!("{PREFIX}{own}"), parameter.tensor()));
        }
        let twins = self.decoder(config).into_iter();
        let twins = twins.filter(|(name, _)| modules.contains(&self.module(name)));
        tensors
            .extend(twins.map(|(name, parameter)| (format!("{PREFIX}{name}"), parameter.tensor())));
        tensors
    }

    /// What the head of a language model shares, under its decoder's names. PEFT copies a module that is
    /// trained in full, its decoder included, and wants all parameters of the copy.
    fn decoder(&self, config: &EncoderConfig) -> Vec<(String, Parameter)> {
        let twins = config.family().twins().into_iter();
        twins.filter_map(|(name, shared)| Some((name, self.store.get(&shared)?))).collect()
    }

    /// The content of `adapter_config.json`.
    fn settings(&self, config: &EncoderConfig, modules: &BTreeSet<String>) -> Value {
        let lora = self.lora;
        let task = match config.task() {
            Task::Classify => Some("SEQ_CLS"),
            Task::Tag => Some("TOKEN_CLS"),
            Task::Embed => Some("FEATURE_EXTRACTION"),
            Task::Answer => Some("QUESTION_ANS"),
            Task::FillMask => None,
            Task::Generate => Some("CAUSAL_LM"),
        };
        let targets = self.targets();
        let named = Lora { targets: targets.clone(), ..lora.clone() };
        // Layers that the names of the targets mean too, but which are not adapted.
        let family = config.family();
        let pooler = format!("{}.pooler.dense", family.prefix);
        let inner = family.classifier.as_ref().map(|inner| inner.dense);
        let dense = family.masked_lm.as_ref().map(|names| names.dense);
        let outside = [Some(pooler.as_str()), dense, inner];
        let outside = outside.into_iter().flatten().filter(|layer| {
            named.adapts(layer) && self.store.get(&format!("{layer}.weight")).is_some()
        });
        let excluded: Vec<&str> = outside.collect();
        let modules: Vec<String> =
            modules.iter().map(|module| interchange::head_name(config, module)).collect();
        let alpha = match lora.alpha.fract() == 0.0 && lora.alpha < 1e9 {
            true => json!(lora.alpha as u64),
            false => json!(lora.alpha),
        };
        json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": self.base,
            "bias": "none",
            "exclude_modules": (!excluded.is_empty()).then_some(excluded),
            "fan_in_fan_out": !family.transposed.is_empty(),
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": alpha,
            "lora_dropout": lora.dropout,
            "modules_to_save": (!modules.is_empty()).then_some(modules),
            "peft_type": "LORA",
            "r": lora.rank,
            "rank_pattern": {},
            "revision": null,
            "target_modules": targets,
            "task_type": task,
            "use_dora": false,
            "use_rslora": lora.rslora,
        })
    }

    /// The targets by the names of layers: every linear layer of the encoder for `all-linear`.
    fn targets(&self) -> Vec<String> {
        if !self.lora.targets.iter().any(|target| target == Lora::ALL_LINEAR) {
            return self.lora.targets.clone();
        }
        let parameters = self.store.parameters();
        let layers = parameters.iter().filter_map(|p| Lora::layer_of(p.name()));
        let ends = layers.filter_map(|layer| {
            let (_, below) = layer.split_once("encoder.layer.")?;
            below.split_once('.').map(|(_, end)| end.to_string())
        });
        ends.collect::<BTreeSet<_>>().into_iter().collect()
    }
}
