//! Prompts: texts that sentence-transformers puts before an input.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::values::{object, text};

/// The prompts of a sentence-transformers folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompts {
    /// By name. A folder of sentence-transformers always has `query` and `document`; they are empty
    /// unless it defines them.
    pub named: BTreeMap<String, String>,
    /// The name of the prompt for inputs that name none.
    pub default: Option<String>,
}

impl Prompts {
    /// Reads the prompts of a `config_sentence_transformers.json`.
    pub(super) fn read(config: &Map<String, Value>) -> Result<Prompts, String> {
        let mut named: BTreeMap<String, String> =
            ["query", "document"].map(|name| (name.to_string(), String::new())).into();
        if let Some(prompts) = object(config, "prompts")? {
            for name in prompts.keys() {
                let prompt = text(prompts, name).map_err(|e| format!("prompts: {e}"))?;
                named.insert(name.clone(), prompt.unwrap_or_default().to_string());
            }
        }
        let default = text(config, "default_prompt_name")?.map(str::to_string);
        if let Some(name) = default.as_ref().filter(|name| !named.contains_key(*name)) {
            return Err(format!(
                "default_prompt_name is `{name}`, but the model has no prompt of this name"
            ));
        }
        Ok(Prompts { named, default })
    }

    /// The prompts before queries and before documents: those of these names where the folder
    /// defines one, else its default prompt before both.
    pub fn of_queries_and_documents(&self) -> (&str, &str) {
        let named = |name: &str| self.named.get(name).map_or("", String::as_str);
        match (named("query"), named("document")) {
            ("", "") => (self.of_texts(), self.of_texts()),
            both => both,
        }
    }

    /// The default prompt; empty where there is none.
    pub fn of_texts(&self) -> &str {
        let name = self.default.as_deref().unwrap_or_default();
        self.named.get(name).map_or("", String::as_str)
    }

    /// The prompt of this name; without a name the default prompt, if there is one.
    ///
    /// # Errors
    /// When there is no such prompt; the message lists the prompts of the model.
    pub fn get(&self, name: Option<&str>) -> Result<Option<&str>, String> {
        let Some(name) = name.or(self.default.as_deref()) else { return Ok(None) };
        match self.named.get(name) {
            Some(prompt) => Ok(Some(prompt)),
            None => {
                let known: Vec<&str> = self.named.keys().map(String::as_str).collect();
                let known = match known.is_empty() {
                    true => "it has none".to_string(),
                    false => format!("it has {}", known.join(", ")),
                };
                Err(format!("the model has no prompt `{name}`: {known}"))
            }
        }
    }
}
