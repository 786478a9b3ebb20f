//! The keys of config.json that another model type than BERT has under another name, or not at all.

use serde_json::{Map, Value, json};

use crate::EncoderConfig;
use crate::family::{Family, KeyValue, unsupported};

/// The model type that an object names; BERT where it names none.
///
/// # Errors
/// The message for a type that is not supported.
pub(crate) fn family(object: &Map<String, Value>) -> Result<&'static Family, String> {
    match object.get("model_type") {
        None => Ok(&crate::family::BERT),
        Some(Value::String(name)) => Family::of(name).ok_or_else(|| unsupported(name)),
        Some(other) => Err(format!("model_type is {other}; it must be a string")),
    }
}

fn value(of: KeyValue) -> Value {
    match of {
        KeyValue::Int(n) => json!(n),
        KeyValue::Float(x) => json!(x),
        KeyValue::Text(text) => json!(text),
        KeyValue::Null => Value::Null,
    }
}

/// Gives the keys of a file BERT's names, and the type's defaults.
pub(crate) fn read(family: &Family, object: &mut Map<String, Value>) {
    for (name, own) in family.keys {
        if let Some(value) = object.remove(*own) {
            object.insert((*name).into(), value);
        }
    }
    for (name, default) in family.defaults {
        object.entry(*name).or_insert(value(*default));
    }
    for (name, fixed) in family.fixed {
        object.insert((*name).into(), value(*fixed));
    }
    (family.complete)(object);
    // `transformers` ignores the key in the file of another type.
    if !family.factorized {
        object.remove("embedding_size");
    }
}

/// The text of an error with the type's own names of keys.
pub(crate) fn named(family: &Family, text: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let own = |word: &str| {
        let name = word.trim_end_matches(|c| !is_part(c));
        let found = family.keys.iter().find(|(key, _)| *key == name);
        found.map_or(word.to_string(), |(_, own)| format!("{own}{}", &word[name.len()..]))
    };
    text.split_inclusive(|c| !is_part(c)).map(own).collect()
}

/// The text of a file, with the type's own names.
pub(crate) fn write(config: &EncoderConfig) -> serde_json::Result<String> {
    let family = config.family();
    if family.keys.is_empty() && family.fixed.is_empty() {
        return serde_json::to_string_pretty(config);
    }
    let Value::Object(mut object) = serde_json::to_value(config)? else {
        return serde_json::to_string_pretty(config);
    };
    for (name, _) in family.fixed {
        object.remove(*name);
    }
    object.remove("position_embedding_type");
    for (name, own) in family.keys {
        if let Some(value) = object.remove(*name) {
            object.insert((*own).into(), value);
        }
    }
    serde_json::to_string_pretty(&object)
}
