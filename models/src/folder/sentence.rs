//! The files of sentence-transformers: pooling and the modules after it, lengths, prompts.

use std::path::{Path, PathBuf};

use gradus_nn::Activation;
use serde_json::{Map, Value, json};

use super::keys::Table;
use super::layout::{Layout, Module, no_module};
use super::splade::Splade;
use super::tables::{
    ARGUMENTS, DENSE, DROPOUT, LAYER_NORM, NORMALIZE, POOLING, SENTENCE, SENTENCE_MODEL, SPLADE,
};
use super::values::{flag, object, positive, text};
use super::{Prompts, checked, json_object};
use crate::Pooling;
use crate::error::{Error, Result};

/// How similar two vectors are: `similarity_fn_name`. A larger number means more similar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SimilarityFunction {
    /// The cosine of the angle, from -1 to 1.
    #[default]
    Cosine,
    /// The product.
    Dot,
    /// The distance, negated.
    Euclidean,
    /// The sum of the distances in every dimension, negated.
    Manhattan,
}

impl SimilarityFunction {
    /// The similarity of two vectors of one width.
    pub fn of(self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = || a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
        let dot = || pairs().map(|(x, y)| x * y).sum::<f64>();
        let length = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let value = match self {
            SimilarityFunction::Cosine => {
                (dot() / (length(a) * length(b)).max(f64::MIN_POSITIVE)).clamp(-1.0, 1.0)
            }
            SimilarityFunction::Dot => dot(),
            SimilarityFunction::Euclidean => {
                -pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
            }
            SimilarityFunction::Manhattan => -pairs().map(|(x, y)| (x - y).abs()).sum::<f64>(),
        };
        value as f32
    }
}

/// A step from the tokens' last states to the vector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// The tokens become one vector: the vectors of all modes, end to end.
    Pool { modes: Vec<Pooling>, include_prompt: bool },
    /// A linear layer and an activation.
    Dense(Dense),
    /// Layer norm, with the weights of this folder.
    LayerNorm { folder: PathBuf, width: usize },
    /// The vector gets length 1.
    Normalize,
}

/// A `Dense` module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    pub folder: PathBuf,
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    pub activation: Option<DenseActivation>,
    pub residual: bool,
}

/// What a `Dense` module applies to its product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DenseActivation {
    Sigmoid,
    Of(Activation),
}

/// The settings of a folder of sentence-transformers.
#[derive(Debug, Default)]
pub(crate) struct Sentence {
    /// Empty where the folder names none; then the mean of the tokens, of length 1, is the vector.
    pub stages: Vec<Stage>,
    /// Whether `modules.json` lists the stages; then no stage is added to them.
    pub listed: bool,
    pub max_length: Option<usize>,
    pub lower_case: bool,
    pub prompts: Prompts,
    pub similarity: SimilarityFunction,
    pub truncate_dim: Option<usize>,
    /// Whether the model is a cross-encoder, and the Python name of its output's activation.
    pub cross_encoder: bool,
    pub activation: Option<String>,
    /// Whether the model calls itself a sparse encoder.
    pub sparse_model: bool,
    /// Whether the first module gives the logits of a masked language model.
    pub masked_lm: bool,
    /// How a sparse encoder pools: the settings of its `SpladePooling`.
    pub splade: Option<Splade>,
    pub notes: Vec<String>,
}

/// The names that `sentence_bert_config.json` had for other models in earlier versions.
pub(crate) const SENTENCE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

impl Sentence {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// When one is malformed, or asks for something that Gradus does not have; the message names
    /// the file and the key.
    pub fn read(layout: &Layout) -> Result<Sentence> {
        let mut sentence = Sentence { listed: layout.modules.is_some(), ..Sentence::default() };
        sentence.read_model(&layout.root)?;
        sentence.read_transformer(&layout.transformer)?;
        for module in layout.modules.iter().flatten().skip(1) {
            sentence.read_module(&layout.root, module)?;
        }
        if !sentence.listed {
            sentence.read_unlisted(&layout.root)?;
        }
        sentence.check_sparse(layout)?;
        let pools = sentence.cross_encoder || sentence.splade.is_some();
        if sentence.listed && !pools && sentence.stages.is_empty() {
            let message = "lists no Pooling; Gradus embeds only with models that pool";
            return Err(Error::config(layout.root.join("modules.json"), message));
        }
        Ok(sentence)
    }

    /// Refuses sparse encoders whose modules are not a masked language model and its SpladePooling.
    fn check_sparse(&self, layout: &Layout) -> Result<()> {
        let path = layout.root.join("modules.json");
        let first = layout.modules.iter().flatten().next();
        let is_masked = self.masked_lm || first.is_some_and(|m| m.kind == "MLMTransformer");
        let message = match (is_masked, self.splade.is_some()) {
            (true, false) => {
                "the first module is a masked language model (MLMTransformer, or transformer_task \
                 `fill-mask`), and Gradus pools its logits only with a SpladePooling"
            }
            (false, true) => {
                "lists a SpladePooling after a Transformer that gives no logits (transformer_task \
                 `fill-mask`)"
            }
            (true, true) if !self.stages.is_empty() => {
                "lists other modules beside the SpladePooling, which Gradus does not combine"
            }
            (false, false) if self.sparse_model => {
                "model_type is SparseEncoder, and Gradus runs sparse encoders with a SpladePooling \
                 only"
            }
            _ => return Ok(()),
        };
        Err(Error::config(path, message))
    }

    /// A copy without modules.json may still have a Pooling. The order of other modules is not
    /// known without that file.
    fn read_unlisted(&mut self, root: &Path) -> Result<()> {
        let entries = std::fs::read_dir(root).map_err(|e| Error::io(root, e))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let is_module = |name: &String| {
            let (number, kind) = name.split_once('_').unwrap_or_default();
            number.parse::<u32>().is_ok() && ["Dense", "LayerNorm"].contains(&kind)
        };
        if let Some(name) = names.filter(is_module).min() {
            let what = format!("which modules {name} follows");
            return Err(missing(&root.join("modules.json"), &what));
        }
        let usual = Module { kind: "Pooling".into(), path: "1_Pooling".into() };
        match root.join("1_Pooling/config.json").is_file() {
            true => self.read_module(root, &usual),
            false => Ok(()),
        }
    }

    fn read_object(&mut self, path: &Path, table: &Table) -> Result<Option<Map<String, Value>>> {
        let object = json_object(path)?;
        if let Some(object) = &object {
            self.notes.extend(checked(path, object, table)?);
        }
        Ok(object)
    }

    /// `config_sentence_transformers.json`.
    fn read_model(&mut self, root: &Path) -> Result<()> {
        let path = root.join("config_sentence_transformers.json");
        let Some(config) = self.read_object(&path, &SENTENCE_MODEL)? else { return Ok(()) };
        let fail = |message: String| Error::config(&path, message);
        let text = |key: &str| text(&config, key).map_err(fail);
        let model_type = text("model_type")?;
        self.cross_encoder = model_type == Some("CrossEncoder");
        self.sparse_model = model_type == Some("SparseEncoder");
        self.activation = text("activation_fn")?.map(str::to_string);
        self.prompts = Prompts::read(&config).map_err(fail)?;
        self.truncate_dim = positive(&config, "truncate_dim").map_err(fail)?;
        self.similarity = match text("similarity_fn_name")? {
            None | Some("cosine") => SimilarityFunction::Cosine,
            Some("dot") => SimilarityFunction::Dot,
            Some("euclidean") => SimilarityFunction::Euclidean,
            Some("manhattan") => SimilarityFunction::Manhattan,
            Some(other) => {
                return Err(fail(format!(
                    "similarity_fn_name is `{other}`, which Gradus does not have"
                )));
            }
        };
        let default = self.prompts.get(None).ok().flatten().unwrap_or_default();
        if self.cross_encoder && !default.is_empty() {
            return Err(fail(
                "default_prompt_name: Gradus puts no prompt before the pairs of a cross-encoder"
                    .into(),
            ));
        }
        Ok(())
    }

    /// `sentence_bert_config.json`.
    fn read_transformer(&mut self, folder: &Path) -> Result<()> {
        let Some(path) =
            SENTENCE_CONFIGS.iter().map(|name| folder.join(name)).find(|path| path.is_file())
        else {
            return Ok(());
        };
        let Some(config) = self.read_object(&path, &SENTENCE)? else { return Ok(()) };
        let fail = |message: String| Error::config(&path, message);
        self.max_length = positive(&config, "max_seq_length").map_err(fail)?;
        self.lower_case = flag(&config, "do_lower_case").map_err(fail)?.unwrap_or(false);
        let task = text(&config, "transformer_task").map_err(fail)?;
        let output = match task.unwrap_or("feature-extraction") {
            "feature-extraction" => "last_hidden_state",
            "sequence-classification" => {
                self.cross_encoder = true;
                "logits"
            }
            "fill-mask" => {
                self.masked_lm = true;
                "logits"
            }
            other => {
                return Err(fail(format!(
                    "transformer_task is `{other}`: Gradus embeds, classifies and fills masks \
                     only"
                )));
            }
        };
        let usual = json!({"method": "forward", "method_output_name": output});
        if let Some(modes) = object(&config, "modality_config").map_err(fail)?
            && modes.get("text") != Some(&usual)
        {
            return Err(fail(format!("modality_config: Gradus takes only {usual} for text")));
        }
        let named = text(&config, "module_output_name").map_err(fail)?;
        if !self.cross_encoder && named.is_some_and(|name| name != "token_embeddings") {
            return Err(fail("module_output_name: Gradus takes `token_embeddings` only".into()));
        }
        self.read_arguments(&config).map_err(fail)
    }

    /// The arguments that sentence-transformers passes on to `transformers`.
    fn read_arguments(&mut self, config: &Map<String, Value>) -> Result<(), String> {
        const HARMLESS: [&str; 12] = [
            "dtype",
            "torch_dtype",
            "attn_implementation",
            "device_map",
            "low_cpu_mem_usage",
            "use_safetensors",
            "trust_remote_code",
            "revision",
            "cache_dir",
            "token",
            "local_files_only",
            "use_fast",
        ];
        /// The arguments that reach the tokenizer.
        const OF_TOKENIZER: [&str; 2] = ["tokenizer_args", "processor_kwargs"];
        for of in ARGUMENTS {
            let Some(arguments) = object(config, of)? else { continue };
            for (name, value) in arguments {
                match (name.as_str(), value) {
                    (name, _) if HARMLESS.contains(&name) => {}
                    // It wins over `max_seq_length`.
                    ("model_max_length", _) if OF_TOKENIZER.contains(of) => {
                        self.max_length = positive(arguments, name)?.or(self.max_length);
                    }
                    (_, Value::Null) => {}
                    (_, Value::Object(map)) if map.is_empty() => {}
                    _ => return Err(format!("{of}: Gradus does not know `{name}`")),
                }
            }
        }
        Ok(())
    }

    /// A module after the first.
    fn read_module(&mut self, root: &Path, module: &Module) -> Result<()> {
        let folder = root.join(&module.path);
        let path = folder.join("config.json");
        match module.kind.as_str() {
            "Pooling" => {
                let config = self.read_object(&path, &POOLING)?;
                let config = config.ok_or_else(|| missing(&path, "how the model pools"))?;
                let stage = pooling(&config).map_err(|message| Error::config(&path, message))?;
                self.stages.push(stage);
            }
            "Dense" => {
                let config = self.read_object(&path, &DENSE)?;
                let config =
                    config.ok_or_else(|| missing(&path, "the shape of the Dense module"))?;
                let dense =
                    dense(&config, folder).map_err(|message| Error::config(&path, message))?;
                self.stages.push(Stage::Dense(dense));
            }
            "LayerNorm" => {
                let config = self.read_object(&path, &LAYER_NORM)?;
                let width = positive(&config.unwrap_or_default(), "dimension");
                let width = width.map_err(|message| Error::config(&path, message))?;
                let width =
                    width.ok_or_else(|| missing(&path, "the dimension of the LayerNorm module"))?;
                self.stages.push(Stage::LayerNorm { folder, width });
            }
            "SpladePooling" => {
                let config = self.read_object(&path, &SPLADE)?;
                let config = config.ok_or_else(|| missing(&path, "how the model pools"))?;
                let splade =
                    Splade::read(&config).map_err(|message| Error::config(&path, message))?;
                self.splade = Some(splade);
            }
            "Normalize" => {
                self.read_object(&path, &NORMALIZE)?;
                self.stages.push(Stage::Normalize);
            }
            "Dropout" => drop(self.read_object(&path, &DROPOUT)?),
            other => {
                let place = if self.stages.is_empty() { "second" } else { "next" };
                return Err(Error::config(root.join("modules.json"), no_module(other, place)));
            }
        }
        Ok(())
    }
}

fn missing(path: &Path, what: &str) -> Error {
    Error::config(
        path,
        format!("is missing, and only it says {what}; copy it from the model it belongs to"),
    )
}

/// The older form of `pooling_mode`. The vectors of several modes follow each other in this order.
pub(super) const OLDER: [(&str, Pooling); 6] = [
    ("pooling_mode_cls_token", Pooling::Cls),
    ("pooling_mode_max_tokens", Pooling::Max),
    ("pooling_mode_mean_tokens", Pooling::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("pooling_mode_weightedmean_tokens", Pooling::WeightedMean),
    ("pooling_mode_lasttoken", Pooling::LastToken),
];

fn pooling(config: &Map<String, Value>) -> Result<Stage, String> {
    let mode = |name: &Value| match name.as_str().map(str::parse::<Pooling>) {
        Some(Ok(mode)) => Ok(mode),
        _ => Err(format!("pooling_mode is {name}; Gradus has {}", Pooling::names())),
    };
    let mut modes = match config.get("pooling_mode") {
        Some(Value::Array(names)) if !names.is_empty() => {
            names.iter().map(mode).collect::<Result<Vec<_>, _>>()?
        }
        Some(name) if !name.is_null() => vec![mode(name)?],
        _ => older_modes(config)?,
    };
    if modes.is_empty() {
        modes.push(Pooling::Mean);
    }
    let include_prompt = flag(config, "include_prompt")?.unwrap_or(true);
    Ok(Stage::Pool { modes, include_prompt })
}

fn older_modes(config: &Map<String, Value>) -> Result<Vec<Pooling>, String> {
    let mut modes = Vec::new();
    for (key, mode) in OLDER {
        modes.extend(flag(config, key)?.unwrap_or(false).then_some(mode));
    }
    Ok(modes)
}

fn dense(config: &Map<String, Value>, folder: PathBuf) -> Result<Dense, String> {
    let size = |key: &str| positive(config, key)?.ok_or_else(|| format!("{key} is missing"));
    let activation = match config.get("activation_function") {
        None => Some(DenseActivation::Of(Activation::Tanh)),
        // Null is refused too: one part of sentence-transformers reads it as no activation, another
        // fails.
        Some(name) => match name.as_str().and_then(parse_activation) {
            Some("Identity") => None,
            Some("Tanh") => Some(DenseActivation::Of(Activation::Tanh)),
            Some("Sigmoid") => Some(DenseActivation::Sigmoid),
            Some("ReLU") => Some(DenseActivation::Of(Activation::Relu)),
            Some("GELU") => Some(DenseActivation::Of(Activation::Gelu)),
            Some("SiLU") => Some(DenseActivation::Of(Activation::Silu)),
            _ => return Err(format!("activation_function is {name}, which Gradus does not have")),
        },
    };
    Ok(Dense {
        inputs: size("in_features")?,
        outputs: size("out_features")?,
        bias: flag(config, "bias")?.unwrap_or(true),
        activation,
        residual: flag(config, "use_residual")?.unwrap_or(false),
        folder,
    })
}

/// The class of an activation that sentence-transformers writes with its module:
/// `torch.nn.modules.activation.Tanh`.
pub(crate) fn parse_activation(name: &str) -> Option<&str> {
    name.strip_prefix("torch.nn.").and_then(|rest| rest.rsplit('.').next())
}
