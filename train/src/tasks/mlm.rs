//! `train mlm`: masked words of raw text.

use std::path::Path;

use clap::Args;
use gradus_cli::{Failure, Outcome, SharedArgs, command};
use gradus_models::data::Fingerprint;
use gradus_models::masking::{MaskedTokens, Masking};
use gradus_models::tasks::{Masked, MaskedLanguageModel};
use gradus_models::{EncoderConfig, MaskedLm, Pretrained, Task, Tokenizer};
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::{Built, Job, Parts};
use crate::flags::{Flags, TaskFlags};
use crate::page;

/// The flags of `train mlm`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(mut_arg("vocab_size", |arg| arg.help(
    "Size of the vocabulary learnt for a model from scratch, of a long text from 16 MiB from all over \
     it [default: 6000]"
)))]
pub struct MlmFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    /// Column with the text, in files with rows: .csv, .tsv, .jsonl and .parquet [default: text]
    #[arg(long, help_heading = "Data and model")]
    pub text_column: Option<String>,
    /// Probability with which a token is masked [default: 0.15]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub mask_probability: Option<f64>,
    /// Mask the pieces of a word together
    #[arg(long, help_heading = "Recipe")]
    pub whole_words: bool,
}

impl TaskFlags for MlmFlags {
    const TASK: &'static str = "mlm";

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        MlmFlags {
            common: Flags::plain(),
            text_column: None,
            mask_probability: Some(0.15),
            whole_words: false,
        }
    }

    fn check(&self) -> Outcome {
        let probability = self.mask_probability.unwrap_or(0.15);
        match probability > 0.0 && probability <= 1.0 {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "--mask-probability is {probability}; it must be above 0, and 1 at most"
            ))),
        }
    }
}

/// `train mlm`.
pub struct Mlm {
    text: Text,
    masking: (f64, bool, u64),
}

impl Job for Mlm {
    type Flags = MlmFlags;
    type Task = MaskedLanguageModel;
    const EXAMPLES: &'static str = "blocks";

    fn open(shared: &SharedArgs, flags: &mut MlmFlags, path: &Path) -> Outcome<Mlm> {
        let text = Text::open(shared, (&mut flags.common, flags.text_column.as_deref()), path)?;
        let probability = flags.mask_probability.unwrap_or(0.15);
        let masking = (probability, flags.whole_words, shared.seed());
        Ok(Mlm { text, masking })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        Ok(Tokenizer::train_wordpiece_in_parts(self.text.sample(), size)?)
    }

    fn fit(&self, _: &mut MlmFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
        pretrained.check_decoder()?;
        Ok(pretrained.notes.clone())
    }

    fn configure(&self, _: &mut MlmFlags, config: &mut EncoderConfig) {
        config.architectures = vec![config.architecture(Task::FillMask)];
        config.problem_type = None;
        config.pooling = None;
        config.id2label = Vec::new();
    }

    fn build(self, parts: &Parts<MlmFlags>, length: usize) -> Outcome<Built<MaskedLanguageModel>> {
        let (probability, whole_words, seed) = self.masking;
        let mask_id = parts.tokenizer.mask_id().ok_or_else(|| {
            Failure::error("the tokenizer has no [MASK], which a masked language model needs")
        })?;
        let vocab_size = parts.config.vocab_size;
        let masking = Masking { vocab_size, mask_id, probability, whole_words, seed };
        let masked = Masked { tokenizer: parts.tokenizer.clone(), max_length: length, masking };
        let set = |text: &String| -> gradus_models::Result<Vec<MaskedTokens>> { masked.set(text) };
        let dev = self.text.dev.as_ref().map(set).transpose()?;
        let test = self.text.test.as_ref().map(set).transpose()?;
        let model = MaskedLm::new(&parts.store.root(), parts.config)?;
        let guessing = Some((vocab_size as f64).ln());
        let (train, others) = self.text.into_parts();
        let task = MaskedLanguageModel::new(model, train, masked)?;
        let details = page::of_guesses(
            "Masked",
            parts.tokenizer.clone(),
            (others, length),
            |task: &MaskedLanguageModel| (task.corpus(), task.open()),
        );
        Ok(Built { task, dev, test, guessing, details: Some(details) })
    }

    fn fingerprint(&self) -> Fingerprint {
        self.text.fingerprint.clone()
    }

    fn about(&self) -> String {
        self.text.about()
    }

    fn commands(&self, _: &MlmFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        vec![
            command("infer", ["fill-mask", "--model", &out, "the [MASK] is here ."]),
            command("train", ["classify", "--model", &out, "--data", "DATA"]),
        ]
    }
}
