//! The folders of a model's parts: `modules.json` of sentence-transformers names one for each
//! module.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::tables::MODULES;
use super::{checked, values};
use crate::error::{Error, Result};
use crate::files;

/// A module of a sentence-transformers model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Module {
    /// The last part of its type: `Pooling`.
    pub kind: String,
    /// Its folder, below the model's.
    pub path: String,
}

/// The folders of a model.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The model's folder.
    pub root: PathBuf,
    /// The folder of config.json, tokenizer and weights: `root`, or `root/0_Transformer` and the
    /// like.
    pub transformer: PathBuf,
    /// The modules that `modules.json` lists; `None` without that file.
    pub modules: Option<Vec<Module>>,
    pub notes: Vec<String>,
}

impl Layout {
    /// Reads `modules.json`.
    ///
    /// # Errors
    /// When it is malformed, or the first module is not a Transformer.
    pub fn read(root: &Path) -> Result<Layout> {
        let path = root.join("modules.json");
        let here = |modules, transformer, notes| Layout {
            root: root.to_path_buf(),
            transformer,
            modules,
            notes,
        };
        if !path.is_file() {
            return Ok(here(None, root.to_path_buf(), Vec::new()));
        }
        let (modules, notes) = parse(&files::read(&path)?, &path)?;
        match modules.first().map(|first| first.kind.as_str()) {
            // The pipeline refuses heads that Gradus does not run.
            Some("Transformer" | "BERT" | "MLMTransformer") => {}
            Some(other) => return Err(Error::config(&path, no_module(other, "first"))),
            None => return Err(Error::config(&path, "lists no module")),
        }
        // Part by part, because an empty path is the root itself.
        let transformer = modules[0]
            .path
            .split('/')
            .filter(|p| !p.is_empty())
            .fold(root.to_path_buf(), |path, part| path.join(part));
        Ok(here(Some(modules), transformer, notes))
    }
}

/// The message for a module that Gradus does not have.
pub(super) fn no_module(kind: &str, place: &str) -> String {
    format!(
        "the {place} module is a `{kind}`, which Gradus does not have (it has Transformer, Pooling, Dense, LayerNorm, \
         Normalize, Dropout and SpladePooling); run this model in sentence-transformers"
    )
}

/// The modules that a `modules.json` lists.
fn parse(bytes: &[u8], path: &Path) -> Result<(Vec<Module>, Vec<String>)> {
    let fail = |message: String| Error::config(path, message);
    let list: Vec<serde_json::Map<String, Value>> =
        files::parse_json(bytes).map_err(|e| fail(format!("not a list of JSON objects: {e}")))?;
    let (mut modules, mut notes) = (Vec::new(), Vec::new());
    for entry in &list {
        notes.extend(checked(path, entry, &MODULES)?);
        let text = |key: &str| values::text(entry, key).map_err(fail);
        let kind = text("type")?.ok_or_else(|| fail("a module has no `type`".into()))?;
        if !kind.starts_with("sentence_transformers.") {
            return Err(fail(format!(
                "the module `{kind}` is code that comes with the model, which Gradus does not run"
            )));
        }
        let below = text("path")?.unwrap_or_default();
        if !Path::new(below)
            .components()
            .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        {
            return Err(fail(format!("the module's path `{below}` leaves the folder")));
        }
        let kind = kind.rsplit('.').next().unwrap_or(kind).to_string();
        modules.push(Module { kind, path: below.trim_end_matches('/').to_string() });
    }
    Ok((modules, notes))
}

/// The files of the modules that a `modules.json` lists, below the model's folder, and whether each
/// is needed. A malformed `modules.json` lists none here; the error comes when the folder is read.
pub(crate) fn module_files(bytes: &[u8]) -> Vec<(String, bool)> {
    let Ok((modules, _)) = parse(bytes, Path::new("modules.json")) else { return Vec::new() };
    let mut files = Vec::new();
    for module in modules.iter().filter(|m| !m.path.is_empty()) {
        match module.kind.as_str() {
            "Transformer" | "BERT" | "MLMTransformer" => {}
            "Dense" | "LayerNorm" => {
                files.push((format!("{}/config.json", module.path), true));
                files.push((format!("{}/model.safetensors", module.path), true));
            }
            // Normalize of earlier versions has no file at all.
            _ => files.push((format!("{}/config.json", module.path), false)),
        }
    }
    files
}
