//! Reading and writing whole files, with the path in every error; JSON without repeated keys.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Reads a file whole.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, e))
}

/// Writes `bytes` to `path` as a whole or not at all (see [`gradus_tensor::io::write_atomically`]):
/// a full disk leaves what was there.
///
/// # Errors
/// With the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(gradus_tensor::io::write_atomically(path, |file| file.write_all(bytes))?)
}

/// The hash of a file's bytes (XXH3, 128 bits, in hexadecimal digits).
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn hash(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let (mut hash, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, e))? {
            0 => return Ok(format!("{:032x}", hash.digest128())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Parses JSON. An object that has a key twice is refused: `serde_json` alone would take the last
/// value without a word.
///
/// ```
/// use gradus_models::files::parse_json;
/// use serde_json::Value;
///
/// assert_eq!(parse_json::<Value>(br#"{"lr": 0.5}"#).unwrap()["lr"], 0.5);
/// let error = parse_json::<Value>(br#"{"lr": 0.5, "lr": 5}"#).unwrap_err().to_string();
/// assert!(error.contains("the key `lr` stands twice"));
/// ```
///
/// # Errors
/// When the text is not JSON, has a key twice, or does not fit the type.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let Json(value) = serde_json::from_slice(bytes)?;
    serde_json::from_value(value)
}

/// A JSON value without repeated keys.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Json(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if map.contains_key(&key) {
                let message = format!("the key `{key}` stands twice in one object");
                return Err(serde::de::Error::custom(message));
            }
            let Json(value) = object.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replaces_and_leaves_nothing_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }

    #[test]
    fn json_is_that_of_serde_json_without_repeated_keys() {
        let text = r#" {"b": [1, -2, 0.5, 1e300, "x\n", null, true, {}], "a": {"b": {"b": 18446744073709551615}}} "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse_json::<Value>(text.as_bytes()).unwrap(), expected);
        let twice = |text: &str| parse_json::<Value>(text.as_bytes()).unwrap_err().to_string();
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"x": 1, "a": 2, "a": 3}}]"#] {
            let error = twice(text);
            assert!(error.contains("`a` stands twice") && error.contains("line 1"), "{error}");
        }
        for text in ["", "{", "[1,]", "{\"a\": 1} x", "nan"] {
            assert!(parse_json::<Value>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hash_is_that_of_all_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| {
            let path = dir.path().join("a");
            std::fs::write(&path, bytes).unwrap();
            hash(&path).unwrap()
        };
        let mut bytes = vec![7; (1 << 20) + 3];
        let before = of(&bytes);
        assert_eq!(of(&bytes), before);
        *bytes.last_mut().unwrap() = 8;
        assert_ne!(of(&bytes), before);
    }
}
