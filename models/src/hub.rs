//! From what a user names to a model folder on disk.

use std::env;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo};

use crate::error::{Error, Result};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// Weights in forms that Gradus does not read, with what to say of each.
const FOREIGN: [(&str, &str); 2] = [
    ("pytorch_model.bin", "in PyTorch's pickle format"),
    ("model.safetensors.index.json", "split over several files"),
];
const TOKENIZERS: [&str; 2] = ["tokenizer.json", "vocab.txt"];
/// What a model may have besides: how its tokenizer was made, and how sentence-transformers embeds with it.
const OPTIONAL: [&str; 4] =
    ["tokenizer_config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"];

/// The folder of a model: `model` itself where it is a folder with `config.json` and `model.safetensors`; otherwise,
/// where it reads as a hub id (`name` or `organisation/name`), the folder in the cache to which its files are fetched.
///
/// The cache is that of the other Hugging Face tools (`HF_HOME`, by default `~/.cache/huggingface`). `HF_ENDPOINT`
/// names another server, `HF_TOKEN` opens private models, `HF_HUB_OFFLINE=1` uses the cache alone.
///
/// # Errors
/// [`Error::Checkpoint`] for a folder that is no model, naming what is missing; [`Error::Hub`] when the id is none, or
/// the model cannot be fetched.
pub fn resolve(model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.exists() {
        return local(path);
    }
    if !is_hub_id(model) {
        let message =
            "no such folder, and not a hub id (`name` or `organisation/name`); check the path";
        return Err(Error::hub(model, message));
    }
    Hub::from_env(model)?.fetch(model)
}

/// Checks that a folder holds a model.
fn local(path: &Path) -> Result<PathBuf> {
    let failed = |message: String| Err(Error::Checkpoint { path: path.to_path_buf(), message });
    if !path.is_dir() {
        return failed(
            "this is a file; pass the folder that holds config.json and model.safetensors".into(),
        );
    }
    let has = |name: &str| path.join(name).is_file();
    if !has(CONFIG) {
        return failed(format!(
            "no {CONFIG} in this folder; pass a model in the Hugging Face layout"
        ));
    }
    if !has(WEIGHTS) {
        return failed(match FOREIGN.iter().find(|(name, _)| has(name)) {
            Some((name, form)) => unreadable(name, form),
            None => format!("no {WEIGHTS} in this folder; pass a model in the Hugging Face layout"),
        });
    }
    Ok(path.to_path_buf())
}

fn unreadable(name: &str, form: &str) -> String {
    format!(
        "the weights are in {name} only, {form}, which Gradus does not read; convert them in Python with \
         `AutoModel.from_pretrained(…).save_pretrained(…, safe_serialization=True, max_shard_size=\"100GB\")`"
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

/// Where models are fetched from and kept.
struct Hub {
    cache: Cache,
    /// `None` when offline.
    api: Option<Api>,
}

impl Hub {
    fn from_env(model: &str) -> Result<Self> {
        // `hf-hub` panics where it finds no home.
        if env::var_os("HF_HOME").is_none() && env::home_dir().is_none() {
            return Err(Error::hub(
                model,
                "no home folder to cache models in; set HF_HOME, or pass a folder",
            ));
        }
        let off = |v: &str| matches!(v.to_lowercase().as_str(), "" | "0" | "false" | "no" | "off");
        if env::var("HF_HUB_OFFLINE").is_ok_and(|v| !off(&v)) {
            return Ok(Hub { cache: Cache::from_env(), api: None });
        }
        let mut builder = ApiBuilder::from_env().with_retries(2);
        if let Ok(token) = env::var("HF_TOKEN").map(|t| t.trim().to_string())
            && !token.is_empty()
        {
            builder = builder.with_token(Some(token));
        }
        let api = builder.build().map_err(|e| Error::hub(model, explain(&e)))?;
        Ok(Hub { cache: Cache::from_env(), api: Some(api) })
    }

    fn fetch(&self, model: &str) -> Result<PathBuf> {
        let repo = Repo::model(model.to_string());
        let cached = self.cache.repo(repo.clone());
        if let Some(folder) = complete(&cached) {
            return Ok(folder);
        }
        let Some(api) = &self.api else {
            let message = "not in the cache, and HF_HUB_OFFLINE is set; unset it, or pass a folder";
            return Err(Error::hub(model, message));
        };
        let fetch = Fetch { model, repo: api.repo(repo) };
        // Files that an earlier call left in the cache may be of an older revision. The second round looks them up at
        // the revision of those that the first had to fetch.
        for _ in 0..2 {
            if let Some(folder) = fetch.all()? {
                return Ok(folder);
            }
        }
        let message = "the model changed on the hub while it was fetched; try again";
        Err(Error::hub(model, message))
    }
}

/// The cached folder of a model, if it has what a model needs.
fn complete(cached: &CacheRepo) -> Option<PathBuf> {
    let config = cached.get(CONFIG)?;
    cached.get(WEIGHTS)?;
    TOKENIZERS.iter().find_map(|name| cached.get(name))?;
    config.parent().map(Path::to_path_buf)
}

/// One model being fetched.
struct Fetch<'a> {
    model: &'a str,
    repo: ApiRepo,
}

impl Fetch<'_> {
    /// Fetches every file that is not in the cache; `None` when they are of different revisions.
    fn all(&self) -> Result<Option<PathBuf>> {
        let config = self.file(CONFIG)?.ok_or_else(|| {
            let message = "no folder of that name, and the hub has no such model with a config.json; check the id";
            Error::hub(self.model, message)
        })?;
        let mut tokenizer = None;
        for name in TOKENIZERS {
            if tokenizer.is_none() {
                tokenizer = self.file(name)?;
            }
        }
        for name in OPTIONAL {
            self.file(name)?;
        }
        let weights = self.file(WEIGHTS)?.ok_or_else(|| self.no_weights())?;
        let folder = config.parent().filter(|&folder| weights.parent() == Some(folder));
        Ok(folder.map(Path::to_path_buf))
    }

    /// Fetches a file; `None` when the model has no such file.
    fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        match self.repo.get(name) {
            Ok(path) => Ok(Some(path)),
            Err(e) if status(&e) == Some(404) => Ok(None),
            Err(e) => Err(Error::hub(self.model, format!("{name}: {}", explain(&e)))),
        }
    }

    fn no_weights(&self) -> Error {
        // The listing of the model tells what there is without fetching it.
        let names: Vec<String> = self
            .repo
            .info()
            .map(|info| info.siblings.into_iter().map(|s| s.rfilename).collect())
            .unwrap_or_default();
        let foreign = FOREIGN.iter().find(|(name, _)| names.iter().any(|n| n == name));
        Error::hub(
            self.model,
            match foreign {
                Some((name, form)) => unreadable(name, form),
                None => format!("the model has no {WEIGHTS}; choose another"),
            },
        )
    }
}

/// The status of a refused request, from the message: the HTTP crate is not a dependency of this one.
fn status(error: &ApiError) -> Option<u16> {
    let text = error.to_string();
    let at = text.find("http status: ")?;
    let digits = text.get(at + "http status: ".len()..)?;
    digits.get(..3)?.parse().ok()
}

fn explain(error: &ApiError) -> String {
    match status(error) {
        Some(401 | 403) => {
            format!(
                "{error}: no such model, or a private one (set HF_TOKEN); check the id, or pass a folder"
            )
        }
        Some(_) => format!("{error}; try again later, or pass a folder"),
        None => format!(
            "cannot be fetched: {error}; without a network, pass a folder with config.json and {WEIGHTS}"
        ),
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
