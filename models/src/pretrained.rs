//! A model folder: opened, and written.

use std::path::{Path, PathBuf};

use gradus_nn::Store;
use gradus_tensor::io::safetensors;

use crate::checkpoint::{Head, WEIGHTS};
use crate::folder::{Layout, Sentence, Stage};
use crate::{
    BertConfig, Checkpoint, Error, Labels, Pooling, Result, Task, Tokenizer, hub, interchange,
};

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
    /// What a person should be told about the folder: settings that Gradus does not know, and the
    /// like.
    pub notes: Vec<String>,
    layout: Layout,
}

impl Pretrained {
    /// Opens a folder, or fetches a hub id.
    ///
    /// # Errors
    /// When it cannot be had, is malformed, or says what Gradus cannot do.
    pub fn open(model: &str) -> Result<Self> {
        let (folder, mut notes) = hub::resolved(model)?;
        let layout = Layout::read(&folder)?;
        let within = &layout.transformer;
        refuse_others(&[&folder, within])?;
        let config = BertConfig::load(within.join("config.json"))?;
        let tokenizer = Tokenizer::from_folder(within)?;
        let path = within.join("config.json");
        notes.extend(layout.notes.iter().cloned());
        notes.extend(config.notes());
        notes.extend(tokenizer.notes().iter().cloned());
        notes.extend(beyond(&tokenizer, &config).map_err(|message| Error::config(path, message))?);
        let checkpoint = Checkpoint::open(within)?;
        notes.extend(fits(&checkpoint, &config)?);
        Ok(Pretrained { config, tokenizer, checkpoint, notes, folder, layout })
    }

    /// The task of the model's head. A folder of sentence-transformers (modules.json) embeds unless
    /// it is a cross-encoder, which classifies; for any other folder see [`BertConfig::task`].
    ///
    /// # Errors
    /// When a file of sentence-transformers is malformed.
    pub fn task(&self) -> Result<Task> {
        Ok(match self.layout.modules {
            Some(_) if self.sentence()?.cross_encoder => Task::Classify,
            Some(_) => Task::Embed,
            None => self.config.task(),
        })
    }

    /// What sentence-transformers' files say.
    pub(crate) fn sentence(&self) -> Result<Sentence> {
        Sentence::read(&self.layout)
    }

    /// The file that holds the configuration, for errors.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.layout.transformer.join("config.json")
    }

    /// Follows sentence-transformers' files as far as a classifier can that is trained on the
    /// encoder: lower case, and how a text's tokens become one vector (Gradus's own key in
    /// config.json, or the one mode of the folder). `None` where nothing is said of it. What cannot
    /// be followed is told in [`Pretrained::notes`].
    ///
    /// # Errors
    /// When an added token has no lower case.
    pub fn follow_sentence(&mut self) -> Result<Option<Pooling>> {
        let sentence = match self.sentence() {
            Ok(sentence) => sentence,
            Err(error) => {
                self.notes.push(format!(
                    "the files of sentence-transformers in the folder are not followed, nor its pooling: {error}"
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
                "a classifier takes encoder and pooling of the folder; left out is what else it has: {parts}"
            ));
        }
        Ok(pooling)
    }

    /// A store whose parameters come from the checkpoint; `seed` is for those of a head that it
    /// lacks.
    pub fn store(&self, seed: u64) -> Store {
        Store::with_source(seed, self.checkpoint.clone())
    }

    /// Fits the checkpoint's classification head to the labels of a data set, before a classifier
    /// is built: a head with the same labels is taken (in another order, its rows are put in the
    /// new one), any other begins anew. What the folder says of the old head's outputs is then
    /// dropped.
    ///
    /// Returns what to tell: `None` where the head is taken as it is, or there is none.
    pub fn fit_head(&mut self, labels: &Labels) -> Option<String> {
        let shape = self.checkpoint.shape("classifier.weight")?;
        let head = match self.of_another_task() {
            Some(task) => Err(format!("it is for {task}")),
            None => rows(&self.config, labels, shape.first().copied().unwrap_or(0)),
        };
        let (head, note) = match head {
            Ok(rows) if rows.iter().copied().eq(0..labels.len() as u32) => (Head::Kept, None),
            Ok(rows) => {
                let note = "the checkpoint's classification head has the labels in another order; its rows were reordered";
                (Head::Reordered(rows), Some(note.to_string()))
            }
            Err(why) => {
                for key in ["sentence_transformers", "sbert_ce_default_activation_function"] {
                    self.config.extra.remove(key);
                }
                (
                    Head::LeftOut,
                    Some(format!(
                        "the classification head begins anew: the checkpoint's is another ({why})"
                    )),
                )
            }
        };
        self.checkpoint.set_head(head);
        note
    }

    /// What other task than the classification of texts the head is for, where the folder says so.
    fn of_another_task(&self) -> Option<&'static str> {
        let has = |head: &str| self.config.architectures.iter().any(|name| name.contains(head));
        match () {
            () if has("TokenClassification") => Some("words, not texts"),
            () if has("MultipleChoice") => Some("multiple choice"),
            () => None,
        }
    }
}

/// For each label of the data the row of the checkpoint's head; or why there is none.
fn rows(config: &BertConfig, labels: &Labels, outputs: usize) -> Result<Vec<u32>, String> {
    let count = |n: usize| if n == 1 { "1 label".to_string() } else { format!("{n} labels") };
    if outputs != labels.len() {
        return Err(format!("it has {}, the data has {}", count(outputs), count(labels.len())));
    }
    let of = |place: usize, label: &String| {
        let named = config.id2label.iter().position(|name| name == label);
        // `LABEL_2` is what `transformers` calls a label that has no name.
        let generic = || {
            let unnamed =
                config.id2label.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"));
            (unnamed && *label == place.to_string()).then_some(place)
        };
        named.or_else(generic).map(|row| row as u32)
    };
    let rows: Option<Vec<u32>> = labels.names().iter().enumerate().map(|(i, l)| of(i, l)).collect();
    rows.ok_or_else(|| {
        let some = |names: &[String]| {
            let first: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
            format!("{}{}", first.join(", "), if names.len() > 3 { ", …" } else { "" })
        };
        format!("its labels are {}, the data's {}", some(&config.id2label), some(labels.names()))
    })
}

/// Refuses folders whose model is not in `model.safetensors` alone.
fn refuse_others(folders: &[&Path]) -> Result<()> {
    const OTHERS: [(&str, &str); 2] = [
        (
            "adapter_config.json",
            "an adapter changes the weights; merge it into the model first (PEFT: `merge_and_unload`)",
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

/// Checks that the weights are those of a BERT; tells of layers that are left out.
fn fits(checkpoint: &Checkpoint, config: &BertConfig) -> Result<Option<String>> {
    if let Some(name) = checkpoint.foreign() {
        return Err(Error::Checkpoint {
            path: checkpoint.path().to_path_buf(),
            message: format!(
                "`{name}` is no parameter of BERT: the model is of another architecture, though config.json calls it \
                 `bert`; run it with the code that it comes with"
            ),
        });
    }
    let (layers, used) = (checkpoint.layers(), config.num_hidden_layers);
    Ok((layers > used).then(|| {
        format!("the checkpoint has {layers} layers, of which the first {used} are used (num_hidden_layers)")
    }))
}

/// Checks that the tokenizer's ids are rows of the word embedding. Tokens that were added beside
/// the vocabulary may lie beyond, as long as no text holds them; that is told.
fn beyond(tokenizer: &Tokenizer, config: &BertConfig) -> Result<Option<String>, String> {
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
        "the model has no embedding for the added tokens {} (vocab_size is {}): a text that holds one is refused",
        names.join(", "),
        config.vocab_size
    )))
}

/// Writes a model folder that `transformers` can load. Each file is written aside and renamed, the
/// weights last but the config: a folder that had a good model never holds half of another.
///
/// `dtype` in config.json says what the weights are. A classifier on another pooling than BERT's
/// comes with the Python class that `transformers` lacks.
pub fn save_folder(
    folder: &Path,
    config: &BertConfig,
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
    remove_older_weights(folder)?;
    interchange::config(config, dtype).save(folder.join("config.json"))
}

/// An index left from another model would say that its weights are split.
fn remove_older_weights(folder: &Path) -> Result<()> {
    let index = folder.join(crate::checkpoint::INDEX);
    match index.is_file() {
        true => std::fs::remove_file(&index).map_err(|e| Error::io(&index, e)),
        false => Ok(()),
    }
}
