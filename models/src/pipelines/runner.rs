//! What the pipelines share: encoding, batches, checks.

use std::borrow::Borrow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use gradus_autograd::no_grad;
use gradus_nn::{Precision, Store};
use gradus_tensor::{DType, Device, Tensor};

use crate::batch::restore_order;
use crate::checkpoint::is_finite;
use crate::folder::Sentence;
use crate::{
    Bert, BertConfig, BertInput, Checkpoint, Encoding, Error, PackedBatch, Pretrained, Result,
    Tokenizer,
};

/// Texts of one batch, unless `set_batch_size` says otherwise.
pub const DEFAULT_BATCH_SIZE: usize = 32;

/// Tokens of one batch, about: a batch ends where one text more would exceed them. More make no
/// batch faster, and take more memory.
pub const BATCH_TOKENS: usize = 4096;

/// A model folder at work, whatever the head.
pub(super) struct Runner {
    pub folder: PathBuf,
    pub config: BertConfig,
    pub tokenizer: Tokenizer,
    pub checkpoint: Checkpoint,
    pub config_path: PathBuf,
    pub sentence: Sentence,
    pub notes: Vec<String>,
    store: Store,
    max_length: usize,
    batch_size: usize,
    batch_tokens: usize,
    truncated: AtomicU64,
    precision: Precision,
}

impl Runner {
    /// Opens a model, whatever sentence-transformers' files say of it.
    pub fn open(model: &str) -> Result<Self> {
        Self::of(Pretrained::open(model)?, Sentence::default())
    }

    /// Opens a model as sentence-transformers does, where its files are there.
    pub fn open_sentence(model: &str) -> Result<Self> {
        let mut pretrained = Pretrained::open(model)?;
        let sentence = pretrained.sentence()?;
        if sentence.lower_case {
            pretrained.tokenizer.lower_case()?;
        }
        Self::of(pretrained, sentence)
    }

    fn of(pretrained: Pretrained, sentence: Sentence) -> Result<Self> {
        let config_path = pretrained.config_path();
        let Pretrained { folder, config, tokenizer, checkpoint, mut notes, .. } = pretrained;
        notes.extend(sentence.notes.iter().cloned());
        // Texts are cut where sentence-transformers cuts them, or else where `transformers` does.
        let length = sentence.max_length.or(tokenizer.max_length());
        let most = config.max_position_embeddings;
        Ok(Runner {
            max_length: length.map_or(most, |length| length.min(most)),
            config_path,
            sentence,
            notes,
            batch_size: DEFAULT_BATCH_SIZE,
            batch_tokens: BATCH_TOKENS,
            truncated: AtomicU64::new(0),
            precision: Precision::F32,
            // Nothing of it is random: what is missing is an error in [`Runner::complete`].
            store: Store::with_source(0, checkpoint.clone()),
            folder,
            config,
            tokenizer,
            checkpoint,
        })
    }

    /// The parameters, from the checkpoint.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the model computes.
    pub fn device(&self) -> Device {
        self.store.device()
    }

    /// Moves the model.
    pub fn to_device(&self, device: Device) -> Result<()> {
        self.precision.check(device)?;
        Ok(self.store.to_device(device)?)
    }

    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        precision.check(self.device())?;
        self.precision = precision;
        Ok(())
    }

    /// Checks that the checkpoint had every parameter; `head` says what its head is and how to come
    /// by one.
    pub fn complete(&self, is_head: impl Fn(&str) -> bool, head: &str) -> Result<()> {
        let missing = self.store.missing();
        if missing.is_empty() {
            return Ok(());
        }
        let rest = missing.iter().find(|name| !is_head(name));
        let advice = match rest {
            None => head.to_string(),
            Some(_) => "it is incomplete, or config.json belongs to another model".to_string(),
        };
        Err(self.unfit(format!("has no {}; {advice}", listed(&missing))))
    }

    /// Whether the checkpoint has a parameter of this name.
    pub fn shape_of(&self, name: &str) -> Result<Option<Vec<usize>>> {
        Ok(self.checkpoint.shape(name))
    }

    /// Refuses a model whose architecture is named otherwise.
    pub fn refuse(&self, architecture: &str, advice: &str) -> Result<()> {
        match self.config.architectures.iter().find(|name| name.contains(architecture)) {
            Some(name) => Err(Error::Config {
                path: self.config_path.clone(),
                message: format!("the model is a {name}; {advice}"),
            }),
            None => Ok(()),
        }
    }

    /// The error of a checkpoint that this pipeline cannot use.
    pub fn unfit(&self, message: impl Into<String>) -> Error {
        Error::Checkpoint { path: self.checkpoint.path().to_path_buf(), message: message.into() }
    }

    pub fn max_length(&self) -> usize {
        self.max_length
    }

    pub fn set_max_length(&mut self, max_length: usize) -> Result<()> {
        let most = self.config.max_position_embeddings;
        if !(1..=most).contains(&max_length) {
            return Err(Error::Input(format!(
                "the maximum length is {max_length}; this model takes 1 to {most} tokens (max_position_embeddings)"
            )));
        }
        // Too short for the special tokens is better said now than with the first text.
        self.tokenizer.encode("", None, max_length)?;
        self.max_length = max_length;
        Ok(())
    }

    pub fn set_batch_size(&mut self, batch_size: usize) -> Result<()> {
        if batch_size == 0 {
            return Err(Error::Input("the batch size is 0; use at least 1".into()));
        }
        self.batch_size = batch_size;
        Ok(())
    }

    pub fn set_batch_tokens(&mut self, batch_tokens: usize) {
        self.batch_tokens = batch_tokens;
    }

    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// Encodes texts, and counts those that were cut.
    pub fn encode<S: AsRef<str> + Sync>(&self, texts: &[(S, Option<S>)]) -> Result<Vec<Encoding>> {
        let encodings = self.tokenizer.encode_batch(texts, self.max_length)?;
        let cut = encodings.iter().filter(|e| e.truncated).count() as u64;
        self.truncated.fetch_add(cut, Ordering::Relaxed);
        Ok(encodings)
    }

    /// Runs `forward` on every batch; it returns one result a sequence. The results are in the
    /// order of `encodings`.
    pub fn run<T: Send, E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
        forward: impl Fn(&BertInput, &PackedBatch, &[usize]) -> Result<Vec<T>> + Sync,
    ) -> Result<Vec<T>> {
        let lengths: Vec<usize> = encodings.iter().map(|e| e.borrow().len()).collect();
        let batches = batches(&lengths, self.batch_size, self.batch_tokens);
        let mut results = Vec::with_capacity(encodings.len());
        for batch in &batches {
            let sequences = batch.iter().map(|&i| encodings[i].borrow());
            let packed = PackedBatch::new(sequences, &self.config)?;
            let input = BertInput::new(&packed)?.to_device(self.device())?;
            // One entry into the thread pool for the whole forward pass. The modes belong to the
            // thread.
            let forward = || forward(&input, &packed, batch);
            let part = rayon::scope(|_| no_grad(|| self.precision.run(forward)))?;
            results.extend(part);
        }
        restore_order(&batches, results)
    }

    /// The attention probabilities of one encoded text: a list a layer, of `heads × tokens ×
    /// tokens` values.
    pub fn attentions(
        &self,
        bert: &Bert,
        encoding: &Encoding,
        layers: Range<usize>,
    ) -> Result<Vec<Vec<f32>>> {
        let layers = self.run(&[encoding], |input, _, _| {
            let layers = bert.attentions(input, layers.clone())?;
            let layers = layers.iter().map(|layer| self.numbers(layer.tensor()));
            Ok(vec![layers.collect::<Result<Vec<_>>>()?])
        })?;
        Ok(layers.into_iter().next().unwrap_or_default())
    }

    /// The values of a float tensor, checked to be numbers.
    pub fn numbers(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let values = tensor.to_dtype(DType::F32)?.to_vec::<f32>()?;
        self.finite(values.iter().all(|v| v.is_finite()))?;
        Ok(values)
    }

    /// The error of an output that is no number, with the weight that is to blame.
    pub fn finite(&self, finite: bool) -> Result<()> {
        if finite {
            return Ok(());
        }
        let bad = self.store.parameters().into_iter().find(|p| !is_finite(&p.tensor()));
        Err(self.unfit(match bad.map(|parameter| parameter.name().to_string()) {
            Some(name) => format!(
                "the model's output is not a number, because `{name}` holds a NaN or an infinity; the checkpoint is \
                 damaged, or its training diverged"
            ),
            None => "the model's output is not a number, though all weights are; they are too large to compute with"
                .to_string(),
        }))
    }

    /// The names in the checkpoint that nothing asked for.
    pub fn unexpected(&self) -> Vec<String> {
        self.checkpoint.unexpected()
    }
}

/// Checks that there is one encoding a text.
pub(super) fn same_number<E>(texts: &[&str], others: &[E]) -> Result<()> {
    match texts.len() == others.len() {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "{} texts and {} encodings or options; pass one a text",
            texts.len(),
            others.len()
        ))),
    }
}

/// Names for a message: the first few, and how many more.
fn listed(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(4) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}

/// Batches of texts of similar length, the longest first, so that memory peaks at once.
fn batches(lengths: &[usize], batch_size: usize, batch_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for i in order {
        match batches.last_mut() {
            Some(last) if last.len() < batch_size && tokens + lengths[i] <= batch_tokens => {
                last.push(i);
                tokens += lengths[i];
            }
            _ => {
                batches.push(vec![i]);
                tokens = lengths[i];
            }
        }
    }
    batches
}

/// The methods that every pipeline has, by delegation to its runner.
macro_rules! runner_methods {
    () => {
        /// The model's configuration.
        pub fn config(&self) -> &crate::BertConfig {
            &self.runner.config
        }

        /// The model's tokenizer.
        pub fn tokenizer(&self) -> &crate::Tokenizer {
            &self.runner.tokenizer
        }

        /// The tokens of a text at most, special ones included; longer texts are cut.
        pub fn max_length(&self) -> usize {
            self.runner.max_length()
        }

        /// Where the model computes.
        pub fn device(&self) -> gradus_tensor::Device {
            self.runner.device()
        }

        /// Sets the texts of a batch at most.
        ///
        /// # Errors
        /// [`Error::Input`](crate::Error::Input) when it is 0.
        pub fn set_batch_size(&mut self, batch_size: usize) -> crate::Result<()> {
            self.runner.set_batch_size(batch_size)
        }

        /// Sets the tokens of a batch, about: [`BATCH_TOKENS`](crate::pipelines::BATCH_TOKENS)
        /// unless set. A text that has more is a batch of its own.
        pub fn set_batch_tokens(&mut self, batch_tokens: usize) {
            self.runner.set_batch_tokens(batch_tokens);
        }

        /// What a person should be told of the folder: settings that Gradus does not know, and the
        /// like.
        pub fn notes(&self) -> &[String] {
            &self.runner.notes
        }

        /// The folder of the model.
        pub fn folder(&self) -> &std::path::Path {
            &self.runner.folder
        }

        /// What every head of these layers attends to in an encoded text: a list a layer, of
        /// `heads × tokens × tokens` values, head by head, row by row; a row sums to 1.
        ///
        /// # Errors
        /// When the encoding does not fit the model, the model has no such layers, or an output is
        /// not a number (the weight to blame is named).
        pub fn attentions(
            &self,
            encoding: &crate::Encoding,
            layers: std::ops::Range<usize>,
        ) -> crate::Result<Vec<Vec<f32>>> {
            self.runner.attentions(self.bert(), encoding, layers)
        }

        /// How many texts were cut to the maximum length since the model was opened.
        pub fn truncated(&self) -> u64 {
            self.runner.truncated()
        }

        /// Names in the checkpoint that this pipeline does not use, sorted.
        pub fn unexpected(&self) -> Vec<String> {
            self.runner.unexpected()
        }
    };
}
pub(super) use runner_methods;

/// Those of a pipeline that has no state of its own beside the runner's.
macro_rules! runner_setters {
    () => {
        /// Moves the model to `device`, where it then computes; it is opened on the CPU.
        ///
        /// # Errors
        /// When the device is not there, or cannot hold the model.
        pub fn to_device(&mut self, device: gradus_tensor::Device) -> crate::Result<()> {
            self.runner.to_device(device)
        }

        /// Sets the precision in which the model computes: f32 unless set. Results are f32 in
        /// either.
        ///
        /// # Errors
        /// When the model's device does not compute in it.
        pub fn set_precision(&mut self, precision: gradus_nn::Precision) -> crate::Result<()> {
            self.runner.set_precision(precision)
        }

        /// Sets the tokens of a text at most.
        ///
        /// # Errors
        /// [`Error::Input`](crate::Error::Input) when the model has fewer positions, or there is no
        /// room for the special tokens.
        pub fn set_max_length(&mut self, max_length: usize) -> crate::Result<()> {
            self.runner.set_max_length(max_length)
        }
    };
}
pub(super) use runner_setters;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_both_limits() {
        let lengths = [5, 4000, 90, 3, 7, 5000, 100];
        assert_eq!(batches(&lengths, 3, 4096), [vec![5], vec![1], vec![6, 2, 4], vec![0, 3]]);
        assert_eq!(batches(&lengths, 100, 4096), [vec![5], vec![1], vec![6, 2, 4, 0, 3]]);
        assert_eq!(batches(&[4000, 96, 1], 8, 4096), [vec![0, 1], vec![2]]);
        assert!(batches(&[], 8, 4096).is_empty());
    }

    #[test]
    fn many_names_are_shortened() {
        let names: Vec<String> = (0..6).map(|i| format!("p{i}")).collect();
        assert_eq!(listed(&names), "`p0`, `p1`, `p2`, `p3` and 2 more");
        assert_eq!(listed(&names[..2]), "`p0`, `p1`");
    }
}
