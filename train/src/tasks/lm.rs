//! `train lm`: the next word of raw text.

use std::path::Path;

use clap::Args;
use gradus_cli::{Failure, Outcome, SharedArgs, command};
use gradus_models::data::Fingerprint;
use gradus_models::tasks::{Blocks, CausalLanguageModel};
use gradus_models::{CausalLm, EncoderConfig, Pretrained, Task, Tokenizer};
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::{Built, Job, Parts};
use crate::flags::{Flags, TaskFlags};
use crate::page;

/// The flags of `train lm`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(
    mut_arg("vocab_size", |arg| arg.help(
        "Size of the vocabulary learnt for a model from scratch: 257 for a token a byte [default: 6000]"
    )),
    mut_arg("config_size", |arg| arg.help("Size of a GPT-2 from scratch [default: tiny]")),
    mut_arg("max_length", |arg| arg.help("Tokens of a block [default: 256, or as many as the model takes]"))
)]
pub struct LmFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    /// Column with the text, in files with rows: .csv, .tsv, .jsonl and .parquet [default: text]
    #[arg(long, help_heading = "Data and model")]
    pub text_column: Option<String>,
}

impl TaskFlags for LmFlags {
    const TASK: &'static str = "lm";
    const MAX_LENGTH: usize = 256;

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        LmFlags { common: Flags::plain(), text_column: None }
    }
}

/// `train lm`.
pub struct Lm {
    text: Text,
    seed: u64,
}

impl Job for Lm {
    type Flags = LmFlags;
    type Task = CausalLanguageModel;
    const EXAMPLES: &'static str = "blocks";

    fn open(shared: &SharedArgs, flags: &mut LmFlags, path: &Path) -> Outcome<Lm> {
        let column = flags.text_column.as_deref();
        let text = Text::open(shared, (&mut flags.common, column), path)?;
        Ok(Lm { text, seed: shared.seed() })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        Ok(Tokenizer::train_byte_level(self.text.sample(), size)?)
    }

    fn scratch(size: &str, vocab_size: usize) -> Outcome<EncoderConfig> {
        Ok(EncoderConfig::gpt2_preset(size, vocab_size)?)
    }

    fn fit(&self, _: &mut LmFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
        if !pretrained.config.is_causal() {
            return Err(Failure::error(format!(
                "a model of type `{}` sees the words after a word too, and cannot learn to predict \
                 them; take a GPT-2, or `train mlm`",
                pretrained.config.model_type
            )));
        }
        pretrained.check_decoder()?;
        Ok(pretrained.notes.clone())
    }

    fn configure(&self, _: &mut LmFlags, config: &mut EncoderConfig) {
        config.architectures = vec![config.architecture(Task::Generate)];
        config.problem_type = None;
        config.id2label = Vec::new();
    }

    fn build(self, parts: &Parts<LmFlags>, length: usize) -> Outcome<Built<CausalLanguageModel>> {
        let set = |text: &String| Blocks::of(text, parts.tokenizer, length);
        let dev = self.text.dev.as_ref().map(set).transpose()?;
        let test = self.text.test.as_ref().map(set).transpose()?;
        let model = CausalLm::new(&parts.store.root(), parts.config)?;
        let guessing = Some((parts.config.vocab_size as f64).ln());
        let (train, others) = self.text.into_parts();
        let tokenizer = parts.tokenizer.clone();
        let task = CausalLanguageModel::new(model, train, tokenizer.clone(), (length, self.seed))?;
        let details = page::of_guesses(
            "Predicted",
            tokenizer,
            (others, length),
            |task: &CausalLanguageModel| (task.corpus(), task.open()),
        );
        Ok(Built { task, dev, test, guessing, details: Some(details) })
    }

    fn fingerprint(&self) -> Fingerprint {
        self.text.fingerprint.clone()
    }

    fn about(&self) -> String {
        self.text.about()
    }

    fn commands(&self, _: &LmFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        let words = ["generate", "--model", &out, "--temperature", "0.8", "The "];
        vec![command("infer", words)]
    }
}
