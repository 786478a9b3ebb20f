//! What `train` does for each task: its flags, its data, its model.

pub mod answer;
mod class_weights;
pub mod classify;
pub mod distill;
pub mod embed;
pub mod lm;
pub mod mlm;
mod tags;
mod text;
pub mod tokens;

use std::path::Path;

use gradus_cli::{Outcome, SharedArgs, command, note};
use gradus_models::data::Fingerprint;
use gradus_models::training::Task;
use gradus_models::{EncoderConfig, Encoding, Pretrained, Tokenizer};
use gradus_nn::Store;

use crate::flags::TaskFlags;
use crate::page::Section;

/// A task of `train`, with its data open.
pub trait Job: Sized {
    /// The flags.
    type Flags: TaskFlags;
    /// What the trainer trains.
    type Task: Task;
    /// What the examples are called.
    const EXAMPLES: &'static str = "texts";
    /// What an evaluation counts.
    const EVALUATED: &'static str = Self::EXAMPLES;

    /// Reads and checks the data. The flags then hold what a resumed run needs to read the same.
    ///
    /// # Errors
    /// When the data or a flag about it is wrong.
    fn open(shared: &SharedArgs, flags: &mut Self::Flags, path: &Path) -> Outcome<Self>;

    /// Learns a vocabulary of `size` tokens from the training data.
    ///
    /// # Errors
    /// When there is too little text.
    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer>;

    /// The configuration of a model from scratch, of a size by its name.
    ///
    /// # Errors
    /// When there is no such size.
    fn scratch(size: &str, vocab_size: usize) -> Outcome<EncoderConfig> {
        Ok(EncoderConfig::preset(size, vocab_size)?)
    }

    /// Fits a pretrained model to the task and its data, before the model is built. Returns notes
    /// for a person.
    ///
    /// # Errors
    /// When the model cannot do the task.
    fn fit(&self, flags: &mut Self::Flags, pretrained: &mut Pretrained) -> Outcome<Vec<String>>;

    /// Adapts the configuration of the model to the task.
    fn configure(&self, flags: &mut Self::Flags, config: &mut EncoderConfig);

    /// Builds the model, and encodes the data with texts of at most `length` tokens.
    ///
    /// # Errors
    /// When an example cannot be encoded.
    fn build(self, parts: &Parts<Self::Flags>, length: usize) -> Outcome<Built<Self::Task>>;

    /// What a resumed run compares its data with.
    fn fingerprint(&self) -> Fingerprint;

    /// Whether an example is a pair of texts.
    fn has_pairs(&self) -> bool {
        false
    }

    /// A few words about the data, such as `9003 training texts, 77 labels`.
    fn about(&self) -> String;

    /// What --dry-run tells of the data, a line each.
    ///
    /// # Errors
    /// When the data is wrong.
    fn diagnosis(&self) -> gradus_models::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Commands that use the trained model in `out`, for the last screen.
    fn commands(&self, flags: &Self::Flags, out: &Path) -> Vec<String>;
}

/// A model's parts, before it is built.
pub struct Parts<'a, F> {
    pub shared: &'a SharedArgs,
    pub flags: &'a F,
    pub config: &'a EncoderConfig,
    pub tokenizer: &'a Tokenizer,
    pub store: &'a Store,
}

/// A task that is ready to be trained.
pub struct Built<T: Task> {
    pub task: T,
    pub dev: Option<T::Set>,
    pub test: Option<T::Set>,
    /// The loss of a model that guesses by how often each answer occurs, where that has a meaning.
    pub guessing: Option<f64>,
    /// What the report tells of the task.
    pub details: Option<Details<T>>,
}

/// Tells of the trained model, and of the texts.
pub type Details<T> =
    Box<dyn FnOnce(&T, Option<Examined<T>>) -> gradus_models::Result<Vec<Section>>>;

/// What the written model says of a set: of the test set if there is one, for dev has chosen the
/// model, and flatters it.
pub struct Examined<'a, T: Task> {
    /// `test` or `dev`.
    pub split: &'static str,
    /// The set.
    pub set: &'a T::Set,
    /// What the evaluation found.
    pub findings: T::Findings,
}

/// The command that runs `infer` with these words on a text.
pub fn try_text(words: &[&str], text: &str) -> String {
    // `--` keeps a text that begins with a dash from being read as a flag.
    let end = text.starts_with('-').then_some("--");
    command("infer", words.iter().copied().chain(end).chain([text]))
}

/// Tells how many training texts are cut.
pub fn report_cut(shared: &SharedArgs, encodings: &[Encoding], length: usize) {
    let cut = encodings.iter().filter(|e| e.truncated).count();
    if cut > 0 {
        let all = encodings.len();
        note(shared, format!("{cut} of {all} training texts are cut to {length} tokens"));
    }
}
