//! The settings of a generation, and the file that holds a model's own.

use std::path::Path;

use serde_json::{Map, Value};

use crate::folder::tables::GENERATION;
use crate::folder::{checked, json_object, values};
use crate::{EncoderConfig, Error, Result};

/// The file of a model's own settings.
pub(crate) const FILE: &str = "generation_config.json";

/// How a text is generated. The names and the meanings are those of `transformers`.
///
/// ```
/// use gradus_models::generation::GenerationConfig;
///
/// let settings = GenerationConfig { do_sample: true, temperature: 0.8, ..Default::default() };
/// settings.validate()?;
/// let error = GenerationConfig { top_p: 2.0, ..settings }.validate().unwrap_err().to_string();
/// assert!(error.contains("top_p is 2"), "{error}");
/// # Ok::<(), gradus_models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// The most new tokens.
    pub max_new_tokens: usize,
    /// The most tokens of the prompt and the new ones together, where the model says so.
    pub max_length: Option<usize>,
    /// Whether tokens are drawn; otherwise each is the most probable one.
    pub do_sample: bool,
    /// What logits are divided by before a token is drawn; above 0. Below 1 probable tokens become
    /// more probable.
    pub temperature: f64,
    /// Only so many of the most probable tokens are drawn; 0 for all.
    pub top_k: usize,
    /// Only the most probable tokens are drawn whose probabilities sum to this; 1 for all.
    pub top_p: f64,
    /// Logits of tokens that the text has already are divided by this if they are positive, and
    /// multiplied by it if they are negative (Keskar et al., arXiv:1909.05858).
    pub repetition_penalty: f64,
    /// The tokens that end a text.
    pub eos_token_id: Vec<u32>,
    /// The token that a text begins with where there is no prompt.
    pub bos_token_id: Option<u32>,
    /// What draws of tokens begin from: the same seed gives the same text.
    pub seed: u64,
}

impl Default for GenerationConfig {
    /// The most probable token each time; a draw, if it is turned on, is among 50, as in
    /// `transformers`.
    fn default() -> Self {
        GenerationConfig {
            max_new_tokens: 100,
            max_length: None,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            repetition_penalty: 1.0,
            eos_token_id: Vec::new(),
            bos_token_id: None,
            seed: 0,
        }
    }
}

impl GenerationConfig {
    /// The settings of a model folder, `generation_config.json`, with the special tokens of
    /// `config.json`; and notes for a person.
    ///
    /// # Errors
    /// [`Error::Config`] when the file is malformed, or sets what Gradus does not have.
    pub fn of_folder(folder: &Path, config: &EncoderConfig) -> Result<(Self, Vec<String>)> {
        let path = folder.join(FILE);
        let mut settings = GenerationConfig::default();
        settings
            .read_tokens(&config.extra)
            .map_err(|m| Error::config(folder.join("config.json"), m))?;
        let Some(object) = json_object(&path)? else { return Ok((settings, Vec::new())) };
        let notes = checked(&path, &object, &GENERATION)?;
        settings.read(&object).map_err(|message| Error::config(&path, message))?;
        settings.validate().map_err(|error| Error::config(&path, error.to_string()))?;
        Ok((settings, notes))
    }

    fn read(&mut self, object: &Map<String, Value>) -> Result<(), String> {
        self.read_tokens(object)?;
        self.max_length = values::positive(object, "max_length")?.or(self.max_length);
        if let Some(tokens) = values::positive(object, "max_new_tokens")? {
            self.max_new_tokens = tokens;
        }
        if let Some(on) = values::flag(object, "do_sample")? {
            self.do_sample = on;
        }
        if let Some(k) = object.get("top_k").filter(|k| !k.is_null()) {
            let whole = k.as_u64().and_then(|k| usize::try_from(k).ok());
            self.top_k = whole.ok_or(format!("top_k is {k}; it must be a whole number"))?;
        }
        for (key, value) in [
            ("temperature", &mut self.temperature),
            ("top_p", &mut self.top_p),
            ("repetition_penalty", &mut self.repetition_penalty),
        ] {
            if let Some(given) = object.get(key).filter(|given| !given.is_null()) {
                *value = given.as_f64().ok_or(format!("{key} is {given}; it must be a number"))?;
            }
        }
        Ok(())
    }

    /// The tokens that begin and end texts, where an object names them.
    fn read_tokens(&mut self, object: &Map<String, Value>) -> Result<(), String> {
        let id = |key: &str, value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or(format!("{key} is {value}; it must be the id of a token"))
        };
        match object.get("eos_token_id") {
            None | Some(Value::Null) => {}
            Some(Value::Array(ids)) => {
                let ids = ids.iter().map(|value| id("eos_token_id", value));
                self.eos_token_id = ids.collect::<Result<_, _>>()?;
            }
            Some(value) => self.eos_token_id = vec![id("eos_token_id", value)?],
        }
        if let Some(value) = object.get("bos_token_id").filter(|value| !value.is_null()) {
            self.bos_token_id = Some(id("bos_token_id", value)?);
        }
        Ok(())
    }

    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// [`Error::Input`] that names the field.
    pub fn validate(&self) -> Result<()> {
        let above_0 = |x: f64| x > 0.0 && x.is_finite();
        let problems = [
            (self.max_new_tokens == 0, "max_new_tokens is 0; it must be at least 1".to_string()),
            (
                !above_0(self.temperature),
                format!(
                    "temperature is {}; it must be above 0 (without do_sample each token is the \
                     most probable one)",
                    self.temperature
                ),
            ),
            (
                !(self.top_p > 0.0 && self.top_p <= 1.0),
                format!("top_p is {}; it must be above 0, and 1 at most", self.top_p),
            ),
            (
                !above_0(self.repetition_penalty),
                format!("repetition_penalty is {}; it must be above 0", self.repetition_penalty),
            ),
        ];
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, message)) => Err(Error::Input(message)),
            None => Ok(()),
        }
    }
}
