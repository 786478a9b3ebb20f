//! Adapters in PEFT's layout: a small folder with the low-rank parts of some layers
//! (`adapter_model.safetensors`) and what they belong to (`adapter_config.json`).
//!
//! An adapter is folded into its base when it is opened: each adapted weight becomes W + s·B·A, and
//! the modules that the adapter has in full (a head) replace the base's. So every pipeline runs it
//! like a whole model. To train an adapter further, its parts are read apart
//! ([`ModelRef::apart`](crate::ModelRef::apart)).

mod merge;
mod save;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gradus_nn::Lora;
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_tensor::{DType, Tensor};
use serde_json::{Map, Value};

pub use merge::merge;
pub(crate) use save::{Adaptation, save_adapter};

use crate::folder::tables::ADAPTER;
use crate::folder::{checked, json_object, values};
use crate::{EncoderConfig, Error, Result, Task};

/// The files of an adapter.
pub(crate) const SETTINGS: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// Weights in a format that Gradus does not read.
pub(crate) const PICKLE: &str = "adapter_model.bin";

/// What PEFT puts before the names of a model's parameters.
const PREFIX: &str = "base_model.model.";

/// An opened adapter.
pub(crate) struct Adapter {
    file: SafeTensors,
    path: PathBuf,
    /// The names of the tensors, with [`PREFIX`] and without.
    names: BTreeMap<String, String>,
    /// The folder or hub id of the base.
    pub base: Option<String>,
    /// PEFT's name of the task.
    task: Option<String>,
    /// s of the low-rank parts.
    scaling: f64,
    /// Whether the low-rank parts are read as they are, not folded.
    pub apart: bool,
}

/// Whether a folder holds an adapter.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join(SETTINGS).is_file()
}

impl Adapter {
    /// Opens the adapter in `folder`, and returns notes about keys that Gradus does not know.
    ///
    /// # Errors
    /// When a file is malformed, or a setting or a tensor asks for what Gradus does not have.
    pub fn open(folder: &Path, apart: bool) -> Result<(Adapter, Vec<String>)> {
        let settings = folder.join(SETTINGS);
        let fail = |message: String| Error::config(&settings, message);
        let map = json_object(&settings)?.unwrap_or_default();
        let notes = checked(&settings, &map, &ADAPTER)?;
        if !map.contains_key("peft_type") {
            return Err(fail(
                "has no `peft_type`; it is not the configuration of an adapter".into(),
            ));
        }
        let text = |key: &str| values::text(&map, key).map(|text| text.map(str::to_string));
        let (base, task) =
            (text("base_model_name_or_path").map_err(fail)?, text("task_type").map_err(fail)?);
        let lora = numbers(&map).map_err(fail)?;
        let path = folder.join(WEIGHTS);
        let file = SafeTensors::open(&path)?;
        let mut names = BTreeMap::new();
        for name in file.names() {
            let plain = plain(&name)
                .map_err(|message| Error::Checkpoint { path: path.clone(), message })?;
            names.insert(plain, name);
        }
        let adapter = Adapter { file, path, names, base, task, scaling: lora.scaling(), apart };
        adapter.check_pairs(lora.rank)?;
        Ok((adapter, notes))
    }

    fn fail<T>(&self, message: String) -> Result<T> {
        Err(Error::Checkpoint { path: self.path.clone(), message })
    }

    /// The layers with low-rank parts.
    pub fn layers(&self) -> BTreeSet<&str> {
        self.names.keys().filter_map(|name| Lora::layer_of(name)).collect()
    }

    /// The shape of a tensor, by its name without the prefix.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.file.info(self.names.get(name)?)?.1)
    }

    /// The shapes `[out, in]` that an adapted layer must have.
    pub fn shape_of_layer(&self, layer: &str) -> Option<[usize; 2]> {
        let rows = self.shape(&format!("{layer}.lora_B.weight"))?;
        let columns = self.shape(&format!("{layer}.lora_A.weight"))?;
        Some([*rows.first()?, *columns.last()?])
    }

    /// Checks that every A has its B, and that both have the rank.
    fn check_pairs(&self, rank: usize) -> Result<()> {
        for layer in self.layers() {
            let [a, b] =
                ["lora_A", "lora_B"].map(|part| self.shape(&format!("{layer}.{part}.weight")));
            let fits = matches!((&a, &b), (Some(a), Some(b))
                if a.len() == 2 && b.len() == 2 && a[0] == rank && b[1] == rank);
            if !fits {
                return self.fail(format!(
                    "the low-rank parts of `{layer}` are {a:?} and {b:?}; they must be [{rank}, in] and \
                     [out, {rank}], where {rank} is `r` of {SETTINGS}"
                ));
            }
        }
        Ok(())
    }

    /// The file of the weights.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the adapter has this tensor; a name without the prefix.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The name in the file.
    pub fn name_in_file(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// A tensor, by its name without the prefix.
    ///
    /// # Errors
    /// When the adapter has none of this name.
    pub fn tensor(&self, name: &str) -> gradus_tensor::Result<Tensor> {
        self.file.tensor(self.names.get(name).map_or(name, String::as_str))
    }

    /// The names of the tensors without the prefix.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// The folder or hub id of the base: `given`, else what the adapter says.
    ///
    /// # Errors
    /// [`Error::MissingBase`] when neither names one.
    pub fn base(&self, given: Option<&str>) -> Result<String> {
        let own = self.base.clone().filter(|base| !base.is_empty());
        given.map(str::to_string).or(own).ok_or_else(|| Error::MissingBase {
            path: self.path.with_file_name(SETTINGS),
            message: "names no base (`base_model_name_or_path`)".into(),
        })
    }

    /// The weight W of `layer` with its low-rank part: W + s·B·A.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn folded(&self, layer: &str, weight: Tensor) -> gradus_tensor::Result<Tensor> {
        let dtype = if weight.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let part = |name: &str| self.tensor(&format!("{layer}.{name}.weight"))?.to_dtype(dtype);
        let product = part("lora_B")?.matmul(&part("lora_A")?)?;
        weight.to_dtype(dtype)?.add(&product.mul_scalar(self.scaling)?)
    }

    /// Checks that a model of this configuration can do what the adapter was trained for.
    ///
    /// # Errors
    /// When the adapter generates, and the model does not.
    pub fn check_task(&self, config: &EncoderConfig) -> Result<()> {
        match self.task.as_deref() {
            Some("CAUSAL_LM") if !config.is_causal() => self.fail(format!(
                "task_type of {SETTINGS} is CAUSAL_LM, but a model of type `{}` does not predict the \
                 next words",
                config.model_type
            )),
            _ => Ok(()),
        }
    }

    /// The configuration of the adapted model, where the adapter has no config.json: the base's, with
    /// the head that the adapter brings.
    ///
    /// # Errors
    /// When the adapter has no head that its task needs.
    pub fn config(&self, base: &EncoderConfig) -> Result<EncoderConfig> {
        let task = match self.task.as_deref() {
            Some("SEQ_CLS") => Task::Classify,
            Some("TOKEN_CLS") => Task::Tag,
            Some("QUESTION_ANS") => Task::Answer,
            Some("CAUSAL_LM") => {
                let architectures = vec![base.architecture(Task::Generate)];
                return Ok(EncoderConfig { architectures, ..base.clone() });
            }
            _ => return Ok(base.clone()),
        };
        let output = match task {
            Task::Answer => base.answer_layer()?,
            task => base.label_layer(task),
        };
        let Some(shape) = self.shape(&format!("{output}.weight")) else {
            return self.fail(format!(
                "has no `{PREFIX}{output}.weight`: without a config.json the adapter must bring its head"
            ));
        };
        let mut config = base.clone();
        config.architectures = vec![base.architecture(task)];
        config.pooling = base.pooling.filter(|pooling| base.is_own_pooling(*pooling));
        if task != Task::Answer && config.id2label.len() != shape[0] {
            config.id2label = (0..shape[0]).map(|i| format!("LABEL_{i}")).collect();
            config.problem_type = None;
        }
        Ok(config)
    }
}

/// The name of a tensor without what PEFT puts before it.
fn plain(name: &str) -> Result<String, String> {
    let Some(plain) = name.strip_prefix(PREFIX) else {
        return Err(format!("`{name}` is not a name of PEFT's: it does not begin with `{PREFIX}`"));
    };
    match plain.contains("lora_") && Lora::layer_of(plain).is_none() {
        true => Err(format!(
            "`{name}` is no low-rank part of a linear layer, and Gradus has no other; merge the \
             adapter with PEFT (`merge_and_unload`)"
        )),
        false => Ok(plain.to_string()),
    }
}

/// The rank and the scale.
fn numbers(map: &Map<String, Value>) -> Result<Lora, String> {
    let rank = values::positive(map, "r")?.ok_or("has no `r`")?;
    let alpha = map.get("lora_alpha").and_then(Value::as_f64);
    let alpha = alpha.filter(|alpha| alpha.is_finite()).ok_or("has no number `lora_alpha`")?;
    let rslora = values::flag(map, "use_rslora")?.unwrap_or(false);
    Ok(Lora { rank, alpha, rslora, ..Lora::default() })
}
