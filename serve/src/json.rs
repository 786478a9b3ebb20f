//! Reading JSON bodies field by field, with errors that name the place.

use serde_json::{Map, Value};

use crate::error::{Problem, Result};

/// Parses a body. More than 128 levels of nesting are refused.
///
/// # Errors
/// When it is not JSON.
pub fn parse(body: &[u8]) -> Result<Value> {
    if body.is_empty() {
        return Err(Problem::invalid("the body is empty; send JSON"));
    }
    serde_json::from_slice(body).map_err(|e| Problem::invalid(format!("the body is not JSON: {e}")))
}

/// An object whose fields are taken out one by one; `null` is as good as absent.
pub struct Fields {
    map: Map<String, Value>,
    place: String,
}

impl Fields {
    /// The object; `place` names it in errors (empty for the body).
    ///
    /// # Errors
    /// When it is none.
    pub fn of(value: Value, place: &str) -> Result<Fields> {
        match value {
            Value::Object(map) => Ok(Fields { map, place: place.to_string() }),
            other if place.is_empty() => {
                Err(Problem::invalid(format!("the body must be an object, not {}", kind(&other))))
            }
            other => Err(Problem::field(place, format!("must be an object, not {}", kind(&other)))),
        }
    }

    /// The path of a field.
    pub fn at(&self, key: &str) -> String {
        match self.place.is_empty() {
            true => key.to_string(),
            false => format!("{}.{key}", self.place),
        }
    }

    /// Takes a field.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&mut self, key: &str) -> Result<Value> {
        self.take(key).ok_or_else(|| Problem::field(&self.at(key), "is missing"))
    }

    /// Takes a string.
    ///
    /// # Errors
    /// When it is something else.
    pub fn string(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key).map(|value| string(value, &self.at(key))).transpose()
    }

    /// Takes a boolean.
    ///
    /// # Errors
    /// When it is something else.
    pub fn bool(&mut self, key: &str) -> Result<Option<bool>> {
        let at = self.at(key);
        self.take(key)
            .map(|value| value.as_bool().ok_or_else(|| expected(&at, "true or false", &value)))
            .transpose()
    }

    /// Takes a whole number, not negative.
    ///
    /// # Errors
    /// When it is something else.
    pub fn count(&mut self, key: &str) -> Result<Option<usize>> {
        let at = self.at(key);
        self.take(key)
            .map(|value| {
                let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
                number.ok_or_else(|| expected(&at, "a whole number, not negative", &value))
            })
            .transpose()
    }

    /// Takes an object, which may be absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&mut self, key: &str) -> Result<Fields> {
        let at = self.at(key);
        Fields::of(self.take(key).unwrap_or_else(|| Value::Object(Map::new())), &at)
    }

    /// The names of the fields that are left.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }
}

/// A string.
///
/// # Errors
/// When it is something else.
pub fn string(value: Value, at: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(expected(at, "a string", &other)),
    }
}

/// A list.
///
/// # Errors
/// When it is something else.
pub fn list(value: Value, at: &str) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(expected(at, "a list", &other)),
    }
}

/// Strings in a list.
///
/// # Errors
/// When it is something else.
pub fn strings(value: Value, at: &str) -> Result<Vec<String>> {
    let items = list(value, at)?.into_iter().enumerate();
    items.map(|(i, item)| string(item, &format!("{at}[{i}]"))).collect()
}

/// Token ids in a list.
///
/// # Errors
/// When it is something else.
pub fn ids(items: &[Value], at: &str) -> Result<Vec<u32>> {
    let id = |(i, item): (usize, &Value)| {
        let id = item.as_u64().and_then(|n| u32::try_from(n).ok());
        id.ok_or_else(|| expected(&format!("{at}[{i}]"), "a token id", item))
    };
    items.iter().enumerate().map(id).collect()
}

/// The error of a value of another kind than it should be.
pub fn expected(at: &str, what: &str, found: &Value) -> Problem {
    Problem::field(at, format!("must be {what}, not {}", kind(found)))
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}
