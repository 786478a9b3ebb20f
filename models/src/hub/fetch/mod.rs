//! Fetches models and data sets from the hub.

mod data;

use std::cell::RefCell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo};

pub(super) use data::data;

use super::{CONFIG, MODULES, PICKLE, pickled_adapter, unreadable};
use crate::adapter;
use crate::checkpoint::{INDEX, WEIGHTS, shard_names};
use crate::error::{Error, Result};
use crate::folder::{Layout, SENTENCE_CONFIGS, module_files};
use crate::tokenizer::TOKENIZERS;

/// Files that a model may have or lack: settings of its tokenizer.
const OPTIONAL: [&str; 4] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config_sentence_transformers.json",
];

/// The snapshot of a model, fetched where the cache lacks files, with notes about files that could not
/// be looked for. `mistyped` is the error of a name that is not in the cache.
pub(super) fn model(model: &str, mistyped: Option<String>) -> Result<(PathBuf, Vec<String>)> {
    let hub = Hub::from_env(model)?;
    match mistyped.filter(|_| hub.cached(model).is_none()) {
        Some(message) => Err(Error::hub(model, message)),
        None => hub.fetch(model),
    }
}

/// The server and the cache.
pub(super) struct Hub {
    pub cache: Cache,
    /// `None` when offline.
    pub api: Option<Api>,
}

impl Hub {
    pub fn from_env(model: &str) -> Result<Self> {
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

    /// The snapshot of a model in the cache; it may lack files.
    pub fn cached(&self, model: &str) -> Option<PathBuf> {
        let repo = self.cache.repo(Repo::model(model.to_string()));
        let places =
            [CONFIG, MODULES, adapter::SETTINGS].into_iter().filter_map(|name| repo.get(name));
        places.into_iter().next()?.parent().map(Path::to_path_buf)
    }

    pub fn fetch(&self, model: &str) -> Result<(PathBuf, Vec<String>)> {
        let repo = Repo::model(model.to_string());
        let fetch = Fetch {
            model,
            cached: self.cache.repo(repo.clone()),
            repo: self.api.as_ref().map(|api| api.repo(repo)),
            missing: RefCell::default(),
            trouble: RefCell::default(),
        };
        // Files that an earlier call left in the cache may be of an older revision. The second
        // round looks them up at the revision of the files that the first round fetched.
        for _ in 0..2 {
            if let Some(folder) = fetch.all()? {
                return Ok((folder, fetch.untold()));
            }
        }
        let message = "the model changed on the hub while it was fetched; try again";
        Err(Error::hub(model, message))
    }
}

/// One model being fetched.
struct Fetch<'a> {
    model: &'a str,
    cached: CacheRepo,
    /// `None` when offline.
    repo: Option<ApiRepo>,
    /// Files that the hub does not have.
    missing: RefCell<Vec<String>>,
    /// The reason why the hub cannot be reached, once there is one.
    trouble: RefCell<Option<String>>,
}

impl Fetch<'_> {
    /// Fetches every file that is not in the cache; `None` when the files are of different
    /// revisions.
    fn all(&self) -> Result<Option<PathBuf>> {
        self.missing.borrow_mut().clear();
        let mut modules = Vec::new();
        // The folder of the encoder: `0_Transformer/` in the oldest models.
        let mut below = String::new();
        if let Some(path) = self.file(MODULES)? {
            let bytes = crate::files::read(&path)?;
            modules = module_files(&bytes);
            if let Some(root) = path.parent()
                && let Ok(layout) = Layout::read(root)
                && let Ok(rest) = layout.transformer.strip_prefix(root)
                && !rest.as_os_str().is_empty()
            {
                below = format!("{}/", rest.to_string_lossy());
            }
        } else {
            // A copy without modules.json may still name its pooling.
            self.file("1_Pooling/config.json")?;
        }
        let adapter = self.adapter(&below)?;
        let config = self.file(&format!("{below}{CONFIG}"))?;
        let config = config.or(adapter.clone()).ok_or_else(|| self.nothing())?;
        self.small_files(&below, !modules.is_empty())?;
        for (name, needed) in modules {
            if self.file(&name)?.is_none() && needed {
                let message = format!("modules.json needs {name}, which the model does not have");
                return Err(Error::hub(self.model, message));
            }
        }
        let weights = match adapter {
            Some(weights) => weights,
            None => match self.file(&format!("{below}{WEIGHTS}"))? {
                Some(path) => path,
                None => self.shards(&below)?,
            },
        };
        let same = config.parent().is_some_and(|folder| weights.parent() == Some(folder));
        self.note_absent();
        let within = config.parent().map(Path::to_path_buf);
        Ok(within.filter(|_| same).map(|mut folder| {
            // From `0_Transformer` up to the model's folder.
            for _ in Path::new(&below).components() {
                folder.pop();
            }
            folder
        }))
    }

    /// Fetches the tokenizer and the settings of a model. One with `modules` of sentence-transformers
    /// may have more of them.
    fn small_files(&self, below: &str, has_modules: bool) -> Result<()> {
        let mut tokenizer = None;
        for name in TOKENIZERS {
            if tokenizer.is_none() {
                tokenizer = self.file(&format!("{below}{name}"))?;
                if tokenizer.is_some() && name == "vocab.json" {
                    self.file(&format!("{below}merges.txt"))?;
                }
            }
        }
        for name in OPTIONAL {
            let place = if name == "config_sentence_transformers.json" { "" } else { below };
            self.file(&format!("{place}{name}"))?;
        }
        // Other encoders have other names for this file, and old folders of a BERT may have one of
        // those.
        if self.file(&format!("{below}{}", SENTENCE_CONFIGS[0]))?.is_none() && has_modules {
            for name in &SENTENCE_CONFIGS[1..] {
                self.file(&format!("{below}{name}"))?;
            }
        }
        Ok(())
    }

    /// The weights of an adapter; `None` where the model is none.
    fn adapter(&self, below: &str) -> Result<Option<PathBuf>> {
        if self.file(&format!("{below}{}", adapter::SETTINGS))?.is_none() {
            return Ok(None);
        }
        let weights = self.file(&format!("{below}{}", adapter::WEIGHTS))?;
        weights.map(Some).ok_or_else(|| Error::hub(self.model, pickled_adapter()))
    }

    /// Weights in several files; the path of their index.
    fn shards(&self, below: &str) -> Result<PathBuf> {
        let index = self.file(&format!("{below}{INDEX}"))?.ok_or_else(|| self.no_weights())?;
        for name in shard_names(&index)? {
            if self.file(&format!("{below}{name}"))?.is_none() {
                let message = format!("{INDEX} lists {name}, which the model does not have");
                return Err(Error::hub(self.model, message));
            }
        }
        Ok(index)
    }

    /// A file from the cache or the hub; `None` when the model has no such file, or the hub cannot
    /// be asked.
    fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        if let Some(path) = self.cached.get(name) {
            return Ok(Some(path));
        }
        let Some(repo) = self.repo.as_ref().filter(|_| self.trouble.borrow().is_none()) else {
            return Ok(None);
        };
        if self.is_absent(name) {
            return Ok(None);
        }
        match repo.get(name) {
            Ok(path) => return Ok(Some(path)),
            Err(e) => match status(&e) {
                Some(404) => self.missing.borrow_mut().push(name.to_string()),
                Some(_) => {
                    return Err(Error::hub(self.model, format!("{name}: {}", explain(&e))));
                }
                None => *self.trouble.borrow_mut() = Some(format!("{name}: {}", explain(&e))),
            },
        }
        Ok(None)
    }

    /// The folder in which the cache notes the files that its revision does not have: an empty file
    /// for each, as in `huggingface_hub`.
    fn absent_folder(&self) -> Option<PathBuf> {
        let snapshot = [CONFIG, MODULES, adapter::SETTINGS]
            .into_iter()
            .find_map(|name| self.cached.get(name))?;
        let snapshot = snapshot.parent()?;
        Some(snapshot.parent()?.parent()?.join(".no_exist").join(snapshot.file_name()?))
    }

    fn is_absent(&self, name: &str) -> bool {
        self.absent_folder().is_some_and(|folder| folder.join(name).is_file())
    }

    /// Notes the files that the model does not have, so that the next call does not ask for them.
    /// Failing to write a note costs only that question.
    fn note_absent(&self) {
        let Some(folder) = self.absent_folder() else { return };
        for name in self.missing.borrow().iter() {
            let path = folder.join(name);
            if path.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
                let _ = fs::write(path, "");
            }
        }
    }

    /// Notes about files that could not be looked for.
    fn untold(&self) -> Vec<String> {
        let reached = self.repo.is_some() && self.trouble.borrow().is_none();
        if reached || self.cached.get(MODULES).is_some() || self.is_absent(MODULES) {
            return Vec::new();
        }
        vec![format!(
            "Gradus could not ask the hub (no network, or HF_HUB_OFFLINE is set), and the cache \
             of {} has no {MODULES}: if the model has one, its pooling, length and prompts are \
             not known; open the model once with a network to fetch it",
            self.model
        )]
    }

    /// The error of a model without a config.json.
    fn nothing(&self) -> Error {
        if let Some(trouble) = self.trouble.borrow().as_ref() {
            return Error::hub(self.model, trouble);
        }
        let message = match &self.repo {
            Some(_) => {
                "no folder of that name, and the hub has no such model with a config.json; check the id"
            }
            None => {
                "no folder of that name, no model of this hub id in the cache, and HF_HUB_OFFLINE \
                 is set; unset it, or pass a folder"
            }
        };
        Error::hub(self.model, message)
    }

    fn no_weights(&self) -> Error {
        if let Some(trouble) = self.trouble.borrow().as_ref() {
            return Error::hub(self.model, trouble);
        }
        let Some(repo) = &self.repo else {
            let message = "its weights are not in the cache, and HF_HUB_OFFLINE is set; unset it, or pass a folder";
            return Error::hub(self.model, message);
        };
        // The model's listing names its files without fetching them.
        let siblings = repo.info().map(|info| info.siblings).unwrap_or_default();
        let has_pickle = siblings.iter().any(|s| s.rfilename.ends_with(PICKLE));
        Error::hub(
            self.model,
            match has_pickle {
                true => unreadable(),
                false => format!("the model has no {WEIGHTS}; choose another"),
            },
        )
    }
}

/// The status of a refused request, parsed from the message: this crate does not depend on the HTTP
/// crate.
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
                "{error}: no folder of that name, and the hub has no such model, or a private one \
                 (set HF_TOKEN); check the name"
            )
        }
        Some(_) => format!("{error}; try again later, or pass a folder"),
        None => format!(
            "no folder of that name, and it cannot be fetched from the hub: {error}; check the path, or without a \
             network pass a folder with config.json and {WEIGHTS}"
        ),
    }
}
