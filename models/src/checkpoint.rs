//! The weights of a model folder.

mod decoder;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gradus_nn::{Lora, Source};
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_tensor::{DType, Tensor, bail};
use serde_json::Value;

use crate::adapter::Adapter;
use crate::family::{FAMILIES, Family, Part, bare, in_files, is_encoder, is_transposed, layer_of};
use crate::folder::json_object;
use crate::{Error, Result, files, interchange};

/// The file of weights, and the index where there are several.
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The weights of a checkpoint, in one file or several, as a [`Source`] of named parameters. A
/// parameter is read into memory of its own when a model asks for it, so later changes of the files
/// do not matter.
///
/// Two spellings of older checkpoints are read too: a bare `BertModel` has no `bert.` before its
/// names, and LayerNorm's weight and bias may be called gamma and beta.
///
/// **An encoder that lacks a parameter is an error**, in training as in use: otherwise a model that
/// seems pretrained would have random weights. A head (and BERT's pooler, which belongs to it) may
/// be missing; [`Store::missing`](gradus_nn::Store::missing) lists its parameters.
///
/// The base of an adapter has the adapter's weights folded into its own.
#[derive(Clone)]
pub struct Checkpoint(Arc<Inner>);

struct Inner {
    path: PathBuf,
    files: Vec<SafeTensors>,
    adapter: Option<Adapter>,
    taken: Mutex<HashSet<String>>,
    head: Mutex<Head>,
    /// The layers that a model of fewer takes; `None` for all.
    layers: Mutex<Option<Vec<usize>>>,
}

/// How a checkpoint's classification head is read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Head {
    /// As it is.
    #[default]
    Kept,
    /// With its rows in another order: row `i` is row `rows[i]` of the file.
    Reordered(Vec<u32>),
    /// Not at all: the new head has random weights.
    LeftOut,
}

impl Checkpoint {
    /// Opens `folder/model.safetensors`, or the files that `folder/model.safetensors.index.json`
    /// lists; or the one file `path`.
    ///
    /// # Errors
    /// If there is none, or one is truncated or corrupt, or lacks a tensor that the index puts
    /// there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let whole = if path.is_dir() { path.join(WEIGHTS) } else { path.to_path_buf() };
        let index = whole.with_file_name(INDEX);
        let (path, files) = match !whole.is_file() && index.is_file() {
            true => (index.clone(), shards(&index)?),
            false => (whole.clone(), vec![SafeTensors::open(&whole)?]),
        };
        let (taken, head, layers) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Checkpoint(Arc::new(Inner { path, files, adapter: None, taken, head, layers })))
    }

    /// The same weights with those of an adapter.
    ///
    /// # Errors
    /// When the adapter is not one of these weights.
    pub(crate) fn with_adapter(self, adapter: Adapter) -> Result<Self> {
        let path = self.path().to_path_buf();
        for layer in adapter.layers() {
            let name = format!("{layer}.weight");
            // The adapter of an encoder alone lacks the `bert.` that its base may have.
            let within =
                || FAMILIES.iter().find_map(|f| self.shape(&format!("{}.{name}", f.prefix)));
            let shape = self.shape(&name).or_else(within);
            let wanted = adapter.shape_of_layer(layer);
            if shape.as_deref() != wanted.as_ref().map(|shape| &shape[..]) {
                let there = match &shape {
                    Some(shape) => format!("is {shape:?} here"),
                    None => "is not here".into(),
                };
                let message = format!(
                    "is not the base of the adapter: it adapts `{layer}` of {wanted:?}, which {there}"
                );
                return Err(Error::Checkpoint { path, message });
            }
        }
        match Arc::into_inner(self.0) {
            Some(inner) => Ok(Checkpoint(Arc::new(Inner { adapter: Some(adapter), ..inner }))),
            None => Err(Error::Input("a checkpoint in use cannot take an adapter".into())),
        }
    }

    /// A hash of the files, without those of an adapter.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn hash(&self) -> Result<String> {
        let path = self.path();
        match path.file_name().is_some_and(|name| name == INDEX) {
            false => files::hash(path),
            true => {
                let files = shard_names(path)?;
                let hashes = files.iter().map(|name| files::hash(&path.with_file_name(name)));
                Ok(hashes.collect::<Result<Vec<_>>>()?.join("-"))
            }
        }
    }

    /// Whether the files have a parameter of this name; an adapter's do not count.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Sets how the classification head is read from now on.
    pub(crate) fn set_head(&self, head: Head) {
        *self.head() = head;
    }

    /// Lets layer `i` of a model be layer `layers[i]` of the file from now on.
    pub(crate) fn set_layers(&self, layers: Vec<usize>) {
        *self.0.layers.lock().unwrap_or_else(PoisonError::into_inner) = Some(layers);
    }

    /// The name here of a model's parameter; see [`Checkpoint::set_layers`].
    fn of_layer(&self, name: &str) -> Option<String> {
        let layers = self.0.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let (layer, rest) = layer_of(name)?;
        let place = name.strip_suffix(&format!("{layer}.{rest}"))?;
        Some(format!("{place}{}.{rest}", layers.as_ref()?.get(layer)?))
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.0.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file_of(&self, name: &str) -> Option<&SafeTensors> {
        self.0.files.iter().find(|file| file.contains(name))
    }

    /// All names, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.files.iter().flat_map(SafeTensors::names).collect();
        names.sort_unstable();
        names
    }

    /// The name in the files of a model's parameter, and which part of the tensor there it is.
    fn find(&self, name: &str) -> Option<(String, Part)> {
        let own = spellings(name).into_iter().chain(tied(name)).map(|name| (name, (0, 1)));
        let in_files = in_files(name).into_iter().flat_map(|(name, part)| {
            let bare = bare(&name).to_string();
            [(name, part), (bare, part)]
        });
        own.chain(in_files).find(|(name, _)| self.file_of(name).is_some())
    }

    /// The adapter, and a parameter's name there, where the adapter has it.
    fn adapted(&self, name: &str) -> Option<(&Adapter, String)> {
        let adapter = self.0.adapter.as_ref()?;
        Some((adapter, spellings(name).into_iter().find(|n| adapter.has(n))?))
    }

    /// The shape of a parameter, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        if let Some((adapter, own)) = self.adapted(name) {
            return adapter.shape(&own);
        }
        let (found, (_, parts)) = self.find(name)?;
        let mut shape = self.file_of(&found)?.info(&found)?.1;
        if parts > 1 {
            *shape.first_mut()? /= parts;
        }
        if is_transposed(name) {
            shape.reverse();
        }
        Some(shape)
    }

    /// The shape `[labels, hidden]` of the layer that gives the logits of labels, if there is one.
    pub(crate) fn label_shape(&self) -> Option<Vec<usize>> {
        label_layers().find_map(|layer| self.shape(&format!("{layer}.weight")))
    }

    /// Names in the files that no model has asked for, without those that are no parameters:
    /// `position_ids`, the decoder (tied to the word embeddings), and the empty tensors in the
    /// place of a head.
    pub fn unexpected(&self) -> Vec<String> {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_empty =
            |n: &str| self.file_of(n).and_then(|f| f.info(n)).is_some_and(|i| i.1.contains(&0));
        let known = |n: &str| {
            n.ends_with("embeddings.position_ids")
                || n.ends_with("embeddings.token_type_ids")
                || is_decoder(n)
                || is_buffer(n)
                || is_empty(n)
        };
        let left_out = *self.head() == Head::LeftOut;
        let is_told =
            |n: &str| left_out && (is_label_layer(n) || n.starts_with("pooled_classifier."));
        let mut names = self.names();
        names.retain(|n| !taken.contains(n) && !known(n) && !is_told(n));
        if let Some(adapter) = &self.0.adapter {
            names.retain(|name| self.adapted(name).is_none());
            let own = adapter.names().filter(|name| !known(name) && !is_told(name));
            let own = own.filter_map(|name| adapter.name_in_file(name));
            names.extend(own.filter(|name| !taken.contains(*name)).map(String::from));
        }
        names
    }

    /// The first tensor with a NaN or an infinity, if there is one.
    pub fn first_not_finite(&self) -> Option<String> {
        let of_files = self.names().into_iter().find(|name| {
            let read = self.file_of(name).map(|file| file.tensor(name));
            matches!(read, Some(Ok(tensor)) if !is_finite(&tensor))
        });
        of_files.or_else(|| {
            let adapter = self.0.adapter.as_ref()?;
            let bad = |name: &&String| adapter.tensor(name).is_ok_and(|tensor| !is_finite(&tensor));
            adapter.names().find(bad).cloned()
        })
    }

    /// A parameter that the encoder of a model type does not have, if there is one: the file then
    /// belongs to another architecture, even if config.json names this type.
    pub(crate) fn foreign(&self, family: &Family) -> Option<String> {
        self.names().into_iter().find(|name| is_encoder(name) && !family.has(name))
    }

    /// How many encoder layers there are.
    pub(crate) fn layers(&self) -> usize {
        let names = self.names();
        let layers = names.iter().filter_map(|name| layer_of(name));
        layers.map(|(layer, _)| layer + 1).max().unwrap_or(0)
    }

    /// The error of an encoder without a parameter.
    fn lacking(&self, name: &str) -> gradus_tensor::Error {
        gradus_tensor::Error::op(
            "checkpoint",
            format!(
                "{} has no `{name}`; it is incomplete, or config.json belongs to another model",
                self.path().display()
            ),
        )
    }
}

/// The names that a model's parameter may have in the files.
fn spellings(name: &str) -> Vec<String> {
    let older = |name: &str, new: &str, old: &str| {
        name.strip_suffix(new).map(|stem| format!("{stem}{old}"))
    };
    let bare = Some(bare(name)).filter(|bare| *bare != name);
    let spellings = [Some(name), bare].into_iter().flatten().flat_map(|n| {
        [
            interchange::own_head(n),
            Some(n.to_string()),
            older(n, "LayerNorm.weight", "LayerNorm.gamma"),
            older(n, "LayerNorm.bias", "LayerNorm.beta"),
            // The masked-LM head's bias may be there under the decoder's name only.
            decoder_bias(n),
        ]
    });
    spellings.flatten().collect()
}

/// Whether a tensor holds neither NaN nor infinity.
pub(crate) fn is_finite(tensor: &Tensor) -> bool {
    let float =
        if tensor.dtype().is_float() { tensor.to_dtype(DType::F32) } else { Ok(tensor.clone()) };
    let worst = float.and_then(|t| t.is_not_finite()?.max(&[], false)?.item());
    !worst.is_ok_and(|bad| bad > 0.0)
}

/// Opens the files that an index lists. Each must have its own tensors and none of another file's.
fn shards(index: &Path) -> Result<Vec<SafeTensors>> {
    let fail = |message: String| Error::Checkpoint { path: index.to_path_buf(), message };
    let mut opened: BTreeMap<String, SafeTensors> = BTreeMap::new();
    let map = weight_map(index)?;
    for (name, file) in &map {
        if !opened.contains_key(file) {
            let path = index.with_file_name(file);
            if !path.is_file() {
                return Err(fail(format!(
                    "lists {file}, which is not there; copy it from the model it belongs to"
                )));
            }
            opened.insert(file.clone(), SafeTensors::open(path)?);
        }
        if !opened[file].contains(name) {
            return Err(fail(format!("says that `{name}` is in {file}, which has no such tensor")));
        }
    }
    for (name, file) in &map {
        if let Some((other, _)) =
            opened.iter().find(|(other, f)| *other != file && f.contains(name))
        {
            return Err(fail(format!(
                "says that `{name}` is in {file}, but {other} has one too; only one can be the \
                 model's"
            )));
        }
    }
    Ok(opened.into_values().collect())
}

/// The tensors that an index lists, each with its file.
fn weight_map(index: &Path) -> Result<Vec<(String, String)>> {
    let object = json_object(index)?.unwrap_or_default();
    let fail =
        |message: &str| Error::Checkpoint { path: index.to_path_buf(), message: message.into() };
    let Some(Value::Object(map)) = object.get("weight_map") else {
        return Err(fail("has no `weight_map` that says which file holds which tensor"));
    };
    map.iter()
        .map(|(name, file)| match file.as_str() {
            Some(file) if !file.contains(['/', '\\']) => Ok((name.clone(), file.to_string())),
            _ => Err(fail("names a file outside of the folder")),
        })
        .collect()
}

/// The files of weights that an index lists.
pub(crate) fn shard_names(index: &Path) -> Result<Vec<String>> {
    let mut files: Vec<String> = weight_map(index)?.into_iter().map(|(_, file)| file).collect();
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// The layers that give the logits of labels, in any type.
fn label_layers() -> impl Iterator<Item = &'static str> {
    let inner = FAMILIES.iter().filter_map(|f| Some(f.classifier.as_ref()?.output));
    let scores = FAMILIES.iter().filter_map(|f| f.score);
    std::iter::once("classifier").chain(inner).chain(scores)
}

/// Whether a parameter is one of the layer that gives the logits of labels.
fn is_label_layer(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(layer, _)| label_layers().any(|own| own == layer))
}

/// Whether a parameter holds the word embeddings or the bias again, under the name of the masked-LM
/// decoder.
fn is_decoder(name: &str) -> bool {
    let layer = name.rsplit_once('.').map(|(layer, _)| layer);
    let is_bias = |f: &Family| f.masked_lm.as_ref().is_some_and(|names| names.bias == name);
    FAMILIES.iter().any(|f| f.decoders().any(|own| layer == Some(own)) && !is_bias(f))
}

/// Whether a tensor of a layer is no parameter: GPT-2's older files hold its causal mask.
fn is_buffer(name: &str) -> bool {
    let part = layer_of(name).map(|(_, part)| part);
    FAMILIES.iter().any(|f| f.buffers.iter().any(|own| part == Some(*own)))
}

/// A weight in the layout of the files, or one of the files in that of models: GPT-2's files have
/// `[in, out]` where models have `[out, in]`.
pub(crate) fn in_layout_of_files(name: &str, tensor: Tensor) -> gradus_tensor::Result<Tensor> {
    match is_transposed(name) && tensor.rank() == 2 {
        true => tensor.transpose(0, 1)?.contiguous(),
        false => Ok(tensor),
    }
}

/// The decoders' names of the word embeddings, which are their weight and may be there only so.
fn tied(name: &str) -> impl Iterator<Item = String> {
    let words = bare(name).strip_suffix(".weight");
    let is_words = FAMILIES.iter().any(|f| words == Some(f.embeddings.words));
    let decoders = FAMILIES.iter().flat_map(|f| f.decoders());
    decoders.filter(move |_| is_words).map(|decoder| format!("{decoder}.weight"))
}

/// The decoder's name of a masked-LM head's bias.
fn decoder_bias(name: &str) -> Option<String> {
    let mut heads = FAMILIES.iter().filter_map(|f| f.masked_lm.as_ref());
    heads.find(|names| names.bias == name).map(|names| format!("{}.bias", names.decoder))
}

impl Source for Checkpoint {
    fn tensor(&self, name: &str) -> gradus_tensor::Result<Option<Tensor>> {
        let own = self.of_layer(name);
        let name = own.as_deref().unwrap_or(name);
        let is_head = is_label_layer(name);
        let head = self.head().clone();
        if is_head && head == Head::LeftOut {
            return Ok(None);
        }
        let Some(mut tensor) = self.read(name)? else { return Ok(None) };
        if let (true, Head::Reordered(rows)) = (is_head, &head) {
            tensor = tensor.index_select(0, &Tensor::from_slice(rows, &[rows.len()])?)?;
        }
        Ok(Some(tensor))
    }
}

impl Checkpoint {
    /// A parameter: the adapter's where it has it in full, else that of the files, with the adapter's
    /// low-rank part folded in. `None` for one of a head that is not there.
    fn read(&self, name: &str) -> gradus_tensor::Result<Option<Tensor>> {
        if let Some((adapter, own)) = self.adapted(name) {
            self.take(adapter.name_in_file(&own));
            return adapter.tensor(&own).map(Some);
        }
        let Some(tensor) = self.of_files(name)? else {
            // A low-rank part that no adapter has begins at random.
            let of_files = is_encoder(name) && Lora::layer_of(name).is_none();
            return if of_files { Err(self.lacking(name)) } else { Ok(None) };
        };
        let tensor = in_layout_of_files(name, tensor)?;
        let part = name.strip_suffix(".weight").map(|layer| format!("{layer}.lora_A.weight"));
        let Some((adapter, a)) = part.and_then(|a| self.adapted(&a)) else {
            return Ok(Some(tensor));
        };
        let Some(layer) = Lora::layer_of(&a).filter(|_| !adapter.apart) else {
            return Ok(Some(tensor));
        };
        for part in ["lora_A", "lora_B"] {
            self.take(adapter.name_in_file(&format!("{layer}.{part}.weight")));
        }
        adapter.folded(layer, tensor).map(Some)
    }

    /// A parameter of the files, without what an adapter has for it.
    fn of_files(&self, name: &str) -> gradus_tensor::Result<Option<Tensor>> {
        let Some((found, (part, parts))) = self.find(name) else { return Ok(None) };
        let Some(file) = self.file_of(&found) else { bail!("checkpoint", "{found} is in no file") };
        let tensor = file.tensor(&found)?;
        self.take(Some(&found));
        if parts == 1 {
            return Ok(Some(tensor));
        }
        let rows = tensor.shape().first().copied().unwrap_or(0) / parts;
        tensor.narrow(0, part * rows, rows)?.contiguous().map(Some)
    }

    fn take(&self, name: Option<&str>) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend(name.map(String::from));
    }
}
