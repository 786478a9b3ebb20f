//! The part that all pipelines share: the opened folder, encoding, batches, checks.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gradus_autograd::no_grad;
use gradus_nn::{Precision, Store};
use gradus_tensor::{DType, Device, Tensor};

use crate::batch::restore_order;
use crate::checkpoint::is_finite;
use crate::error::listed;
use crate::family::is_head;
use crate::folder::Sentence;
use crate::{
    Checkpoint, EncoderConfig, EncoderInput, Encoding, Error, PackedBatch, Pretrained, Result,
    Task, Tokenizer,
};

/// Texts of one batch, unless [`Runner::set_batch_size`] says otherwise.
pub const DEFAULT_BATCH_SIZE: usize = 32;

/// Tokens of one batch, about: a batch ends where one text more would exceed them. More tokens make
/// no batch faster, and take more memory.
pub const BATCH_TOKENS: usize = 4096;

/// An opened model folder, ready to run texts in batches: the part that all pipelines share.
pub struct Runner {
    pub(super) folder: PathBuf,
    pub(super) config: EncoderConfig,
    pub(super) config_path: PathBuf,
    pub(super) tokenizer: Tokenizer,
    pub(super) checkpoint: Checkpoint,
    notes: Vec<String>,
    /// The base, where the model is an adapter.
    base: Option<String>,
    /// The parameters of the encoder and its head; then those of each module after them.
    stores: Vec<Store>,
    max_length: usize,
    batch_size: usize,
    batch_tokens: usize,
    truncated: AtomicU64,
    precision: Precision,
}

impl Runner {
    /// For a model that ignores the files of sentence-transformers.
    pub(super) fn new(pretrained: Pretrained) -> Self {
        Self::limited(pretrained, None)
    }

    /// For a model that may come from sentence-transformers, with the settings of its files.
    pub(super) fn with_sentence(mut pretrained: Pretrained) -> Result<(Self, Sentence)> {
        let sentence = pretrained.sentence()?;
        if sentence.lower_case {
            pretrained.tokenizer.lower_case()?;
        }
        let mut runner = Self::limited(pretrained, sentence.max_length);
        runner.notes.extend(sentence.notes.iter().cloned());
        Ok((runner, sentence))
    }

    /// Texts are cut at `max_length`, else where `transformers` cuts them.
    fn limited(pretrained: Pretrained, max_length: Option<usize>) -> Self {
        let config_path = pretrained.config_path();
        let Pretrained { folder, config, tokenizer, checkpoint, notes, base, .. } = pretrained;
        let length = max_length.or(tokenizer.max_length());
        let positions = config.max_tokens();
        Runner {
            max_length: length.map_or(positions, |length| length.min(positions)),
            config_path,
            notes,
            base,
            batch_size: DEFAULT_BATCH_SIZE,
            batch_tokens: BATCH_TOKENS,
            truncated: AtomicU64::new(0),
            precision: Precision::F32,
            // The seed is never used: [`Runner::complete`] refuses a parameter that is missing.
            stores: vec![Store::with_source(0, checkpoint.clone())],
            folder,
            config,
            tokenizer,
            checkpoint,
        }
    }

    /// The model's configuration.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The folder of the model.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes for a person about the folder, such as settings that Gradus does not know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn add_notes(&mut self, notes: Vec<String>) {
        self.notes.extend(notes);
    }

    /// The folder or hub id of the base into which the model, an adapter, is folded; `None` for a
    /// whole model.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Names in the checkpoint that this pipeline does not use, sorted.
    pub fn unexpected(&self) -> Vec<String> {
        self.checkpoint.unexpected()
    }

    /// Where the model computes.
    pub fn device(&self) -> Device {
        self.store().device()
    }

    /// Moves the model to `device`, where it then computes; it is opened on the CPU.
    ///
    /// # Errors
    /// When the device is not there, or cannot hold the model.
    pub fn to_device(&mut self, device: Device) -> Result<()> {
        self.precision.check(device)?;
        Ok(self.stores.iter().try_for_each(|store| store.to_device(device))?)
    }

    /// Sets the precision in which the model computes: f32 unless set. Results are f32 in either.
    ///
    /// # Errors
    /// When the model's device does not compute in it.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        precision.check(self.device())?;
        self.precision = precision;
        Ok(())
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// The maximum of a text's tokens, special ones included; longer texts are cut.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets the maximum of a text's tokens.
    ///
    /// # Errors
    /// [`Error::Input`] when the model has fewer positions, or there is no room for the special
    /// tokens.
    pub fn set_max_length(&mut self, max_length: usize) -> Result<()> {
        let positions = self.config.max_tokens();
        if !(1..=positions).contains(&max_length) {
            return Err(Error::Input(format!(
                "the maximum length is {max_length}; this model takes 1 to {positions} tokens \
                 (max_position_embeddings)"
            )));
        }
        // A limit below the number of special tokens fails here, not with the first text.
        self.tokenizer.encode("", None, max_length)?;
        self.max_length = max_length;
        Ok(())
    }

    /// Sets the maximum of a batch's texts.
    ///
    /// # Errors
    /// [`Error::Input`] when it is 0.
    pub fn set_batch_size(&mut self, batch_size: usize) -> Result<()> {
        if batch_size == 0 {
            return Err(Error::Input("the batch size is 0; use at least 1".into()));
        }
        self.batch_size = batch_size;
        Ok(())
    }

    /// Sets the tokens of a batch, about: [`BATCH_TOKENS`] unless set. A text that has more is a
    /// batch of its own.
    pub fn set_batch_tokens(&mut self, batch_tokens: usize) {
        self.batch_tokens = batch_tokens;
    }

    /// How many texts were cut to the maximum length since the model was opened.
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// The parameters of the encoder and its head, from the checkpoint.
    pub(super) fn store(&self) -> &Store {
        &self.stores[0]
    }

    /// Adds the parameters of modules after the head, which move with the model.
    pub(super) fn add_stores(&mut self, stores: Vec<Store>) {
        self.stores.extend(stores);
    }

    /// Checks that the checkpoint had every parameter of a model for `task`.
    pub(super) fn complete(&self, task: Task) -> Result<()> {
        let missing = self.store().missing();
        if missing.is_empty() {
            return Ok(());
        }
        Err(match missing.iter().all(|name| is_head(name)) {
            true => self.missing_head(task, missing),
            false => self.unfit(format!(
                "has no {}; it is incomplete, or config.json belongs to another model",
                listed(&missing)
            )),
        })
    }

    /// The error of a checkpoint without the head of `task`.
    pub(super) fn missing_head(&self, task: Task, parameters: Vec<String>) -> Error {
        let path = self.checkpoint.path().to_path_buf();
        Error::MissingHead { path, task, architecture: self.config.architecture(task), parameters }
    }

    /// Refuses a model whose head is for `other`.
    pub(super) fn refuse(&self, other: Task) -> Result<()> {
        if self.config.task() != other {
            return Ok(());
        }
        Err(Error::OtherTask {
            path: self.config_path.clone(),
            model: format!("a {}", self.config.architectures.join(", ")),
            task: other,
        })
    }

    /// The error of a checkpoint that this pipeline cannot use.
    fn unfit(&self, message: impl Into<String>) -> Error {
        Error::Checkpoint { path: self.checkpoint.path().to_path_buf(), message: message.into() }
    }

    /// Encodes texts, and counts those that were cut.
    pub(super) fn encode<S: AsRef<str> + Sync>(
        &self,
        texts: &[(S, Option<S>)],
    ) -> Result<Vec<Encoding>> {
        let encodings = self.tokenizer.encode_batch(texts, self.max_length)?;
        self.count_cut(&encodings);
        Ok(encodings)
    }

    /// Counts texts that were cut; see [`Runner::truncated`].
    pub(super) fn count_cut(&self, encodings: &[Encoding]) {
        let cut = encodings.iter().filter(|e| e.truncated).count() as u64;
        self.truncated.fetch_add(cut, Ordering::Relaxed);
    }

    /// Runs `forward` on every batch; it returns one result for each sequence. The results are in
    /// the order of `encodings`.
    pub(super) fn run<T: Send, E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
        forward: impl Fn(&EncoderInput, &PackedBatch, &[usize]) -> Result<Vec<T>> + Sync,
    ) -> Result<Vec<T>> {
        let lengths: Vec<usize> = encodings.iter().map(|e| e.borrow().len()).collect();
        let batches = batches(&lengths, self.batch_size, self.batch_tokens);
        let mut results = Vec::with_capacity(encodings.len());
        for batch in &batches {
            let sequences = batch.iter().map(|&i| encodings[i].borrow());
            let packed = PackedBatch::new(sequences, &self.config)?;
            let input = EncoderInput::new(&packed)?.to_device(self.device())?;
            results.extend(self.pass(|| forward(&input, &packed, batch))?);
        }
        restore_order(&batches, results)
    }

    /// Runs a forward pass in the precision of the pipeline: one entry into the thread pool for the
    /// whole of it. The modes belong to the thread.
    pub(super) fn pass<T: Send>(&self, forward: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        rayon::scope(|_| no_grad(|| self.precision.run(forward)))
    }

    /// The values of a float tensor. For a value that is not a number, the error names the weight
    /// to blame.
    pub(super) fn numbers(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let values = tensor.to_dtype(DType::F32)?.to_vec::<f32>()?;
        if values.iter().all(|v| v.is_finite()) {
            return Ok(values);
        }
        let bad = self.store().parameters().into_iter().find(|p| !is_finite(&p.tensor()));
        Err(self.unfit(match bad {
            Some(parameter) => format!(
                "the model's output is not a number, because `{}` holds a NaN or an infinity; the \
                 checkpoint is damaged, or its training diverged",
                parameter.name()
            ),
            None => "the model's output is not a number, although all weights are numbers; they \
                are too large to compute with"
                .to_string(),
        }))
    }
}

/// A pipeline is its runner with a head: what every pipeline can do is said once, in [`Runner`].
macro_rules! derefs_to_runner {
    ($pipeline:ty) => {
        impl std::ops::Deref for $pipeline {
            type Target = Runner;

            fn deref(&self) -> &Runner {
                &self.runner
            }
        }

        impl std::ops::DerefMut for $pipeline {
            fn deref_mut(&mut self) -> &mut Runner {
                &mut self.runner
            }
        }
    };
}
pub(super) use derefs_to_runner;

/// Checks that there is one encoding, or option, for each text.
pub(super) fn same_number<E>(texts: &[&str], others: &[E]) -> Result<()> {
    match texts.len() == others.len() {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "{} texts and {} encodings or options; pass one for each text",
            texts.len(),
            others.len()
        ))),
    }
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
}
