//! Sentence embeddings.

use std::borrow::Borrow;
use std::path::Path;

use gradus_nn::Forward;
use gradus_tensor::Tensor;
use serde_json::Value;

use super::runner::{Runner, json_file, runner_methods};
use crate::bert::normalize;
use crate::{Bert, Encoding, Error, Pooling, Result};

/// Texts to vectors.
pub struct TextEmbedder {
    runner: Runner,
    model: Bert,
    pooling: Pooling,
    normalize: bool,
}

impl TextEmbedder {
    /// Opens a model folder or a hub id; of a model with a head, the encoder alone is used.
    ///
    /// `pooling`: `mean` of the tokens, or `cls`, the last hidden state of the first token (without BERT's pooler, as
    /// sentence-transformers has it). When `None`, a sentence-transformers folder decides (`1_Pooling/config.json`),
    /// and otherwise it is the mean. A folder's `max_seq_length` is the maximum length. With `normalize`, every vector
    /// has length 1, so that the product of two is their cosine.
    ///
    /// # Errors
    /// When the model cannot be opened or lacks parameters (they are named); when the folder asks for a pooling or a
    /// further layer that Gradus does not have, unless `pooling` is given.
    pub fn open(model: &str, pooling: Option<Pooling>, normalize: bool) -> Result<Self> {
        let mut runner = Runner::open(model)?;
        let pooling = match pooling {
            Some(pooling) => pooling,
            None => folder_pooling(&runner.folder)?,
        };
        if let Some(length) = folder_length(&runner.folder)? {
            runner.set_max_length(length.min(runner.max_length()))?;
        }
        // Older encoders are saved bare, which the checkpoint knows; heads stand beside `bert`.
        let model = Bert::new(&runner.store().root().join("bert"), &runner.config, false)?;
        runner.complete(|_| false, "")?;
        Ok(TextEmbedder { runner, model, pooling, normalize })
    }

    /// How a text's tokens become one vector.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The vectors of the texts, f32 `[texts, hidden]`, in their order.
    ///
    /// # Errors
    /// When a text cannot be encoded, or an output is not a number (the weight to blame is named).
    pub fn embed<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Tensor> {
        let texts: Vec<(&str, Option<&str>)> = texts.iter().map(|t| (t.as_ref(), None)).collect();
        let rows = self.rows(&self.runner.encode(&texts)?, self.normalize)?;
        Ok(Tensor::from_slice(&rows.concat(), &[rows.len(), self.runner.config.hidden_size])?)
    }

    /// The pooled vectors of encoded texts, not normalised, each of `hidden` values.
    ///
    /// # Errors
    /// When an encoding does not fit the model, or an output is not a number (the weight to blame is named).
    pub fn pooled<E: Borrow<Encoding> + Sync>(&self, encodings: &[E]) -> Result<Vec<Vec<f32>>> {
        self.rows(encodings, false)
    }

    /// The last hidden states of encoded texts, before pooling: `tokens × hidden` values each, token by token.
    ///
    /// # Errors
    /// As [`TextEmbedder::pooled`].
    pub fn states<E: Borrow<Encoding> + Sync>(&self, encodings: &[E]) -> Result<Vec<Vec<f32>>> {
        let hidden = self.runner.config.hidden_size;
        self.runner.run(encodings, |input, packed, _| {
            let states = self.model.forward(input, &Forward::inference())?;
            let values = self.runner.numbers(states.tensor())?;
            Ok(packed
                .ranges()
                .map(|range| values[range.start * hidden..range.end * hidden].to_vec())
                .collect())
        })
    }

    fn rows<E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
        unit: bool,
    ) -> Result<Vec<Vec<f32>>> {
        let hidden = self.runner.config.hidden_size;
        self.runner.run(encodings, |input, _, _| {
            let states = self.model.forward(input, &Forward::inference())?;
            let mut pooled = self.model.pool(&states, input, self.pooling)?;
            if unit {
                pooled = normalize(&pooled)?;
            }
            let values = self.runner.numbers(pooled.tensor())?;
            Ok(values.chunks(hidden).map(<[f32]>::to_vec).collect())
        })
    }

    fn bert(&self) -> &Bert {
        &self.model
    }

    runner_methods!();
}

/// What a sentence-transformers folder says of pooling; the mean for any other folder.
fn folder_pooling(folder: &Path) -> Result<Pooling> {
    let unsupported = |path: &Path, what: &str| Error::Config {
        path: path.to_path_buf(),
        message: format!("{what}; pass a pooling (cls or mean) to embed without it"),
    };
    let modules = folder.join("modules.json");
    if let Some(Value::Array(list)) = json_file(&modules)? {
        let kinds = list.iter().filter_map(|module| module.get("type")?.as_str());
        let known = ["Transformer", "Pooling", "Normalize"];
        if let Some(other) = kinds.into_iter().find(|kind| !known.iter().any(|k| kind.ends_with(k)))
        {
            let what = format!("the model has a module `{other}`, which Gradus does not have");
            return Err(unsupported(&modules, &what));
        }
    }
    let path = folder.join("1_Pooling").join("config.json");
    let Some(config) = json_file(&path)? else { return Ok(Pooling::Mean) };
    // One key a mode, or (newer) one key with the mode's name.
    let mode = |name: &str| config.get(format!("pooling_mode_{name}")) == Some(&Value::Bool(true));
    let named = config.get("pooling_mode").and_then(Value::as_str);
    let others = ["max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
    match (mode("cls_token"), mode("mean_tokens"), named) {
        _ if others.iter().any(|name| mode(name)) => {
            Err(unsupported(&path, "Gradus pools by cls or mean only"))
        }
        (true, false, None) | (false, false, Some("cls")) => Ok(Pooling::Cls),
        (false, true, None) | (false, false, Some("mean") | None) => Ok(Pooling::Mean),
        _ => Err(unsupported(&path, "Gradus pools by one of cls and mean only")),
    }
}

/// The length at which a sentence-transformers folder cuts.
fn folder_length(folder: &Path) -> Result<Option<usize>> {
    let config = json_file(&folder.join("sentence_bert_config.json"))?;
    let length = config.as_ref().and_then(|c| c.get("max_seq_length")?.as_u64());
    Ok(length.filter(|&n| n > 0).and_then(|n| usize::try_from(n).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooling(config: Option<&str>, modules: Option<&str>) -> Result<Pooling> {
        let dir = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
            std::fs::write(dir.path().join("1_Pooling/config.json"), config).unwrap();
        }
        if let Some(modules) = modules {
            std::fs::write(dir.path().join("modules.json"), modules).unwrap();
        }
        folder_pooling(dir.path())
    }

    #[test]
    fn a_sentence_transformers_folder_decides() {
        use Pooling::{Cls, Mean};
        for (config, expected) in [
            (None, Mean),
            (Some("{}"), Mean),
            (Some(r#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#), Mean),
            (Some(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#), Cls),
            (Some(r#"{"pooling_mode": "cls"}"#), Cls),
            (Some(r#"{"pooling_mode": "mean"}"#), Mean),
        ] {
            assert_eq!(pooling(config, None).unwrap(), expected, "{config:?}");
        }
        for config in [
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
            r#"{"pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode": "lasttoken"}"#,
            "{",
        ] {
            let error = pooling(Some(config), None).unwrap_err().to_string();
            assert!(error.contains("1_Pooling"), "{error}");
        }
    }

    #[test]
    fn an_unknown_module_is_refused() {
        let usual = r#"[{"type": "sentence_transformers.models.Transformer"},
                        {"type": "sentence_transformers.models.Normalize"}]"#;
        assert_eq!(pooling(None, Some(usual)).unwrap(), Pooling::Mean);
        let dense = r#"[{"type": "sentence_transformers.models.Dense"}]"#;
        let error = pooling(None, Some(dense)).unwrap_err().to_string();
        assert!(error.contains("models.Dense"), "{error}");
    }
}
