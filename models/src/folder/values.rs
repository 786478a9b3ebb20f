//! Values of a JSON object by their kind. A value of another kind is refused by the name of its
//! key, because ignoring it would take the default without a word. Null counts as no key.

use serde_json::{Map, Value};

/// Yes or no.
///
/// # Errors
/// Like all functions below: a value of another kind; the message names the key and its value.
pub(crate) fn flag(map: &Map<String, Value>, key: &str) -> Result<Option<bool>, String> {
    read(map, key, Value::as_bool, "true or false")
}

/// A text.
pub(crate) fn text<'m>(map: &'m Map<String, Value>, key: &str) -> Result<Option<&'m str>, String> {
    read(map, key, Value::as_str, "a text")
}

/// An object.
pub(crate) fn object<'m>(
    map: &'m Map<String, Value>,
    key: &str,
) -> Result<Option<&'m Map<String, Value>>, String> {
    read(map, key, Value::as_object, "an object")
}

/// A whole number above 0.
pub(crate) fn positive(map: &Map<String, Value>, key: &str) -> Result<Option<usize>, String> {
    let whole = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    read(map, key, |value| whole(value).filter(|&n| n > 0), "a whole number above 0")
}

fn read<'m, T>(
    map: &'m Map<String, Value>,
    key: &str,
    of: impl FnOnce(&'m Value) -> Option<T>,
    kind: &str,
) -> Result<Option<T>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match of(value) {
            Some(found) => Ok(Some(found)),
            None => Err(format!("{key} is {value}; it must be {kind}")),
        },
    }
}
