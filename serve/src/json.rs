//! Reading JSON bodies field by field, with errors that name the place.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Kind, Problem, Result};

/// Most numbers, texts and lists of a body: each takes some 32 bytes of memory, which is more than
/// it takes in the body.
const MAX_VALUES: usize = 1 << 21;

/// Parses a body. It refuses more than 128 levels of nesting, more than `MAX_VALUES` values, and an
/// object that has a field twice: some servers take the first one, some the last.
///
/// # Errors
/// When the body is not JSON, or is refused.
pub fn parse(body: &[u8]) -> Result<Value> {
    if body.is_empty() {
        return Err(Problem::invalid("the body is empty; send JSON"));
    }
    // Some editors write a byte order mark before the text.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let met = Met::default();
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = Reader(&met).deserialize(&mut text);
    let read = read.and_then(|value| text.end().map(|()| value));
    read.map_err(|e| met.wrong.take().unwrap_or_else(|| Problem::invalid(not_json(body, &e))))
}

/// What the reader has met in a body.
#[derive(Default)]
struct Met {
    values: Cell<usize>,
    /// Why the body is refused although it is JSON.
    wrong: Cell<Option<Problem>>,
}

impl Met {
    fn refuse<E: Error>(&self, problem: Problem) -> E {
        let error = E::custom(&problem.message);
        self.wrong.set(Some(problem));
        error
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Met);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Value, D::Error> {
        self.0.values.set(self.0.values.get() + 1);
        if self.0.values.get() > MAX_VALUES {
            let message =
                format!("the body has more than {MAX_VALUES} values; send fewer at a time");
            return Err(self.0.refuse(Problem::new(Kind::TooLarge, message)));
        }
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                let name: String = name.chars().take(64).collect();
                return Err(self.0.refuse(Problem::field(&name, "stands twice; send it once")));
            }
            let value = fields.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Why a body is not JSON, with advice about the common mistakes.
fn not_json(body: &[u8], error: &serde_json::Error) -> String {
    let advice = match error.to_string() {
        _ if body.starts_with(b"\xff\xfe")
            || body.get(1) == Some(&0)
            || body.first() == Some(&0) =>
        {
            "; it looks like UTF-16: send UTF-8"
        }
        said if said.starts_with("lone leading surrogate")
            || said.starts_with("unexpected end of hex escape") =>
        {
            "; an escape such as \\ud800 is half of a UTF-16 pair and not a character: send both \
             halves, or \\ufffd"
        }
        said if said.starts_with("invalid unicode code point") => "; a text there is not UTF-8",
        said if said.starts_with("key must be a string") => {
            "; names and texts stand in double quotes"
        }
        _ => match rest(body, error) {
            [b'N' | b'I', ..] | [b'-', b'I', ..] => "; JSON has no NaN and no Infinity",
            [b'\'', ..] => "; names and texts stand in double quotes",
            [b'T' | b'F', ..] => "; write true and false",
            _ => "",
        },
    };
    format!("the body is not JSON: {error}{advice}")
}

/// The body from the place of an error.
fn rest<'a>(body: &'a [u8], error: &serde_json::Error) -> &'a [u8] {
    let line = body.split(|&byte| byte == b'\n').nth(error.line().saturating_sub(1));
    line.and_then(|line| line.get(error.column().saturating_sub(1)..)).unwrap_or_default()
}

/// An object whose fields are taken out one by one; `null` is as good as absent.
#[derive(Default)]
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

    /// Adds a field, unless there is one with this name.
    pub fn put(&mut self, key: &str, value: Value) {
        if !self.has(key) {
            self.map.insert(key.to_string(), value);
        }
    }

    /// Whether a field is there.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// Refuses fields that the protocol knows and this server cannot obey. The message is the
    /// field's name and `why`. A value that asks for nothing (`null`, `false`, 0, or empty) is
    /// fine.
    ///
    /// # Errors
    /// When one of them asks for something.
    pub fn refuse(&mut self, keys: &[&str], why: &str) -> Result<()> {
        match keys.iter().find(|key| self.take(key).is_some_and(|value| asks(&value))) {
            Some(key) => Err(Problem::field(&self.at(key), why)),
            None => Ok(()),
        }
    }

    /// Refuses the fields that nobody took, where the protocol's own server does. `known` has the
    /// fields that there are.
    ///
    /// # Errors
    /// When a field is left.
    pub fn end(self, known: &[&str]) -> Result<()> {
        let left = self.map.iter().find(|(_, value)| !value.is_null());
        let Some((key, _)) = left else { return Ok(()) };
        let key: String = key.chars().take(64).collect();
        let message = format!("is not a field here; the fields are {}", known.join(", "));
        Err(Problem::field(&self.at(&key), message))
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

/// The error of a value of the wrong kind.
pub fn expected(at: &str, what: &str, found: &Value) -> Problem {
    Problem::field(at, format!("must be {what}, not {}", kind(found)))
}

/// Whether the value of an option asks for something.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
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
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES + 1));
        assert_eq!(parse(many.as_bytes()).unwrap_err().kind, Kind::TooLarge);
        let text = format!(r#"["{}\",", 1]"#, ",".repeat(MAX_VALUES + 1));
        assert_eq!(parse(text.as_bytes()).unwrap()[1], 1);
    }

    #[test]
    fn a_field_that_stands_twice_is_refused_wherever_it_is() {
        for body in [
            r#"{"a": 1, "b": 2, "a": 1}"#,
            r#"{"b": [{"c": {"a": null, "a": null}}]}"#,
            r#"{"a": 1, "\u0061": 2}"#,
        ] {
            let problem = parse(body.as_bytes()).unwrap_err();
            assert_eq!(problem.message, "`a` stands twice; send it once");
            assert_eq!((problem.kind, problem.param.as_deref()), (Kind::Invalid, Some("a")));
        }
        let whole = r#"[{"a": 1, "A": -2}, {"a": 1.5}, true, null, "a\n", [[]]]"#;
        let plain: Value = serde_json::from_str(whole).unwrap();
        assert_eq!(parse(whole.as_bytes()).unwrap(), plain);
        assert!(parse(b"{} {}").unwrap_err().message.contains("trailing characters"));
    }

    #[track_caller]
    fn said(body: &[u8], part: &str) {
        let message = parse(body).unwrap_err().message;
        assert!(message.starts_with("the body is not JSON") && message.contains(part), "{message}");
    }

    #[test]
    fn mistakes_are_told() {
        said(br#"{"inputs": "a \ud83d b"}"#, "half of a UTF-16 pair");
        said(br#"{"inputs": "a \ud83d\n b"}"#, "half of a UTF-16 pair");
        said(br#"{"inputs": "\udc80"}"#, "half of a UTF-16 pair");
        said(b"{\"inputs\": \"\xe9t\xe9\"}", "not UTF-8");
        said(b"{\0\"\0a\0\"\0", "UTF-16");
        said(b"\xff\xfe{\0", "UTF-16");
        said(b"{'inputs': 'a'}", "double quotes");
        said(b"{\"inputs\": 'a'}", "double quotes");
        said(b"{\"a\":\n NaN}", "no NaN and no Infinity");
        said(b"{\"a\": -Infinity}", "no NaN and no Infinity");
        said(b"{\"a\": True}", "true and false");
    }

    #[test]
    fn pairs_of_surrogates_and_a_byte_order_mark_are_read() {
        let value = parse(b"\xef\xbb\xbf{\"a\": \"\\ud83d\\ude00\"}").unwrap();
        assert_eq!(value["a"], "\u{1f600}");
    }

    #[test]
    fn options_that_ask_for_nothing_are_obeyed() {
        let fields = |text: &str| Fields::of(parse(text.as_bytes()).unwrap(), "").unwrap();
        for nothing in ["null", "false", "0", "\"\"", "[]", "{}"] {
            let body = format!("{{\"late\": {nothing}}}");
            assert!(fields(&body).refuse(&["late"], "is refused").is_ok(), "{nothing}");
        }
        for something in ["true", "1", "-1", "\"a\"", "[0]", "{\"a\": 0}"] {
            let problem = fields(&format!("{{\"late\": {something}}}"));
            let problem = { problem }.refuse(&["early", "late"], "is refused").unwrap_err();
            assert_eq!(problem.message, "`late` is refused", "{something}");
        }
        let left = fields(r#"{"a": null, "b": 1}"#).end(&["c"]).unwrap_err();
        assert_eq!(left.message, "`b` is not a field here; the fields are c");
        assert_eq!(left.param.as_deref(), Some("b"));
    }
}
