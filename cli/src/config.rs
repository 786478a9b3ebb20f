//! `--config FILE.toml`: flags from a file.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::SharedArgs;
use crate::failure::{Failure, Outcome};

/// The flags of the command line over those of its `--config` file, if it names one.
///
/// A key of the file is a flag without its dashes (`max-length = 64`), shared ones included. A flag
/// on the command line wins; `None`, `false` and an empty list are flags not given. `T` derives
/// `Serialize` and `Deserialize` with `rename_all = "kebab-case"` and `default`; positional
/// arguments, which no file may have, stay outside it.
///
/// # Errors
/// A usage error with file and key for a key that is no flag, or a value of the wrong kind.
pub fn layered<T>(shared: &SharedArgs, flags: &T) -> Outcome<(SharedArgs, T)>
where
    T: Serialize + DeserializeOwned,
{
    let (mut shared_values, mut values) = (object(shared)?, object(flags)?);
    if let Some(path) = &shared.config {
        for (key, value) in read(path)? {
            let known = shared_values.keys().chain(values.keys());
            let slot = match (shared_values.contains_key(&key), values.contains_key(&key)) {
                (true, _) => {
                    check::<SharedArgs>(path, &key, &value)?;
                    shared_values.get_mut(&key)
                }
                (_, true) => {
                    check::<T>(path, &key, &value)?;
                    values.get_mut(&key)
                }
                _ => return Err(unknown(path, &key, known)),
            };
            if let Some(slot) = slot.filter(|slot| not_given(slot)) {
                *slot = value;
            }
        }
    }
    let mut merged: SharedArgs = parsed(shared_values)?;
    merged.config = shared.config.clone();
    Ok((merged, parsed(values)?))
}

fn object<T: Serialize>(flags: &T) -> Outcome<Map<String, Value>> {
    match serde_json::to_value(flags)? {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::error("flags must be a struct")),
    }
}

fn parsed<T: DeserializeOwned>(values: Map<String, Value>) -> Outcome<T> {
    Ok(serde_json::from_value(Value::Object(values))?)
}

fn not_given(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Parses the value of a flag that is a number. NaN and infinities are refused: they set nothing,
/// and JSON would lose them.
///
/// # Errors
/// When it is not a finite number.
pub fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|e| e.to_string())?;
    if number.is_finite() { Ok(number) } else { Err("it must be a number".into()) }
}

fn read(path: &Path) -> Outcome<Map<String, Value>> {
    let usage = |message: String| Failure::usage(format!("--config {}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| usage(e.to_string()))?;
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| usage(format!("not TOML: {}", e.to_string().trim_end())))?;
    let endless = |value: &toml::Value| value.as_float().is_some_and(|number| !number.is_finite());
    if let Some((key, value)) = table.iter().find(|(_, value)| endless(value)) {
        return Err(usage(format!("{key} is {value}; it must be a number")));
    }
    table.try_into().map_err(|e: toml::de::Error| usage(e.to_string()))
}

/// Checks one value against its flag, so that the error names the flag.
fn check<T: DeserializeOwned>(path: &Path, key: &str, value: &Value) -> Outcome {
    let alone = Map::from_iter([(key.to_string(), value.clone())]);
    match serde_json::from_value::<T>(Value::Object(alone)) {
        Ok(_) => Ok(()),
        Err(e) => Err(Failure::usage(format!("--config {}: {key}: {e}", path.display()))),
    }
}

fn unknown<'a>(path: &Path, key: &str, known: impl Iterator<Item = &'a String>) -> Failure {
    let mut known: Vec<&str> = known.map(String::as_str).collect();
    known.sort_unstable();
    let dashed = key.to_lowercase().replace('_', "-");
    let hint = match known.iter().find(|name| **name == dashed) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the keys are {}", known.join(", ")),
    };
    Failure::usage(format!("--config {}: unknown key `{key}`; {hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;
    use crate::DeviceArg;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case", default)]
    struct Flags {
        max_length: Option<usize>,
        lr: Option<f64>,
        raw: bool,
        names: Vec<String>,
    }

    fn file(text: &str) -> (tempfile::TempDir, SharedArgs) {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        (dir, SharedArgs { config: Some(path), ..SharedArgs::default() })
    }

    #[test]
    fn what_is_no_number_is_refused_and_not_lost() {
        for value in ["nan", "inf", "-inf"] {
            let (_dir, shared) = file(&format!("lr = {value}"));
            let said = layered(&shared, &Flags::default()).unwrap_err().to_string();
            assert!(said.contains("lr") && said.contains("must be a number"), "{said}");
            assert!(finite(value).is_err());
        }
        assert_eq!(finite("-1e-3"), Ok(-1e-3));
        assert!(finite("much").is_err());
    }

    #[test]
    fn the_command_line_wins() {
        let (_dir, shared) = file(
            "max-length = 64\nlr = 1e-3\nraw = true\nnames = ['a', 'b']\nthreads = 3\njson = true\ndevice = 'cpu'",
        );
        let shared = SharedArgs { threads: Some(1), ..shared };
        let flags = Flags { max_length: Some(32), ..Flags::default() };
        let (shared, flags) = layered(&shared, &flags).unwrap();
        assert_eq!((shared.threads, shared.json), (Some(1), true));
        assert_eq!(shared.device, Some(DeviceArg::Cpu));
        assert!(shared.config.is_some());
        let names = vec!["a".to_string(), "b".to_string()];
        assert_eq!(flags, Flags { max_length: Some(32), lr: Some(1e-3), raw: true, names });
    }

    #[test]
    fn without_a_file_nothing_changes() {
        let flags = Flags { lr: Some(0.5), ..Flags::default() };
        assert_eq!(layered(&SharedArgs::default(), &flags).unwrap().1, flags);
    }

    #[test]
    fn a_whole_number_is_a_rate_too() {
        let (_dir, shared) = file("lr = 1");
        assert_eq!(layered(&shared, &Flags::default()).unwrap().1.lr, Some(1.0));
    }

    #[test]
    fn errors_name_file_and_key() {
        for (text, parts) in [
            ("max_length = 3", ["`max_length`", "did you mean `max-length`?"]),
            ("speed = 3", ["`speed`", "max-length, names, precision, profile, quiet"]),
            ("max-length = -3", ["max-length", "-3"]),
            ("lr = 'fast'", ["lr: ", "fast"]),
            ("threads = 'all'", ["threads: ", "all"]),
            ("device = 'tpu'", ["device: ", "`tpu`"]),
            ("config = 'other.toml'", ["unknown key", "`config`"]),
            ("lr = ", ["not TOML", "line 1"]),
            ("[train]\nlr = 1", ["unknown key", "`train`"]),
        ] {
            let (_dir, shared) = file(text);
            let failure = layered(&shared, &Flags::default()).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{failure}");
            let message = failure.to_string();
            assert!(message.contains("run.toml"), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
        let gone = SharedArgs { config: Some("no/such.toml".into()), ..SharedArgs::default() };
        let failure = layered(&gone, &Flags::default()).unwrap_err();
        assert!(failure.to_string().contains("no/such.toml"), "{failure}");
    }
}
