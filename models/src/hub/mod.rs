//! From the name that a user gives to a folder on disk: of a model, or of a data set.
//!
//! `fetch/` gets what the folder lacks from the hub; in a build without the feature `hub` it is
//! `without.rs`.

#[cfg_attr(not(feature = "hub"), path = "without.rs")]
mod fetch;

use std::fs;
use std::path::{Path, PathBuf};

use crate::adapter;
use crate::checkpoint::{INDEX, WEIGHTS};
use crate::error::{Error, Result};
use crate::folder::Layout;

const CONFIG: &str = "config.json";
/// Weights in a format that Gradus does not read.
const PICKLE: &str = "pytorch_model.bin";
const MODULES: &str = "modules.json";
/// What the name of a data set of the hub begins with.
const DATA: &str = "hub:";

/// The folder of a model: `model` itself where it is a folder with `config.json` and
/// `model.safetensors`. Otherwise `model` is a hub id (`name` or `organisation/name`), and its
/// files are fetched to a folder in the cache.
///
/// The cache is that of the other Hugging Face tools (`HF_HOME`, by default
/// `~/.cache/huggingface`): files that another program fetched are used, and the others are
/// fetched. `HF_ENDPOINT` names another server, `HF_TOKEN` opens private models, `HF_HUB_OFFLINE=1`
/// uses the cache alone.
///
/// # Errors
/// [`Error::Checkpoint`] for a folder that is no model, naming what is missing; [`Error::Hub`] when
/// the id is none, or the model cannot be fetched.
pub fn resolve(model: &str) -> Result<PathBuf> {
    Ok(resolved(model)?.0)
}

/// As [`resolve`], with notes about files that could not be looked for.
pub(crate) fn resolved(model: &str) -> Result<(PathBuf, Vec<String>)> {
    let path = Path::new(model);
    if path.exists() {
        return Ok((local(path)?, Vec::new()));
    }
    let mistyped = mistyped(path);
    if !is_hub_id(model) {
        let message =
            "no such folder, and not a hub id (`name` or `organisation/name`); check the path";
        return Err(Error::hub(model, mistyped.unwrap_or(message.into())));
    }
    fetch::model(model, mistyped)
}

/// Whether the name of a data set says that it is on the hub: `hub:owner/name`.
pub fn is_hub_data(data: &Path) -> bool {
    data.to_str().is_some_and(|name| name.starts_with(DATA))
}

/// The folder of a data set of the hub, `hub:owner/name`, and notes for a person. A folder of the
/// data set (each configuration has one, where there are several) may follow the
/// name, and a revision may follow that: `hub:owner/name/config@revision`. The files of the training
/// set, the dev set and the test set are fetched to the cache, as [`resolve`] does for a model. Any
/// other name stands for itself.
///
/// # Errors
/// [`Error::Hub`] when it is no name of a data set, the data set has no training set or several
/// folders with one, or it cannot be fetched.
pub fn resolve_data(data: &Path) -> Result<(PathBuf, Vec<String>)> {
    match data.to_str().and_then(|name| name.strip_prefix(DATA)) {
        Some(name) => fetch::data(name),
        None => Ok((data.to_path_buf(), Vec::new())),
    }
}

/// The message for a folder that does not exist in a folder that does: the user meant a path, not a
/// hub id.
fn mistyped(path: &Path) -> Option<String> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty() && p.is_dir())?;
    let mut models: Vec<String> = fs::read_dir(parent)
        .ok()?
        .flatten()
        .filter(|entry| {
            let has = |name: &str| entry.path().join(name).is_file();
            has(CONFIG) || has(MODULES) || has(adapter::SETTINGS)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    models.sort_by_key(|name| (std::cmp::Reverse(alike(name, path)), name.clone()));
    let there = match models.is_empty() {
        true => "holds no model".to_string(),
        false => {
            let more = if models.len() > 8 { ", …" } else { "" };
            models.truncate(8);
            format!("holds {}{more}", models.join(", "))
        }
    };
    Some(format!("no such folder; {} {there}", parent.display()))
}

/// How many letters at their beginning a name and the end of a path have in common.
fn alike(name: &str, path: &Path) -> usize {
    let meant = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.chars().zip(meant.chars()).take_while(|(a, b)| a == b).count()
}

/// Checks that a folder holds a model.
fn local(path: &Path) -> Result<PathBuf> {
    let failed =
        |at: &Path, message: String| Err(Error::Checkpoint { path: at.to_path_buf(), message });
    if !path.is_dir() {
        return failed(
            path,
            "this is a file; pass the folder that holds config.json and model.safetensors".into(),
        );
    }
    let within = Layout::read(path)?.transformer;
    let has = |name: &str| within.join(name).is_file();
    if adapter::is_adapter(&within) {
        let weights = adapter::WEIGHTS;
        return match has(weights) {
            true => Ok(path.to_path_buf()),
            false if has(adapter::PICKLE) => failed(&within, pickled_adapter()),
            false => failed(&within, format!("no {weights} beside {}", adapter::SETTINGS)),
        };
    }
    if !has(CONFIG) {
        return failed(
            &within,
            format!("no {CONFIG} in this folder; pass a model in the Hugging Face layout"),
        );
    }
    if !has(WEIGHTS) && !has(INDEX) {
        return failed(
            &within,
            match has(PICKLE) {
                true => unreadable(),
                false => {
                    format!("no {WEIGHTS} in this folder; pass a model in the Hugging Face layout")
                }
            },
        );
    }
    Ok(path.to_path_buf())
}

fn unreadable() -> String {
    format!(
        "the weights are in {PICKLE} only, in PyTorch's pickle format, which Gradus does not read; \
         convert them in the model's folder with\n  python -c \"import torch, safetensors.torch as s; \
         s.save_file({{k: v.clone() for k, v in torch.load('{PICKLE}', weights_only=True).items()}}, \
         'model.safetensors', {{'format': 'pt'}})\""
    )
}

fn pickled_adapter() -> String {
    format!(
        "the weights are in {} only, in PyTorch's pickle format, which Gradus does not read; convert \
         them in Python with `PeftModel.from_pretrained(…).save_pretrained(…)`",
        adapter::PICKLE
    )
}

/// Whether `model` reads as `name` or `organisation/name`.
fn is_hub_id(model: &str) -> bool {
    let parts: Vec<&str> = model.split('/').collect();
    let part = |part: &&str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let edge = |c: char| matches!(c, '-' | '.');
        !part.is_empty()
            && part.len() <= 96
            && part.chars().all(good)
            && !part.starts_with(edge)
            && !part.ends_with(edge)
            && !part.contains("..")
            && !part.contains("--")
    };
    parts.len() <= 2 && parts.iter().all(part)
}

#[cfg(all(test, feature = "hub"))]
mod data_tests;
#[cfg(all(test, feature = "hub"))]
mod tests;
