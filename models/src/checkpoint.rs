//! A model folder in the Hugging Face layout: config.json, model.safetensors, tokenizer.json.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gradus_nn::{Source, Store};
use gradus_tensor::io::safetensors::{self, SafeTensors};
use gradus_tensor::{DType, Tensor};

use crate::{BertConfig, Error, Result, Tokenizer};

/// The weights of a checkpoint, memory-mapped, as a [`Source`] of named parameters.
///
/// Older checkpoints differ in two ways that are understood here: a bare `BertModel` has no `bert.`
/// before its names, and LayerNorm's weight and bias may be called gamma and beta.
#[derive(Clone)]
pub struct Checkpoint(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: SafeTensors,
    taken: Mutex<HashSet<String>>,
}

impl Checkpoint {
    /// Opens `folder/model.safetensors` (or the file itself).
    ///
    /// # Errors
    /// If there is none, or it is truncated or corrupt.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join("model.safetensors") } else { path.to_path_buf() };
        let file = SafeTensors::open(&path)?;
        Ok(Checkpoint(Arc::new(Inner { path, file, taken: Mutex::default() })))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The name in the file for a parameter of a model.
    fn find(&self, name: &str) -> Option<String> {
        let old = |name: &str| {
            let name = name.strip_suffix("LayerNorm.weight").map(|n| format!("{n}LayerNorm.gamma"));
            name.unwrap_or_default()
        };
        let old_bias = |name: &str| {
            let name = name.strip_suffix("LayerNorm.bias").map(|n| format!("{n}LayerNorm.beta"));
            name.unwrap_or_default()
        };
        let bare = name.strip_prefix("bert.").unwrap_or_default();
        [name, bare]
            .into_iter()
            .filter(|n| !n.is_empty())
            .flat_map(|n| [n.to_string(), old(n), old_bias(n)])
            .find(|n| !n.is_empty() && self.0.file.contains(n))
    }

    /// Names in the file that no model has asked for, without those known to be no parameters
    /// (`position_ids`, and the decoder, which is tied to the word embeddings).
    pub fn unexpected(&self) -> Vec<String> {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |n: &str| {
            n.ends_with("embeddings.position_ids") || n.starts_with("cls.predictions.decoder.")
        };
        let mut names = self.0.file.names();
        names.retain(|n| !taken.contains(n) && !known(n));
        names
    }

    /// The first tensor with a NaN or an infinity, if any: why a model gives no numbers.
    pub fn first_not_finite(&self) -> Option<String> {
        self.0.file.names().into_iter().find(|name| {
            self.0
                .file
                .tensor(name)
                .and_then(|t| if t.dtype().is_float() { t.to_dtype(DType::F32) } else { Ok(t) })
                .and_then(|t| t.is_not_finite()?.max(&[], false)?.item())
                .is_ok_and(|bad| bad > 0.0)
        })
    }
}

impl Source for Checkpoint {
    fn tensor(&self, name: &str) -> gradus_tensor::Result<Option<Tensor>> {
        let Some(found) = self.find(name) else { return Ok(None) };
        let tensor = self.0.file.tensor(&found)?;
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(found);
        Ok(Some(tensor))
    }
}

/// A pretrained model's parts, before a model is built from them.
pub struct Pretrained {
    /// The folder.
    pub folder: PathBuf,
    /// Its config.json.
    pub config: BertConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its weights.
    pub checkpoint: Checkpoint,
}

impl Pretrained {
    /// Opens a folder, or fetches a hub id.
    pub fn open(model: &str) -> Result<Self> {
        let folder = crate::resolve(model)?;
        let config = BertConfig::load(folder.join("config.json"))?;
        let tokenizer = Tokenizer::from_folder(&folder)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(Error::Config {
                path: folder.join("config.json"),
                message: format!(
                    "vocab_size is {}, but the tokenizer has {} tokens; they belong to different \
                     models",
                    config.vocab_size,
                    tokenizer.vocab_size()
                ),
            });
        }
        let checkpoint = Checkpoint::open(&folder)?;
        Ok(Pretrained { folder, config, tokenizer, checkpoint })
    }

    /// A store whose parameters come from the checkpoint; `seed` is for those it lacks.
    pub fn store(&self, seed: u64) -> Store {
        Store::with_source(seed, self.checkpoint.clone())
    }
}

/// Writes a model folder that `transformers` can load. Each file is written aside and renamed, the
/// weights last but the config: a folder that had a good model never holds half of another.
pub fn save_folder(
    folder: &Path,
    config: &BertConfig,
    tokenizer: &Tokenizer,
    store: &Store,
) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
    tokenizer.save(folder)?;
    let tensors = store.parameters().into_iter().map(|p| (p.name().to_string(), p.tensor()));
    safetensors::save(folder.join("model.safetensors"), tensors, None)?;
    config.save(folder.join("config.json"))
}
