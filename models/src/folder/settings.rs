//! The settings of a sentence-transformers folder that a model keeps when it is trained.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Prompts, Sentence, Stage};
use crate::error::{Error, Result};
use crate::{Pooling, files};

/// From the tokens' states to a vector, and what goes before a text: what the files of
/// sentence-transformers say of a model without Dense layers.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceSettings {
    /// How the tokens become one vector: the vectors of all modes, end to end.
    pub pooling: Vec<Pooling>,
    /// Whether the tokens of a prompt are pooled too.
    pub include_prompt: bool,
    /// Whether the model scales vectors to length 1.
    pub normalize: bool,
    /// Where texts are cut, in tokens; `None` for the tokenizer's limit.
    pub max_length: Option<usize>,
    /// How many numbers of a vector are kept; `None` for all.
    pub truncate_dim: Option<usize>,
    /// Texts that go before an input.
    pub prompts: Prompts,
}

impl Default for SentenceSettings {
    /// The mean of the tokens, of length 1.
    fn default() -> Self {
        SentenceSettings {
            pooling: vec![Pooling::Mean],
            include_prompt: true,
            normalize: true,
            max_length: None,
            truncate_dim: None,
            prompts: Prompts::default(),
        }
    }
}

impl SentenceSettings {
    /// The settings of a folder.
    ///
    /// # Errors
    /// The module that has weights of its own.
    pub(crate) fn of(sentence: &Sentence) -> Result<Self, String> {
        let mut settings = SentenceSettings {
            normalize: !sentence.listed,
            max_length: sentence.max_length,
            truncate_dim: sentence.truncate_dim,
            prompts: sentence.prompts.clone(),
            ..SentenceSettings::default()
        };
        for stage in &sentence.stages {
            match stage {
                Stage::Pool { modes, include_prompt } => {
                    settings.pooling = modes.clone();
                    settings.include_prompt = *include_prompt;
                }
                Stage::Normalize => settings.normalize = true,
                Stage::Dense(_) => return Err("Dense".into()),
                Stage::LayerNorm { .. } => return Err("LayerNorm".into()),
            }
        }
        Ok(settings)
    }

    /// Numbers of a vector of a model whose states have `hidden`.
    pub fn width(&self, hidden: usize) -> usize {
        let all = hidden * self.pooling.len();
        self.truncate_dim.map_or(all, |dim| dim.min(all))
    }

    /// Writes the files of sentence-transformers into a model folder whose states have `hidden`
    /// numbers. `sentence-transformers` then loads it, from version 2 on (several poolings from
    /// version 5 on).
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, hidden: usize) -> Result<()> {
        let pooling = folder.join("1_Pooling");
        std::fs::create_dir_all(&pooling).map_err(|e| Error::io(&pooling, e))?;
        write(&pooling.join("config.json"), &self.pooling_config(hidden))?;
        let length = json!({"max_seq_length": self.max_length, "do_lower_case": false});
        write(&folder.join("sentence_bert_config.json"), &length)?;
        let mut model = json!({
            "model_type": "SentenceTransformer",
            "prompts": self.prompts.named,
            "default_prompt_name": self.prompts.default,
            "similarity_fn_name": "cosine",
        });
        if let Some(dim) = self.truncate_dim {
            model["truncate_dim"] = json!(dim);
        }
        write(&folder.join("config_sentence_transformers.json"), &model)?;
        // The list of the modules comes last: it makes the folder one of sentence-transformers.
        let all = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")];
        let used = if self.normalize { &all[..] } else { &all[..2] };
        let module = |(i, (path, kind)): (usize, &(&str, &str))| {
            let kind = format!("sentence_transformers.models.{kind}");
            json!({"idx": i, "name": i.to_string(), "path": path, "type": kind})
        };
        write(&folder.join("modules.json"), &used.iter().enumerate().map(module).collect())
    }

    /// Removes the files of sentence-transformers from a folder.
    pub(crate) fn remove(folder: &Path) -> Result<()> {
        let names = ["modules.json", "config_sentence_transformers.json"];
        for name in names.into_iter().chain(super::SENTENCE_CONFIGS) {
            match std::fs::remove_file(folder.join(name)) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(folder.join(name), e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pooling_config(&self, hidden: usize) -> Value {
        let mut config = Map::new();
        config.insert("word_embedding_dimension".into(), json!(hidden));
        config.insert("include_prompt".into(), json!(self.include_prompt));
        match self.pooling.as_slice() {
            // The form that every version reads.
            [only] => {
                for (key, mode) in super::sentence::OLDER {
                    config.insert(key.into(), json!(mode == *only));
                }
            }
            several => {
                let names = Pooling::ALL.iter();
                let name = |mode: &Pooling| names.clone().find(|(_, known)| known == mode);
                let names: Vec<&str> = several.iter().filter_map(name).map(|all| all.0).collect();
                config.insert("pooling_mode".into(), json!(names));
            }
        }
        Value::Object(config)
    }
}

fn write(path: &Path, value: &Value) -> Result<()> {
    let json = serde_json::to_vec_pretty(value);
    let json = json.map_err(|e| Error::config(path, format!("cannot be written: {e}")))?;
    files::write_atomic(path, &json)
}
