//! The small files of a model folder: where its parts are, the modules after the encoder, and the
//! keys that Gradus obeys.

pub(crate) mod keys;
mod layout;
mod prompts;
mod sentence;
mod settings;
mod splade;
pub(crate) mod tables;
pub(crate) mod values;

pub(crate) use layout::{Layout, module_files};
pub use prompts::Prompts;
pub use sentence::SimilarityFunction;
pub(crate) use sentence::{
    Dense, DenseActivation, SENTENCE_CONFIGS, Sentence, Stage, parse_activation,
};
pub use settings::SentenceSettings;
pub(crate) use splade::Splade;

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files;
use keys::Table;

/// Reads a JSON object; `None` where there is no such file.
pub(crate) fn json_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = files::read(path)?;
    let object = files::parse_json(&bytes);
    object.map(Some).map_err(|e| Error::config(path, format!("not a JSON object: {e}")))
}

/// Checks an object's keys against a table; notes begin with the file's name.
pub(crate) fn checked(
    path: &Path,
    object: &Map<String, Value>,
    table: &Table,
) -> Result<Vec<String>> {
    let notes = table.check(object).map_err(|message| Error::config(path, message))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(notes.into_iter().map(|note| format!("{name}: Gradus {note}")).collect())
}
