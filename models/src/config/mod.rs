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

mod checks;
mod of_type;

use std::path::Path;

use gradus_nn::Activation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::data::Labels;
use crate::error::{Error, Result};
use crate::files;
use crate::folder::tables::CONFIG;
use crate::label_maps::{by_id, by_name};
use crate::own_keys;

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

/// A model, as `config.json` describes it: a BERT, or one of the ten other types that the encoder
/// can be (`model_type`).
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

    /// A GPT-2 of the size that [`preset`](EncoderConfig::preset) has under that name, with 1,024
    /// positions. `base` is the smallest of the published ones.
    ///
    /// # Errors
    /// [`Error::Input`] for any other name.
    pub fn gpt2_preset(name: &str, vocab_size: usize) -> Result<Self> {
        let Self { num_hidden_layers, hidden_size, num_attention_heads, .. } =
            Self::preset(name, vocab_size)?;
        let object = serde_json::json!({
            "model_type": "gpt2", "vocab_size": vocab_size, "n_embd": hidden_size,
            "n_layer": num_hidden_layers, "n_head": num_attention_heads, "bos_token_id": 0,
            "eos_token_id": 0,
        });
        Self::from_json(&object.to_string())
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

    /// Notes for a person about keys that Gradus does not know.
    pub fn notes(&self) -> Vec<String> {
        let notes = CONFIG.check(&self.extra).unwrap_or_default();
        notes.into_iter().map(|note| format!("config.json: Gradus {note}")).collect()
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

#[cfg(test)]
mod tests;
