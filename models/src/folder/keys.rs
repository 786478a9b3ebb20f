//! Every key that `transformers` and sentence-transformers write into a model folder, and what
//! Gradus does with it.
//!
//! The rule: a setting that changes numbers is obeyed or refused by name. A key in no table may be
//! such a setting, so a note tells of it. `book/src/folders.md` is made of these tables.

use serde_json::{Map, Value};

/// What Gradus does with a key.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// The code that reads the file follows it.
    Obeyed,
    /// It changes no number that Gradus computes.
    Harmless,
    /// Any other value than these (JSON) is refused; null counts as no key.
    Only(&'static [&'static str]),
}

/// A key, or several that are alike, and a remark for people.
pub(crate) struct Key {
    pub names: &'static [&'static str],
    pub rule: Rule,
    pub remark: &'static str,
}

/// The keys of one file.
pub(crate) struct Table {
    #[cfg_attr(not(test), allow(dead_code))] // a heading of the book
    pub file: &'static str,
    pub keys: &'static [Key],
}

impl Table {
    /// Checks the keys of an object, and returns notes about unknown keys.
    ///
    /// # Errors
    /// For the first key that is refused; the message names the key and its value.
    pub fn check(&self, object: &Map<String, Value>) -> Result<Vec<String>, String> {
        let mut unknown = Vec::new();
        for (name, value) in object {
            let key = self.keys.iter().find(|key| key.names.contains(&name.as_str()));
            match key.map(|key| (key.rule, key.remark)) {
                Some((Rule::Only(values), remark)) if !is_one_of(value, values) => {
                    return Err(format!("{name} is {}: {remark}", shortened(value)));
                }
                Some(_) => {}
                None if is_off(value) => {}
                None => unknown.push(format!("`{name}`")),
            }
        }
        Ok(match unknown.as_slice() {
            [] => Vec::new(),
            [one] => {
                vec![format!("does not know {one}; if it changes the model, the numbers differ")]
            }
            _ => vec![format!(
                "does not know {}; if they change the model, the numbers differ",
                unknown.join(", ")
            )],
        })
    }
}

fn is_one_of(value: &Value, values: &[&str]) -> bool {
    value.is_null()
        || values.iter().any(|v| serde_json::from_str(v).is_ok_and(|v: Value| v == *value))
}

/// Whether a value switches its key's feature off.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A value for a message.
fn shortened(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    };
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::json;

    use super::Rule::{Harmless, Obeyed, Only};
    use super::*;
    use crate::folder::tables::{CONFIG, FILES, TABLES};

    fn check(table: &Table, object: Value) -> Result<Vec<String>, String> {
        table.check(object.as_object().unwrap())
    }

    #[test]
    fn a_refused_value_is_named_and_an_unknown_key_told() {
        let refused = check(&CONFIG, json!({"hidden_size": 8, "is_decoder": true})).unwrap_err();
        assert_eq!(refused, "is_decoder is true: Gradus builds encoders only");
        assert!(
            check(&CONFIG, json!({"pruned_heads": {"0": [1]}}))
                .unwrap_err()
                .contains("pruned_heads")
        );
        for fine in
            [json!({"is_decoder": false}), json!({"is_decoder": null}), json!({"pruned_heads": {}})]
        {
            assert_eq!(check(&CONFIG, fine).unwrap(), [""; 0]);
        }
        let told = check(&CONFIG, json!({"alibi_starting_size": 512, "rotary": true})).unwrap();
        assert!(told[0].contains("`alibi_starting_size`, `rotary`"), "{told:?}");
        // A feature that is off changes nothing.
        assert_eq!(check(&CONFIG, json!({"alibi": false, "x": null, "y": []})).unwrap(), [""; 0]);
    }

    /// A key with a list of allowed values takes these and null, and no others.
    #[test]
    fn every_limited_key_refuses_other_values_by_name() {
        let mut count = 0;
        for table in TABLES {
            for key in table.keys {
                let Only(values) = key.rule else { continue };
                for &name in key.names {
                    let of = |value: Value| check(table, json!({ name: value }));
                    let known = values.iter().map(|v| serde_json::from_str(v).unwrap());
                    for value in known.chain([Value::Null]) {
                        assert!(of(value).is_ok(), "{}: {name}", table.file);
                    }
                    for other in [json!("another"), json!(7), json!({"a": 1}), json!([1])] {
                        let error = of(other).unwrap_err();
                        assert!(error.starts_with(name) && error.contains(key.remark), "{error}");
                    }
                    count += 1;
                }
            }
        }
        assert!(count > 20);
    }

    #[test]
    fn a_long_value_is_shortened() {
        let error =
            check(&CONFIG, json!({"position_embedding_type": "x".repeat(500)})).unwrap_err();
        assert!(error.len() < 200, "{error}");
    }

    #[test]
    fn no_key_stands_in_a_table_twice() {
        for table in TABLES {
            let mut names: Vec<&str> =
                table.keys.iter().flat_map(|key| key.names).copied().collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", table.file);
        }
    }

    /// The book's table is this one. `GRADUS_BLESS=1` renews it.
    #[test]
    fn the_book_has_every_key() {
        let mut page = String::from(include_str!("folders_head.md"));
        page.push_str("\n## Files\n\n| file | | |\n| --- | --- | --- |\n");
        for (file, what, remark) in FILES {
            writeln!(page, "| {file} | {what} | {remark} |").unwrap();
        }
        for table in TABLES {
            write!(page, "\n## {}\n\n| keys | | |\n| --- | --- | --- |\n", table.file).unwrap();
            for key in table.keys {
                let names: Vec<String> = key.names.iter().map(|n| format!("`{n}`")).collect();
                let what = match key.rule {
                    Obeyed => "obeyed".to_string(),
                    Harmless => "harmless".to_string(),
                    Only([]) => "refused".to_string(),
                    Only(values) => format!("only `{}`", values.join("`, `")),
                };
                writeln!(page, "| {} | {what} | {} |", names.join(" "), key.remark).unwrap();
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../book/src/folders.md");
        if std::env::var_os("GRADUS_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let book = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(book, page, "run with GRADUS_BLESS=1 to renew book/src/folders.md");
    }
}
