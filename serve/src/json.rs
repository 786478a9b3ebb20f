//! Reading JSON bodies field by field, with errors that name the place.

use serde_json::{Map, Value};

use crate::error::{Kind, Problem, Result};

/// Numbers, texts and lists of a body at most: each takes some 32 bytes, more than it takes in the body.
const MOST_VALUES: usize = 1 << 21;

/// Parses a body. More than 128 levels of nesting are refused, and more than [`MOST_VALUES`] values.
///
/// # Errors
/// When it is not JSON.
pub fn parse(body: &[u8]) -> Result<Value> {
    if body.is_empty() {
        return Err(Problem::invalid("the body is empty; send JSON"));
    }
    if body.len() > MOST_VALUES && commas(body) > MOST_VALUES {
        let message = format!("the body has more than {MOST_VALUES} values; send fewer at a time");
        return Err(Problem::new(Kind::TooLarge, message));
    }
    serde_json::from_slice(body).map_err(|e| Problem::invalid(unreadable(body, &e)))
}

/// How many commas stand outside of strings.
fn commas(body: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Why a body is not JSON. Half a surrogate pair, which JavaScript and Python write when a text is cut in the middle of a
/// character beyond U+FFFF, gets words of its own.
fn unreadable(body: &[u8], error: &serde_json::Error) -> String {
    let place = (error.line(), error.column());
    match half_character(body) {
        Some((escape, line, column))
            if line < place.0 || (line == place.0 && column <= place.1) =>
        {
            format!(
                "the body is not JSON: `{escape}` at line {line} column {column} is half of a surrogate pair, and no character; \
             was the text cut in the middle of one, as of an emoji?"
            )
        }
        _ => match std::str::from_utf8(body) {
            Ok(_) => format!("the body is not JSON: {error}"),
            Err(e) => format!("the body is not JSON: byte {} is not UTF-8", e.valid_up_to()),
        },
    }
}

/// The first escape of half a surrogate pair in a string, with the line and the column where it stands.
fn half_character(body: &[u8]) -> Option<(String, usize, usize)> {
    let escape = |at: usize| {
        let digits = body.get(at..)?.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut at, mut line, mut begin) = (0, 1, 0);
    while let Some(&byte) = body.get(at) {
        at += match (byte, escape(at), escape(at + 6)) {
            (_, Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (_, Some(half @ 0xd800..0xe000), _) => {
                return Some((format!("\\u{half:04x}"), line, at - begin + 1));
            }
            (b'\\', ..) => 2,
            (b'\n', ..) => {
                (line, begin) = (line + 1, at + 1);
                1
            }
            _ => 1,
        };
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_millions_of_values_is_refused_and_a_text_of_as_many_commas_is_not() {
        let many = format!("[{}1]", "1,".repeat(MOST_VALUES + 1));
        assert_eq!(parse(many.as_bytes()).unwrap_err().kind, Kind::TooLarge);
        let text = format!(r#"["{}\",", 1]"#, ",".repeat(MOST_VALUES + 1));
        assert_eq!(parse(text.as_bytes()).unwrap()[1], 1);
    }

    #[test]
    fn half_a_character_is_told_with_its_place() {
        for (body, escape, place) in [
            (r#"{"inputs": "a \ud83d b"}"#, r"`\ud83d`", "line 1 column 15"),
            (r#"{"inputs": "\ude00"}"#, r"`\ude00`", "line 1 column 13"),
            ("{\n  \"inputs\": [\"\\ud83d\\ude00 \\uD83D\"]}", r"`\ud83d`", "line 2 column 28"),
            (r#"["\ud83d\ud83d\ude00"]"#, r"`\ud83d`", "line 1 column 3"),
            (r#"["\ud83d"#, r"`\ud83d`", "line 1 column 3"),
        ] {
            let said = parse(body.as_bytes()).unwrap_err().message;
            assert!(
                said.contains("not JSON") && said.contains(escape) && said.contains(place),
                "{body}: {said}"
            );
        }
        // Whole pairs, escaped backslashes, and what is wrong before it.
        assert_eq!(parse(br#"["\ud83d\ude00"]"#).unwrap()[0], "😀");
        assert_eq!(parse(br#"["\\ud83d"]"#).unwrap()[0], r"\ud83d");
        let said = parse(br#"[nothing, "\ud83d"]"#).unwrap_err().message;
        assert!(!said.contains("surrogate"), "{said}");
    }
}
