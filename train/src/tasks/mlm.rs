//! `train mlm`: masked words of raw text.

use std::path::Path;

use clap::Args;
use gradus_cli::{Failure, Outcome, SharedArgs, command, note};
use gradus_models::data::{Corpora, Corpus, Fingerprint};
use gradus_models::masking::{MaskedTokens, Masking};
use gradus_models::tasks::{Masked, MaskedLanguageModel};
use gradus_models::{EncoderConfig, Error, MaskedLm, Pretrained, Task, Tokenizer};
use serde::{Deserialize, Serialize};

use super::{Built, Job, Parts};
use crate::data::refuse_evaluation;
use crate::flags::{Flags, TaskFlags};
use crate::page;

/// The share of the text that is set aside where there is no dev file.
const DEV_FRACTION: f64 = 0.05;

/// The most bytes of a dev set and of a test set: more takes minutes and says no more.
const MAX_EVALUATED: u64 = 256 << 10;

/// The windows of text that a vocabulary is learnt from: about as many MiB.
const MAX_LEARNT: usize = 16;

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
        MlmFlags { common: Flags::plain(), mask_probability: Some(0.15), whole_words: false }
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
    train: Corpus,
    dev: Option<String>,
    test: Option<String>,
    fingerprint: Fingerprint,
    masking: (f64, bool, u64),
}

impl Job for Mlm {
    type Flags = MlmFlags;
    type Task = MaskedLanguageModel;
    const EXAMPLES: &'static str = "blocks";

    fn open(shared: &SharedArgs, flags: &mut MlmFlags, path: &Path) -> Outcome<Mlm> {
        let Corpora { mut train, dev, test } = Corpora::open(path)?;
        let read = |name, corpus: Option<Corpus>| match corpus {
            Some(corpus) => text(shared, name, corpus).map(Some),
            None => Ok(None),
        };
        let test = read("test", test)?;
        let dev = match dev {
            Some(_) if flags.common.dev_fraction.is_some_and(|share| share > 0.0) => {
                let why = "--dev-fraction: the data has a dev file of its own";
                return Err(Failure::usage(why));
            }
            Some(dev) => read("dev", Some(dev))?,
            None => read("dev", set_aside(shared, flags, &mut train)?)?,
        };
        if dev.is_none() {
            refuse_evaluation(&flags.common)?;
        }
        let hash = |text: &String| gradus_models::data::hash_text(text);
        let fingerprint = Fingerprint {
            labels: Vec::new(),
            train: train.hash()?,
            dev: dev.as_ref().map(hash),
            test: test.as_ref().map(hash),
        };
        let probability = flags.mask_probability.unwrap_or(0.15);
        let masking = (probability, flags.whole_words, shared.seed());
        Ok(Mlm { train, dev, test, fingerprint, masking })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        // Windows from all over the text.
        let all = self.train.windows();
        let step = all.div_ceil(MAX_LEARNT);
        let texts = (0..all).step_by(step).map(|window| self.train.read(window));
        Ok(Tokenizer::train_wordpiece_in_parts(texts, size)?)
    }

    fn fit(&self, _: &mut MlmFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
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
        let dev = self.dev.as_ref().map(set).transpose()?;
        let test = self.test.as_ref().map(set).transpose()?;
        let model = MaskedLm::new(&parts.store.root(), parts.config)?;
        let guessing = Some((vocab_size as f64).ln());
        let task = MaskedLanguageModel::new(model, self.train, masked)?;
        let others = [("dev", self.dev), ("test", self.test)].into_iter();
        let others = others.filter_map(|(name, text)| Some((name, text?))).collect();
        let details = Some(page::of_masked(parts.tokenizer.clone(), others, length));
        Ok(Built { task, dev, test, guessing, details })
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn about(&self) -> String {
        format!("{:.1} MB of text", self.train.bytes() as f64 / 1e6)
    }

    fn commands(&self, _: &MlmFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        vec![
            command("infer", ["fill-mask", "--model", &out, "the [MASK] is here ."]),
            command("train", ["classify", "--model", &out, "--data", "DATA"]),
        ]
    }
}

/// Takes the end of the text as the dev set.
fn set_aside(
    shared: &SharedArgs,
    flags: &mut MlmFlags,
    train: &mut Corpus,
) -> Outcome<Option<Corpus>> {
    let fraction = flags.common.dev_fraction.unwrap_or(DEV_FRACTION);
    flags.common.dev_fraction = Some(fraction);
    let all = train.bytes();
    let bytes = ((all as f64 * fraction) as u64).min(MAX_EVALUATED);
    if bytes == 0 {
        return Ok(None);
    }
    let dev = train.split_off(bytes)?;
    if let Some(dev) = &dev {
        let (kib, share) = (dev.bytes() as f64 / 1024.0, dev.bytes() as f64 * 100.0 / all as f64);
        note(
            shared,
            format!("no dev file: the last {kib:.0} KiB of the text ({share:.1} %) are set aside"),
        );
    }
    Ok(dev)
}

/// The text of a dev or test set, or the beginning of a long one.
fn text(shared: &SharedArgs, name: &str, mut corpus: Corpus) -> Outcome<String> {
    let all = corpus.bytes();
    if all > MAX_EVALUATED {
        corpus.split_off(all - MAX_EVALUATED)?;
        note(
            shared,
            format!("the {name} text is long: its first {} KiB are used", MAX_EVALUATED >> 10),
        );
    }
    let parts = (0..corpus.windows()).map(|window| corpus.read(window));
    Ok(parts.collect::<Result<String, Error>>()?)
}
