//! A model folder: opened, and written.
//!
//! ```no_run
//! use gradus_models::{Pooling, Pretrained, SequenceClassifier};
//!
//! # fn main() -> gradus_models::Result<()> {
//! let pretrained = Pretrained::open("google-bert/bert-base-uncased")?;
//! let store = pretrained.store(0); // the seed of a head that the checkpoint lacks
//! let model = SequenceClassifier::new(&store.root(), &pretrained.config, Pooling::Cls, 3)?;
//! println!("at random: {:?}", store.missing());
//! # Ok(())
//! # }
//! ```

mod head;

use std::path::{Path, PathBuf};

use gradus_nn::Store;
use gradus_tensor::io::safetensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adapter::{Adapter, SETTINGS, WEIGHTS as ADAPTER_WEIGHTS, is_adapter};
use crate::checkpoint::WEIGHTS;
use crate::folder::{Layout, Sentence, SentenceSettings, SimilarityFunction, Stage};
use crate::tokenizer::has_tokenizer;
use crate::{Checkpoint, EncoderConfig, Error, Pooling, Result, Task, Tokenizer, hub, interchange};

/// A model to open: a folder or a hub id; `"runs/mine".into()`.
#[derive(Clone, Copy, Debug)]
pub struct ModelRef<'a> {
    /// The folder or the hub id.
    pub model: &'a str,
    /// The base of an adapter, where it is not the one that the adapter names. A whole model has no
    /// base and ignores this.
    pub base: Option<&'a str>,
    /// Whether the low-rank parts of an adapter are parameters of their own, for training it further;
    /// otherwise they are folded into the weights. The store must then be adapted
    /// ([`Recipe::adapt`](crate::training::Recipe::adapt)).
    pub apart: bool,
}

impl<'a> From<&'a str> for ModelRef<'a> {
    fn from(model: &'a str) -> Self {
        ModelRef { model, base: None, apart: false }
    }
}

impl<'a> From<&'a String> for ModelRef<'a> {
    fn from(model: &'a String) -> Self {
        model.as_str().into()
    }
}

/// The base of an opened adapter, or of one to be trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The folder or hub id, as PEFT finds it.
    pub name: String,
    /// A hash of its weights.
    pub hash: String,
}

/// A pretrained model's parts, before a model is built from them.
pub struct Pretrained {
    /// The folder.
    pub folder: PathBuf,
    /// Its config.json.
    pub config: EncoderConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its weights.
    pub checkpoint: Checkpoint,
    /// Notes for a person about the folder, such as settings that Gradus does not know.
    pub notes: Vec<String>,
    /// The folder or hub id of the base, where the model is an adapter.
    pub base: Option<String>,
    layout: Layout,
}

impl Pretrained {
    /// Opens a folder, or fetches a hub id: a whole model, or an adapter with its base.
    ///
    /// # Errors
    /// When the folder cannot be fetched or is malformed, or asks for something that Gradus does
    /// not have; [`Error::MissingBase`] for an adapter whose base cannot be opened.
    pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Self> {
        let model = model.into();
        let (folder, notes) = hub::resolved(model.model)?;
        let layout = Layout::read(&folder)?;
        match is_adapter(&layout.transformer) {
            true => Self::adapted(folder, layout, notes, model),
            false => Self::whole(folder, layout, notes),
        }
    }

    fn whole(folder: PathBuf, layout: Layout, mut notes: Vec<String>) -> Result<Self> {
        let within = &layout.transformer;
        refuse_others(&[&folder, within])?;
        let config = EncoderConfig::load(within.join("config.json"))?;
        let tokenizer = Tokenizer::from_folder(within)?;
        let path = within.join("config.json");
        notes.extend(layout.notes.iter().cloned());
        notes.extend(config.notes());
        notes.extend(tokenizer.notes().iter().cloned());
        notes.extend(beyond(&tokenizer, &config).map_err(|message| Error::config(path, message))?);
        let checkpoint = Checkpoint::open(within)?;
        notes.extend(fits(&checkpoint, &config)?);
        Ok(Pretrained { config, tokenizer, checkpoint, notes, folder, base: None, layout })
    }

    /// The base of an adapter with the adapter's weights, and with the files that the adapter has of
    /// its own.
    fn adapted(
        folder: PathBuf,
        mut layout: Layout,
        mut notes: Vec<String>,
        model: ModelRef,
    ) -> Result<Self> {
        let within = layout.transformer.clone();
        let (adapter, told) = Adapter::open(&within, model.apart)?;
        let name = adapter.base(model.base)?;
        let base = Self::base_of(&within, &name)?;
        notes.extend(layout.notes.iter().cloned().chain(told).chain(base.notes));
        let own = |name: &str| within.join(name).is_file();
        let config = match own("config.json") {
            true => EncoderConfig::load(within.join("config.json"))?,
            false => {
                let config = adapter.config(&base.config)?;
                // The modules after the base's encoder are not for another head.
                let modules = if config.task() == Task::Embed { base.layout.modules } else { None };
                if layout.modules.is_none() {
                    layout = Layout { modules, ..base.layout };
                }
                config
            }
        };
        let tokenizer = match has_tokenizer(&within) {
            true => Tokenizer::from_folder(&within)?,
            false => base.tokenizer,
        };
        let path = within.join(SETTINGS);
        notes.extend(beyond(&tokenizer, &config).map_err(|message| Error::config(path, message))?);
        adapter.check_task(&config)?;
        let checkpoint = base.checkpoint.with_adapter(adapter)?;
        Ok(Pretrained { config, tokenizer, checkpoint, notes, folder, base: Some(name), layout })
    }

    /// Opens the base of the adapter in `folder`.
    fn base_of(folder: &Path, name: &str) -> Result<Self> {
        let fail = |message: String| Error::MissingBase { path: folder.join(SETTINGS), message };
        let open = || {
            let (folder, notes) = hub::resolved(name)?;
            let layout = Layout::read(&folder)?;
            match is_adapter(&layout.transformer) {
                true => {
                    Err(fail(format!("the base `{name}` is an adapter itself; merge it first")))
                }
                false => Self::whole(folder, layout, notes),
            }
        };
        open().map_err(|error| match error {
            error @ Error::MissingBase { .. } => error,
            error => fail(format!("the base `{name}` cannot be opened: {error}")),
        })
    }

    /// The base for an adapter that is trained on this model: its own base if it is an adapter.
    ///
    /// # Errors
    /// When the weights cannot be read.
    pub fn as_base(&self, name: &str) -> Result<Base> {
        let name = self.base.as_deref().unwrap_or(name);
        Ok(Base { name: name.to_string(), hash: self.checkpoint.hash()? })
    }

    /// The task of the model's head. A folder of sentence-transformers (modules.json) embeds unless
    /// it is a cross-encoder, which classifies; for any other folder see [`EncoderConfig::task`].
    ///
    /// # Errors
    /// When a file of sentence-transformers is malformed.
    pub fn task(&self) -> Result<Task> {
        Ok(match self.layout.modules {
            Some(_) if self.sentence()?.cross_encoder => Task::Classify,
            Some(_) if self.is_sparse()? => Task::FillMask,
            Some(_) => Task::Embed,
            None => self.config.task(),
        })
    }

    /// Whether the folder is a sparse encoder of sentence-transformers.
    pub(crate) fn is_sparse(&self) -> Result<bool> {
        let lists = |layout: &Layout| {
            layout.modules.iter().flatten().any(|module| module.kind == "SpladePooling")
        };
        Ok(lists(&self.layout) && self.sentence()?.splade.is_some())
    }

    /// Reads the files of sentence-transformers.
    pub(crate) fn sentence(&self) -> Result<Sentence> {
        Sentence::read(&self.layout)
    }

    /// The folders of the model's parts.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The file that holds the configuration, for errors.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.layout.transformer.join("config.json")
    }

    /// Follows the files of sentence-transformers as far as a new classifier on the encoder can:
    /// lower case, and the pooling, which is returned (Gradus's own key in config.json, or the one
    /// mode of the folder; `None` where the folder names none). [`Pretrained::notes`] tells what
    /// cannot be followed.
    ///
    /// # Errors
    /// When an added token has no lower case.
    pub fn follow_sentence(&mut self) -> Result<Option<Pooling>> {
        let sentence = match self.sentence() {
            Ok(sentence) => sentence,
            Err(error) => {
                self.notes.push(format!(
                    "Gradus ignores the folder's sentence-transformers files and their pooling: \
                     {error}"
                ));
                return Ok(self.config.pooling);
            }
        };
        if sentence.lower_case {
            self.tokenizer.lower_case()?;
        }
        self.notes.extend(sentence.notes);
        if self.config.pooling.is_some() || sentence.cross_encoder {
            return Ok(self.config.pooling);
        }
        let (mut pooling, mut left_out) = (None, Vec::new());
        for stage in &sentence.stages {
            match stage {
                Stage::Pool { modes, .. } => match modes.as_slice() {
                    [one] => pooling = Some(*one),
                    _ => left_out.push("the joining of several poolings"),
                },
                Stage::Dense(_) => left_out.push("Dense"),
                Stage::LayerNorm { .. } => left_out.push("LayerNorm"),
                Stage::Normalize => {}
            }
        }
        if !left_out.is_empty() {
            let parts = left_out.join(", ");
            self.notes.push(format!(
                "a classifier takes the encoder and the pooling of the folder; it leaves out \
                 {parts}"
            ));
        }
        Ok(pooling)
    }

    /// What the folder says of embeddings, for a model that is trained further: its pooling,
    /// lengths and prompts. The tokenizer then has the folder's lower case. A folder without files of
    /// sentence-transformers gets the usual settings.
    ///
    /// # Errors
    /// When the folder is a cross-encoder or has modules with weights after the pooling, and as
    /// [`TextEmbedder::open`](crate::pipelines::TextEmbedder::open).
    pub fn sentence_settings(&mut self) -> Result<SentenceSettings> {
        let sentence = self.sentence()?;
        if sentence.cross_encoder {
            return Err(Error::OtherTask {
                path: self.config_path(),
                model: "a cross-encoder, which scores pairs of texts and has no embeddings".into(),
                task: Task::Classify,
            });
        }
        if sentence.splade.is_some() {
            let message = "lists a SpladePooling: the model is a sparse encoder, which Gradus runs but \
                           does not train; train it as a masked language model";
            return Err(Error::config(self.folder.join("modules.json"), message));
        }
        let settings = SentenceSettings::of(&sentence).map_err(|module| {
            let message = format!(
                "lists a {module}, whose weights Gradus uses but does not train; train a model \
                 that ends with its pooling"
            );
            Error::config(self.folder.join("modules.json"), message)
        })?;
        if sentence.lower_case {
            self.tokenizer.lower_case()?;
        }
        if sentence.similarity != SimilarityFunction::Cosine {
            let name = format!("{:?}", sentence.similarity).to_lowercase();
            self.notes.push(format!(
                "the folder compares by {name}; training compares by the cosine, and so will the \
                 trained model"
            ));
        }
        self.notes.extend(sentence.notes);
        Ok(settings)
    }

    /// Checks that the decoder of a language model is its word embeddings, as
    /// [`MaskedLm`](crate::MaskedLm) and [`CausalLm`](crate::CausalLm) compute it.
    ///
    /// # Errors
    /// When config.json says that it is not (`tie_word_embeddings`), or the files have a decoder
    /// with other values.
    pub fn check_decoder(&self) -> Result<()> {
        if self.config.extra.get("tie_word_embeddings") == Some(&Value::Bool(false)) {
            let message = "tie_word_embeddings is false: Gradus's language models share the word \
                           embeddings";
            return Err(Error::config(self.config_path(), message));
        }
        self.checkpoint.check_decoder(self.config.family())
    }

    /// A store whose parameters come from the checkpoint; `seed` initialises those of a head that
    /// the checkpoint lacks.
    pub fn store(&self, seed: u64) -> Store {
        Store::with_source(seed, self.checkpoint.clone())
    }

    /// Lets models be built of these layers alone, counted from 0.
    ///
    /// ```no_run
    /// use gradus_models::Pretrained;
    ///
    /// # fn main() -> gradus_models::Result<()> {
    /// let mut half = Pretrained::open("google-bert/bert-base-uncased")?;
    /// half.keep_layers(&[0, 2, 4, 7, 9, 11])?;
    /// assert_eq!(half.config.num_hidden_layers, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] when there are none, they do not ascend, or the model has no such layer.
    pub fn keep_layers(&mut self, layers: &[usize]) -> Result<()> {
        let all = self.config.num_hidden_layers;
        let ascend = layers.windows(2).all(|pair| pair[0] < pair[1]);
        if layers.is_empty() || !ascend || layers.iter().any(|&layer| layer >= all) {
            let names: Vec<String> = layers.iter().map(usize::to_string).collect();
            return Err(Error::Input(format!(
                "the layers {} must ascend, and be layers of the model, 0 to {}",
                names.join(","),
                all.saturating_sub(1)
            )));
        }
        self.config.num_hidden_layers = layers.len();
        self.checkpoint.set_layers(layers.to_vec());
        Ok(())
    }
}

/// Refuses folders whose model is more than `model.safetensors`.
fn refuse_others(folders: &[&Path]) -> Result<()> {
    const OTHERS: [(&str, &str); 2] = [
        (
            SETTINGS,
            "an adapter must lie in the folder of the encoder, beside its adapter_model.safetensors",
        ),
        ("router_config.json", "a Router chooses between models; Gradus has none"),
    ];
    for folder in folders {
        for (name, why) in OTHERS {
            let path = folder.join(name);
            if path.is_file() {
                return Err(Error::config(path, why));
            }
        }
    }
    Ok(())
}

/// Checks that the weights are those of the model's type. The note tells of layers that are not used.
fn fits(checkpoint: &Checkpoint, config: &EncoderConfig) -> Result<Option<String>> {
    if let Some(name) = checkpoint.foreign(config.family()) {
        let class = if config.model_type == "bert" { "BERT" } else { config.family().class };
        return Err(Error::Checkpoint {
            path: checkpoint.path().to_path_buf(),
            message: format!(
                "`{name}` is not a parameter of {class}: the model has another architecture, \
                 although config.json calls it `{}`; run it with its own code",
                config.model_type
            ),
        });
    }
    let (layers, used) = (checkpoint.layers(), config.num_hidden_layers);
    Ok((layers > used).then(|| {
        format!(
            "the checkpoint has {layers} layers; the model uses the first {used} \
            (num_hidden_layers)"
        )
    }))
}

/// Checks that the tokenizer's ids are rows of the word embedding. The note names added tokens
/// without a row: a text with one is refused when it is encoded.
fn beyond(tokenizer: &Tokenizer, config: &EncoderConfig) -> Result<Option<String>, String> {
    if tokenizer.vocab_size() <= config.vocab_size {
        return Ok(None);
    }
    let added = tokenizer.added();
    let outside = |id: &u32| *id as usize >= config.vocab_size;
    if (config.vocab_size as u32..tokenizer.vocab_size() as u32).any(|id| !added.contains_key(&id))
    {
        return Err(format!(
            "vocab_size is {}, but the tokenizer has {} tokens; they belong to different models",
            config.vocab_size,
            tokenizer.vocab_size()
        ));
    }
    let names: Vec<&str> =
        added.iter().filter(|(id, _)| outside(id)).map(|(_, name)| name.as_str()).collect();
    Ok(Some(format!(
        "the model has no embedding for the added tokens {} (vocab_size is {}): texts with one of \
         them are refused",
        names.join(", "),
        config.vocab_size
    )))
}

/// Writes a model folder that `transformers` can load. Each file is written under another name and
/// renamed, the weights and config.json last: a folder that had a good model never holds half of
/// another.
///
/// `dtype` in config.json is that of the weights. A classifier with another pooling than BERT's
/// gets the Python class that `transformers` lacks.
///
/// # Errors
/// When a file cannot be written.
pub fn save_folder(
    folder: &Path,
    config: &EncoderConfig,
    tokenizer: &Tokenizer,
    store: &Store,
) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
    tokenizer.save(folder)?;
    interchange::write_files(folder, config)?;
    let parameters = store.parameters();
    let dtype = parameters.first().map_or(gradus_tensor::DType::F32, |p| p.tensor().dtype());
    let tensors = parameters.iter().map(|p| (p.name().to_string(), p.tensor())).collect();
    safetensors::save(folder.join(WEIGHTS), interchange::tensors(config, tensors)?, None)?;
    remove_files(folder, &[crate::checkpoint::INDEX, SETTINGS, ADAPTER_WEIGHTS])?;
    interchange::config(config, dtype).save(folder.join("config.json"))
}

/// Removes files of an older model, which would go before the new ones.
pub(crate) fn remove_files(folder: &Path, names: &[&str]) -> Result<()> {
    let present = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
    present.into_iter().try_for_each(|path| {
        std::fs::remove_file(&path).map_err(|source| Error::Io { path, source })
    })
}
