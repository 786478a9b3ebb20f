//! The shape of a model: a Hugging Face `config.json`.
//!
//! `transformers` and Gradus read each other's files. Fields that Gradus does not know are kept and
//! written back.
//!
//! Reference: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers"
//! (arXiv:1810.04805); the sizes of the presets are those of Turc et al., "Well-Read Students Learn
//! Better" (arXiv:1908.08962).
//!
//! ```
//! use gradus_models::{EncoderConfig, pipelines::Task};
//!
//! # fn main() -> gradus_models::Result<()> {
//! let mut config = EncoderConfig::tiny(30_522);
//! config.architectures = vec![config.architecture(Task::Classify)];
//! assert_eq!((config.hidden_size, config.task()), (128, Task::Classify));
//! config.hidden_size = 100;
//! config.num_attention_heads = 3;
//! let error = config.validate().unwrap_err().to_string();
//! assert!(error.contains("hidden_size 100 is not a multiple of num_attention_heads 3"));
//! # Ok(())
//! # }
//! ```

use std::path::Path;

use gradus_nn::Activation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::data::Labels;
use crate::error::{Error, Result};
use crate::family::{BERT, Family, Positions, Switches, unsupported};
use crate::files;
use crate::folder::tables::CONFIG;
use crate::folder::values;
use crate::interchange;
use crate::label_maps::{by_id, by_name};
use crate::{Task, own_keys};

/// How a sequence becomes one vector: the modes of sentence-transformers, by its names. In
/// `config.json` it is Gradus's own key, which `transformers` keeps and ignores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token; in a classifier, after BERT's pooler (a dense layer and tanh).
    Cls,
    /// The mean over the tokens of the sequence, `[CLS]` and `[SEP]` included.
    Mean,
    /// The largest value of each dimension over the tokens.
    Max,
    /// The sum over the tokens, divided by the square root of their number.
    #[serde(rename = "mean_sqrt_len_tokens")]
    MeanSqrtLen,
    /// The mean weighted by the tokens' places, counted from 1.
    WeightedMean,
    /// The last token.
    LastToken,
}

impl Pooling {
    /// Every mode with its name.
    pub const ALL: [(&str, Pooling); 6] = [
        ("cls", Pooling::Cls),
        ("mean", Pooling::Mean),
        ("max", Pooling::Max),
        ("mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
        ("weightedmean", Pooling::WeightedMean),
        ("lasttoken", Pooling::LastToken),
    ];

    /// The names, for a message.
    pub(crate) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

impl std::str::FromStr for Pooling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|&(_, pooling)| pooling).ok_or_else(|| {
            Error::Input(format!("pooling `{name}` is unknown; use one of {}", Self::names()))
        })
    }
}

/// A model, as `config.json` describes it: a BERT, or one of the types that are built like it
/// (RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT, ELECTRA).
///
/// The fields have BERT's names. Other types may have other names in the file; reading and writing
/// translate them. Sizes that decide the shapes of parameters must be in the file; everything else
/// has the default of `transformers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// The class names under which `transformers` builds the model, such as
    /// `BertForSequenceClassification`.
    #[serde(default, deserialize_with = "or_default")]
    pub architectures: Vec<String>,
    /// The type, such as `bert`; it decides the names of parameters and keys.
    #[serde(default = "bert")]
    pub model_type: String,
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads; a divisor of `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside a feed-forward block.
    pub intermediate_size: usize,
    /// Activation of a feed-forward block.
    #[serde(default)]
    pub hidden_act: Activation,
    /// Dropout of embeddings and of every sub-layer's output.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Dropout before a classification head; `hidden_dropout_prob` when absent.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Rows of the position embedding: the longest sequence.
    #[serde(default = "positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding; 0 for a type without one.
    #[serde(default = "types")]
    pub type_vocab_size: usize,
    /// Standard deviation of new weights.
    #[serde(default = "range")]
    pub initializer_range: f64,
    /// The ε of every layer norm.
    #[serde(default = "eps")]
    pub layer_norm_eps: f64,
    /// The id of `[PAD]`, whose embedding starts at zero.
    #[serde(default = "pad")]
    pub pad_token_id: Option<u32>,
    /// Only `absolute` is supported.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// Label names in the order of their ids; empty when the file has none. Written as `{"0": …,
    /// "1": …}`.
    #[serde(default, with = "by_id", skip_serializing_if = "Vec::is_empty")]
    pub id2label: Vec<String>,
    /// The inverse of `id2label`; recomputed when written.
    #[serde(default, with = "by_name", skip_serializing_if = "Vec::is_empty")]
    pub label2id: Vec<(String, usize)>,
    /// `single_label_classification`, `multi_label_classification` or `regression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<String>,
    /// How a sequence becomes one vector; Gradus's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Width of the embeddings, where it may differ from that of the layers (ELECTRA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
    /// Every other key of the file, kept so that writing back loses nothing.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// DistilBERT's key of the dropout before the ends of an answer.
const ANSWER_DROPOUT: &str = "qa_dropout";

/// The types of problem: what a head's outputs mean.
const PROBLEMS: [&str; 3] =
    ["single_label_classification", "multi_label_classification", "regression"];

fn bert() -> String {
    "bert".into()
}
fn absolute() -> String {
    "absolute".into()
}
fn tenth() -> f64 {
    0.1
}
fn positions() -> usize {
    512
}
fn types() -> usize {
    2
}
fn range() -> f64 {
    0.02
}
fn eps() -> f64 {
    1e-12
}
fn pad() -> Option<u32> {
    Some(0)
}

/// `null` reads as the default.
fn or_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl EncoderConfig {
    /// A configuration of the given sizes, everything else as in BERT.
    pub fn new(
        vocab_size: usize,
        layers: usize,
        hidden_size: usize,
        heads: usize,
        intermediate_size: usize,
    ) -> Self {
        EncoderConfig {
            architectures: vec!["BertModel".into()],
            model_type: bert(),
            vocab_size,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: tenth(),
            attention_probs_dropout_prob: tenth(),
            classifier_dropout: None,
            max_position_embeddings: positions(),
            type_vocab_size: types(),
            initializer_range: range(),
            layer_norm_eps: eps(),
            pad_token_id: pad(),
            position_embedding_type: absolute(),
            id2label: Vec::new(),
            label2id: Vec::new(),
            problem_type: None,
            pooling: None,
            embedding_size: None,
            extra: Map::new(),
        }
    }

    /// 2 layers of width 128, 2 heads (4.4 million parameters with a vocabulary of 30,522).
    pub fn tiny(vocab_size: usize) -> Self {
        Self::new(vocab_size, 2, 128, 2, 512)
    }

    /// 4 layers of width 256, 4 heads (11 million parameters with a vocabulary of 30,522).
    pub fn mini(vocab_size: usize) -> Self {
        Self::new(vocab_size, 4, 256, 4, 1024)
    }

    /// 4 layers of width 512, 8 heads (29 million parameters with a vocabulary of 30,522).
    pub fn small(vocab_size: usize) -> Self {
        Self::new(vocab_size, 4, 512, 8, 2048)
    }

    /// 12 layers of width 768, 12 heads (110 million parameters with a vocabulary of 30,522).
    pub fn base(vocab_size: usize) -> Self {
        Self::new(vocab_size, 12, 768, 12, 3072)
    }

    /// The preset of that name: `tiny`, `mini`, `small` or `base`.
    ///
    /// # Errors
    /// [`Error::Input`] for any other name.
    pub fn preset(name: &str, vocab_size: usize) -> Result<Self> {
        match name {
            "tiny" => Ok(Self::tiny(vocab_size)),
            "mini" => Ok(Self::mini(vocab_size)),
            "small" => Ok(Self::small(vocab_size)),
            "base" => Ok(Self::base(vocab_size)),
            other => Err(Error::Input(format!(
                "model size `{other}` is unknown; use tiny, mini, small or base"
            ))),
        }
    }

    /// Reads and checks a `config.json`. `path` is the file, or the folder that holds it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Config`] when it is malformed or
    /// describes a model that Gradus does not build.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let mut path = path.as_ref().to_path_buf();
        if path.is_dir() {
            path.push("config.json");
        }
        Self::parse(&files::read(&path)?, &path)
    }

    /// Reads and checks the text of a `config.json`.
    ///
    /// ```
    /// # use gradus_models::EncoderConfig;
    /// let text = r#"{"model_type": "distilbert", "vocab_size": 100, "dim": 8, "n_layers": 1,
    ///                "n_heads": 2, "hidden_dim": 16}"#;
    /// assert_eq!(EncoderConfig::from_json(text)?.hidden_size, 8);
    /// # Ok::<(), gradus_models::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] as [`EncoderConfig::load`].
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text.as_bytes(), Path::new("config.json"))
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let fail = |message: String| Error::config(path, message);
        let wrong = |e: String| fail(format!("not the configuration of a model: {e}"));
        let mut object: Map<String, Value> =
            files::parse_json(bytes).map_err(|e| wrong(e.to_string()))?;
        // An unknown type lacks keys too: the type is the better message.
        let family = own_keys::family(&object).map_err(fail)?;
        own_keys::read(family, &mut object);
        let mut config: EncoderConfig = serde_json::from_value(Value::Object(object))
            .map_err(|e| wrong(own_keys::named(family, &e.to_string())))?;
        if config.id2label.is_empty() {
            let ids = config.label2id.iter().map(|pair| pair.1);
            if ids.eq(0..config.label2id.len()) {
                config.id2label = config.label2id.iter().map(|p| p.0.clone()).collect();
            }
        }
        config.check().map_err(|m| Error::config(path, own_keys::named(family, &m)))?;
        Ok(config)
    }

    /// Checks the configuration and writes it, as JSON that `transformers` reads, to the file
    /// `path`, or to `config.json` in the folder `path`. The file is written under another name and
    /// then renamed.
    ///
    /// # Errors
    /// [`Error::Config`] when [`EncoderConfig::validate`] fails, [`Error::Io`] when the file cannot be
    /// written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut path = path.as_ref().to_path_buf();
        if path.is_dir() {
            path.push("config.json");
        }
        self.check().map_err(|m| Error::config(&path, m))?;
        let mut config = self.clone();
        config.label2id = self.id2label.iter().cloned().zip(0..).collect();
        let mut json = own_keys::write(&config)
            .map_err(|e| Error::config(&path, format!("cannot be written as JSON: {e}")))?;
        json.push('\n');
        files::write_atomic(&path, json.as_bytes())
    }

    /// Checks that the sizes make sense together.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|m| Error::config("", m))
    }

    fn check(&self) -> std::result::Result<(), String> {
        if Family::of(&self.model_type).is_none() {
            return Err(unsupported(&self.model_type));
        }
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type `{}` is not supported; only `absolute` is",
                self.position_embedding_type
            ));
        }
        CONFIG.check(&self.extra)?;
        values::positive(&self.extra, "num_labels")?;
        if let Some(kind) =
            self.problem_type.as_ref().filter(|kind| !PROBLEMS.contains(&kind.as_str()))
        {
            return Err(format!(
                "problem_type is `{kind}`; it must be one of {}",
                PROBLEMS.join(", ")
            ));
        }
        if let Some(code) = foreign_code(&self.extra) {
            return Err(format!(
                "auto_map names `{code}`: the model brings its own code, and Gradus builds only \
                 models of `transformers`; run the model there with trust_remote_code=True"
            ));
        }
        self.check_sizes()?;
        self.check_numbers()?;
        self.switches().map(drop)
    }

    /// What the file turns on in the encoder.
    pub(crate) fn switches(&self) -> std::result::Result<Switches, String> {
        (self.family().switches)(self)
    }

    fn check_sizes(&self) -> std::result::Result<(), String> {
        // The upper limits are far above those of any BERT. A corrupt size below them cannot
        // exhaust the memory.
        for (name, value, most) in [
            ("vocab_size", self.vocab_size, 16_000_000),
            ("hidden_size", self.hidden_size, 65_536),
            ("num_hidden_layers", self.num_hidden_layers, 1_024),
            ("num_attention_heads", self.num_attention_heads, 4_096),
            ("intermediate_size", self.intermediate_size, 1_048_576),
            ("max_position_embeddings", self.max_position_embeddings, 1_048_576),
            ("embedding_size", self.embedding_width(), 65_536),
        ] {
            if value == 0 || value > most {
                return Err(format!("{name} is {value}; it must be from 1 to {most}"));
            }
        }
        let none = self.type_vocab_size == 0;
        if self.type_vocab_size > 65_536 || none != self.has_no_token_types() {
            return Err(format!(
                "type_vocab_size is {}; it must be from 1 to 65536",
                self.type_vocab_size
            ));
        }
        if self.max_tokens() == 0 {
            return Err(format!(
                "max_position_embeddings is {}, but positions begin after pad_token_id, at {}",
                self.max_position_embeddings,
                self.first_position()
            ));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        Ok(())
    }

    fn check_numbers(&self) -> std::result::Result<(), String> {
        for (name, p) in [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            ("attention_probs_dropout_prob", Some(self.attention_probs_dropout_prob)),
            ("classifier_dropout", self.classifier_dropout),
            (ANSWER_DROPOUT, Some(self.answer_dropout())),
        ] {
            if let Some(p) = p.filter(|p| !(0.0..1.0).contains(p)) {
                return Err(format!("{name} is {p}; it must be at least 0 and below 1"));
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!(
                "layer_norm_eps is {}; it must be between 0 and 1",
                self.layer_norm_eps
            ));
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(format!(
                "initializer_range is {}; it must be finite and not negative",
                self.initializer_range
            ));
        }
        if let Some(pad) = self.pad_token_id.filter(|&p| p as usize >= self.vocab_size) {
            return Err(format!(
                "pad_token_id {pad} is outside the vocabulary of {}",
                self.vocab_size
            ));
        }
        Ok(())
    }

    /// Notes for a person about keys that Gradus does not know.
    pub fn notes(&self) -> Vec<String> {
        let notes = CONFIG.check(&self.extra).unwrap_or_default();
        notes.into_iter().map(|note| format!("config.json: Gradus {note}")).collect()
    }

    /// Dropout before the labels of texts.
    pub fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Dropout before the labels of words.
    pub(crate) fn tag_dropout(&self) -> f64 {
        if self.family().own_dropouts { self.hidden_dropout_prob } else { self.head_dropout() }
    }

    /// Dropout before the ends of an answer; most types have none.
    pub(crate) fn answer_dropout(&self) -> f64 {
        let own = self.extra.get(ANSWER_DROPOUT).and_then(Value::as_f64);
        match &self.family().classifier {
            _ if self.family().own_dropouts => own.unwrap_or(tenth()),
            Some(inner) if inner.everywhere => self.head_dropout(),
            _ => 0.0,
        }
    }

    /// Sets every dropout of the model.
    pub fn set_dropout(&mut self, p: f64) {
        self.hidden_dropout_prob = p;
        self.attention_probs_dropout_prob = p;
        self.classifier_dropout = Some(p);
        for key in self.family().dropouts {
            self.extra.insert((*key).into(), p.into());
        }
    }

    /// What the model's type has that BERT has not.
    pub(crate) fn family(&self) -> &'static Family {
        Family::of(&self.model_type).unwrap_or(&BERT)
    }

    /// The place of the encoder in a model with a head at `root`: `bert` for BERT.
    pub fn encoder_path(&self, root: &gradus_nn::Path) -> gradus_nn::Path {
        root.join(self.family().prefix)
    }

    /// The class of `transformers` that has the head of a task, such as
    /// `BertForSequenceClassification`.
    pub fn architecture(&self, task: Task) -> String {
        format!("{}{}", self.family().class, task.class())
    }

    /// The last parts of the names of the queries' and the values' linear layers, which PEFT adapts
    /// unless it is told otherwise: `query` and `value` in BERT.
    pub fn lora_targets(&self) -> Vec<String> {
        let names = self.family().names;
        let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name).to_string();
        match names.qkv {
            Some(all) => vec![last(all)],
            None => vec![last(names.query), last(names.value)],
        }
    }

    /// The layer that gives the logits of the labels of texts or words.
    pub(crate) fn label_layer(&self, task: Task) -> &'static str {
        match &self.family().classifier {
            Some(inner) if task == Task::Classify => inner.output,
            _ => "classifier",
        }
    }

    /// The pooling of the type's own classifier: `cls`, or what its class in `transformers` has.
    pub(crate) fn is_own_pooling(&self, pooling: Pooling) -> bool {
        let named = self.family().keys.iter().any(|(name, _)| *name == "pooling");
        pooling == Pooling::Cls || (named && pooling == Pooling::Mean)
    }

    /// Width of the embeddings.
    pub fn embedding_width(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// Whether tokens have no types. Those of GTE have as many as the file says.
    fn has_no_token_types(&self) -> bool {
        let family = self.family();
        let fixed = family.fixed.iter().any(|(key, _)| *key == "type_vocab_size");
        fixed || (family.model_type == "gte" && self.type_vocab_size == 0)
    }

    /// The position of a sequence's first token.
    pub(crate) fn first_position(&self) -> usize {
        match self.family().positions {
            Positions::Zero | Positions::Rotary => 0,
            Positions::AfterPadding => self.pad_token_id.map_or(0, |pad| pad as usize) + 1,
        }
    }

    /// The most tokens of a sequence: the model has no positions for more.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// The positions of a sequence's tokens.
    pub(crate) fn positions(&self, ids: &[u32]) -> Vec<u32> {
        let mut next = self.first_position() as u32;
        let after_padding = self.family().positions == Positions::AfterPadding;
        let of = |&id: &u32| match self.pad_token_id.filter(|&pad| after_padding && pad == id) {
            Some(pad) => pad,
            None => {
                next += 1;
                next - 1
            }
        };
        ids.iter().map(of).collect()
    }

    /// How many labels a classification head has, as `transformers` counts them: the named ones,
    /// else the key `num_labels`, else two for an architecture that classifies. `None` for a model
    /// without a head.
    pub fn num_labels(&self) -> Option<usize> {
        if !self.id2label.is_empty() {
            return Some(self.id2label.len());
        }
        let key = self.extra.get("num_labels").and_then(Value::as_u64);
        if let Some(n) = key.and_then(|n| usize::try_from(n).ok()) {
            return Some(n);
        }
        let classifies = |name: &String| name.contains("Classification");
        self.architectures.iter().any(classifies).then_some(2)
    }

    /// The labels, named as `LABEL_0`, `LABEL_1`, … where the file names none.
    ///
    /// # Errors
    /// [`Error::Config`] when two ids have one name.
    pub fn labels(&self) -> Result<Labels> {
        let names = match self.id2label.is_empty() {
            false => self.id2label.clone(),
            true => (0..self.num_labels().unwrap_or(0)).map(|i| format!("LABEL_{i}")).collect(),
        };
        Labels::from_names(names).map_err(|e| Error::config("", format!("id2label: {e}")))
    }

    /// Sets the labels, in the order of their ids.
    pub fn set_labels(&mut self, labels: &Labels) {
        self.id2label = labels.names().to_vec();
        self.extra.remove("num_labels");
    }
}

/// The code that a folder names in `auto_map`, unless it is the file that Gradus writes.
fn foreign_code(extra: &Map<String, Value>) -> Option<String> {
    let entries = match extra.get("auto_map")? {
        Value::Object(map) => map.values().cloned().collect(),
        Value::Array(list) => list.clone(),
        other => vec![other.clone()],
    };
    let names = entries.iter().filter_map(Value::as_str);
    names.into_iter().find(|name| !name.starts_with(interchange::MODULE)).map(str::to_string)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
