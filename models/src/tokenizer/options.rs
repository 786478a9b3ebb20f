//! The settings of a tokenizer: `tokenizer_config.json`, `special_tokens_map.json`,
//! `added_tokens.json`, by the rules of `transformers` 5.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::class::check_class;
use crate::error::{Error, Result};
use crate::folder::tables::TOKENIZER;
use crate::folder::{checked, json_object, values};

/// The settings of a tokenizer.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `tokenizer_config.json`; keys of `special_tokens_map.json` replace its keys.
    pub map: Map<String, Value>,
    /// Tokens that are added to the vocabulary, in the form of `tokenizer.json`.
    pub added: BTreeMap<u32, Value>,
    /// Special tokens that are named without an id.
    pub named: Vec<Value>,
    pub notes: Vec<String>,
    /// `model_type` of config.json.
    pub model_type: Option<String>,
}

/// The keys that name a special token.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The keys with special tokens that have no name of their own.
const LISTS: [&str; 3] =
    ["additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"];

/// The keys that say yes or no.
const FLAGS: [&str; 6] = [
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "split_special_tokens",
    "add_prefix_space",
    "trim_offsets",
];

impl Options {
    /// Reads the files of a folder; each may be missing.
    ///
    /// # Errors
    /// When one is malformed, or asks for something that Gradus does not have.
    pub fn read(dir: &Path) -> Result<Options> {
        let path = dir.join("tokenizer_config.json");
        let mut options = Options::default();
        if let Some(map) = object(&path)? {
            options.map = map;
        }
        let config = json_object(&dir.join("config.json")).ok().flatten().unwrap_or_default();
        let of_config = |key: &str| config.get(key).filter(|value| value.is_string());
        if !options.map.contains_key("tokenizer_class")
            && let Some(class) = of_config("tokenizer_class")
        {
            options.map.insert("tokenizer_class".into(), class.clone());
        }
        options.model_type = of_config("model_type").and_then(Value::as_str).map(str::to_string);
        // The class is checked first: its error says more than one about its settings.
        values::text(&options.map, "tokenizer_class").map_err(|m| Error::tokenizer(&path, m))?;
        check_class(&options, dir.join("tokenizer.json").is_file(), &path)?;
        options.notes = checked(&path, &options.map, &TOKENIZER).map_err(as_tokenizer)?;
        // `transformers` reads the older files only where the newer key is missing.
        if let Some(decoder) = options.map.get("added_tokens_decoder").filter(|d| !d.is_null()) {
            options.added = decoder_tokens(decoder).map_err(|m| Error::tokenizer(&path, m))?;
        } else {
            options.read_older(dir)?;
        }
        options.check_kinds().map_err(|m| Error::tokenizer(&path, m))?;
        options.read_named().map_err(|m| Error::tokenizer(&path, m))?;
        Ok(options)
    }

    /// Refuses values of another kind, and lengths that are none.
    fn check_kinds(&self) -> std::result::Result<(), String> {
        for key in FLAGS {
            values::flag(&self.map, key)?;
        }
        for key in ["model_max_length", "max_len"] {
            let value = self.map.get(key).filter(|value| !value.is_null());
            if let Some(value) = value.filter(|value| !value.as_f64().is_some_and(|n| n >= 1.0)) {
                return Err(format!("{key} is {value}; it must be a number of tokens, 1 or more"));
            }
        }
        if let Some(value) = self.map.get("model_input_names").filter(|value| !value.is_null())
            && !value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
        {
            return Err(format!("model_input_names is {value}; it must be a list of texts"));
        }
        for key in LISTS {
            let value = self.map.get(key).filter(|value| !value.is_null());
            if let Some(value) = value.filter(|value| !value.is_array() && !value.is_object()) {
                return Err(format!("{key} is {value}; it must be a list of tokens"));
            }
        }
        Ok(())
    }

    /// `special_tokens_map.json` and `added_tokens.json`.
    fn read_older(&mut self, dir: &Path) -> Result<()> {
        let path = dir.join("special_tokens_map.json");
        if let Some(special) = object(&path)? {
            self.notes.extend(checked(&path, &special, &TOKENIZER).map_err(as_tokenizer)?);
            self.map.extend(special);
        }
        let path = dir.join("added_tokens.json");
        for (content, id) in object(&path)?.unwrap_or_default() {
            let fail = || {
                Error::tokenizer(
                    &path,
                    format!("`{content}` has the id {id}; it must be a whole number"),
                )
            };
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(fail)?;
            let special = self.special_names().contains(&content);
            self.added.insert(id, token(id, &content, special, &Map::new()));
        }
        Ok(())
    }

    /// All names of special tokens.
    fn special_names(&self) -> Vec<String> {
        let named = NAMES.iter().filter_map(|key| self.map.get(*key));
        named.chain(self.extra()).filter_map(content).map(str::to_string).collect()
    }

    /// The special tokens without a key of their own.
    fn extra(&self) -> impl Iterator<Item = &Value> {
        LISTS.into_iter().filter_map(|key| self.map.get(key)).flat_map(|value| match value {
            Value::Array(list) => list.iter().collect::<Vec<_>>(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        })
    }

    /// Special tokens that the added ones do not have yet.
    fn read_named(&mut self) -> std::result::Result<(), String> {
        let mut named: Vec<Value> = Vec::new();
        for value in NAMES.iter().filter_map(|key| self.map.get(*key)).chain(self.extra()) {
            if value.is_null() {
                continue;
            }
            let Some(name) = content(value) else {
                return Err(format!(
                    "a special token is {value}; it must be a text, or an object with its `content`"
                ));
            };
            let known = |token: &Value| content(token) == Some(name);
            if !self.added.values().any(known) && !named.iter().any(known) {
                let flags = value.as_object().cloned().unwrap_or_default();
                named.push(token(0, name, true, &flags));
            }
        }
        self.named = named;
        Ok(())
    }

    /// The name of a special token: that of the files, or the default.
    pub fn special(&self, key: &str, default: &str) -> String {
        self.map.get(key).and_then(content).unwrap_or(default).to_string()
    }

    /// Whether a special token is described by an object, which says whether it takes the space
    /// before it.
    pub fn is_described(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_object)
    }

    /// The class of the tokenizer, without `Fast`; `None` where nothing names it.
    pub fn class(&self) -> Option<&str> {
        let class = self.map.get("tokenizer_class")?.as_str()?;
        Some(class.strip_suffix("Fast").unwrap_or(class))
    }

    /// A yes or no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.map.get(key)?.as_bool()
    }

    /// The maximum of an input's tokens. `transformers` writes a very large number for no limit.
    pub fn max_length(&self) -> Option<usize> {
        let value = self.map.get("model_max_length").or_else(|| self.map.get("max_len"))?;
        let number = value.as_f64().filter(|n| (1.0..4_294_967_296.0).contains(n))?;
        Some(number as usize)
    }

    /// Whether a long text is cut at its beginning.
    ///
    /// # Errors
    /// When it is neither `left` nor `right`.
    pub fn cuts_left(&self) -> std::result::Result<Option<bool>, String> {
        match self.map.get("truncation_side") {
            None | Some(Value::Null) => Ok(None),
            Some(side) => match side.as_str() {
                Some("left") => Ok(Some(true)),
                Some("right") => Ok(Some(false)),
                _ => Err(format!("truncation_side is {side}; it must be `left` or `right`")),
            },
        }
    }

    /// Whether the model sees token types; otherwise all are 0.
    pub fn has_types(&self) -> bool {
        match self.map.get("model_input_names") {
            Some(Value::Array(names)) => names.iter().any(|name| name == "token_type_ids"),
            _ => true,
        }
    }
}

/// A JSON object of the tokenizer's; `None` where there is no such file.
fn object(path: &Path) -> Result<Option<Map<String, Value>>> {
    json_object(path).map_err(as_tokenizer)
}

/// The same error, as one of the tokenizer.
fn as_tokenizer(error: Error) -> Error {
    match error {
        Error::Config { path, message } => Error::Tokenizer { path, message },
        other => other,
    }
}

/// How a token is spelt: a string, or an object with its `content`.
pub(crate) fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// An added token as `tokenizer.json` writes it.
fn token(id: u32, content: &str, special: bool, flags: &Map<String, Value>) -> Value {
    let flag =
        |key: &str, default: bool| flags.get(key).and_then(Value::as_bool).unwrap_or(default);
    json!({
        "id": id, "content": content, "special": special,
        "single_word": flag("single_word", false), "lstrip": flag("lstrip", false), "rstrip": flag("rstrip", false),
        "normalized": flag("normalized", !special),
    })
}

/// `added_tokens_decoder`: tokens by their ids.
fn decoder_tokens(decoder: &Value) -> std::result::Result<BTreeMap<u32, Value>, String> {
    let Value::Object(map) = decoder else {
        return Err("added_tokens_decoder is not a JSON object".into());
    };
    map.iter()
        .map(|(id, value)| {
            let number: u32 =
                id.parse().map_err(|_| format!("added_tokens_decoder: `{id}` is not an id"))?;
            let name = content(value)
                .ok_or_else(|| format!("added_tokens_decoder: the token {id} has no `content`"))?;
            let flags = value.as_object().cloned().unwrap_or_default();
            let special = flags.get("special").and_then(Value::as_bool).unwrap_or(false);
            Ok((number, token(number, name, special, &flags)))
        })
        .collect()
}
