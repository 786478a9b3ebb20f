//! `train embed`: texts that belong together get similar vectors.

mod flags;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, command, note};
use gradus_models::data::{Fingerprint, PairForm, TextPair};
use gradus_models::folder::SentenceSettings;
use gradus_models::tasks::{Embedding, EmbeddingOptions, EncodedPairs, PairEncoder};
use gradus_models::training::Recipe;
use gradus_models::{
    Dataset, EncoderConfig, Error, Labels, Pretrained, SentenceEncoder, Split, Task, Tokenizer,
};

pub use flags::EmbedFlags;

use super::{Built, Job, Parts, report_cut};
use crate::data::{hold_out, refuse_evaluation, warn_of_leaks};
use crate::flags::with_flag;
use crate::page;

/// `train embed`.
pub struct Embed {
    dataset: Dataset<TextPair>,
    form: PairForm,
    /// The form of the sets on which the model is evaluated.
    evaluated: PairForm,
    /// What the folder of a pretrained model says.
    settings: OnceCell<SentenceSettings>,
}

impl Job for Embed {
    type Flags = EmbedFlags;
    type Task = Embedding;
    const EXAMPLES: &'static str = "pairs";

    fn open(shared: &SharedArgs, flags: &mut EmbedFlags, path: &Path) -> Outcome<Embed> {
        let mut dataset = Dataset::open_pairs(path, &flags.columns()).map_err(with_advice)?;
        for remark in &dataset.remarks {
            note(shared, format!("warning: {remark}"));
        }
        hold_out(shared, &mut flags.common, path, &mut dataset, false)?;
        if dataset.dev.is_none() {
            refuse_evaluation(&flags.common)?;
        }
        warn_of_leaks(shared, &dataset);
        warn_of_known(shared, &dataset);
        let form = dataset.train.form();
        let evaluated = dataset.dev.as_ref().or(dataset.test.as_ref());
        let evaluated = evaluated.map_or(form, Split::form);
        flags.check_form(form, evaluated)?;
        Ok(Embed { dataset, form, evaluated, settings: OnceCell::new() })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        let texts: Vec<&str> =
            self.dataset.train.examples.iter().flat_map(TextPair::texts).collect();
        Ok(Tokenizer::train_wordpiece(&texts, size)?)
    }

    fn fit(&self, flags: &mut EmbedFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
        let mut settings = pretrained.sentence_settings()?;
        flags.common.max_length = flags.common.max_length.or(settings.max_length);
        flags.change(&mut settings);
        let _ = self.settings.set(settings);
        Ok(pretrained.notes.clone())
    }

    fn configure(&self, _: &mut EmbedFlags, config: &mut EncoderConfig) {
        config.architectures = vec![config.architecture(Task::Embed)];
        config.id2label.clear();
        config.label2id.clear();
        config.pooling = None;
        config.problem_type = None;
    }

    fn build(self, parts: &Parts<EmbedFlags>, length: usize) -> Outcome<Built<Embedding>> {
        let mut settings = self.settings.get().cloned().unwrap_or_else(|| {
            let mut settings = SentenceSettings::default();
            parts.flags.change(&mut settings);
            settings
        });
        // The trained model cuts texts where they were cut in training.
        settings.max_length = Some(length);
        let encoder = PairEncoder {
            tokenizer: parts.tokenizer,
            prompts: &settings.prompts,
            max_length: length,
            score_scale: Some(parts.flags.score_scale.unwrap_or(1.0)),
        };
        let encode = |split: &Split<TextPair>| encoder.encode(split).map_err(with_advice);
        let train = encode(&self.dataset.train)?;
        let dev = self.dataset.dev.as_ref().map(encode).transpose()?;
        let test = self.dataset.test.as_ref().map(encode).transpose()?;
        self.report(parts, &train, length, &settings);
        let model = SentenceEncoder::new(&parts.store.root(), parts.config, &settings)?;
        let batch_size = parts.flags.common.batch_size.unwrap_or(Recipe::default().batch_size);
        let options = EmbeddingOptions {
            loss: parts.flags.loss(),
            cached_negatives: parts.flags.cached_negatives,
            evaluated: self.evaluated,
            batch_size,
            settings,
        };
        let guessing = self.guessing(parts.flags);
        let details = Some(page::of_embedder(self.dataset, &train, length));
        let task = Embedding::new(model, train, options).map_err(with_flag)?;
        Ok(Built { task, dev, test, guessing, details })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.dataset, &Labels::default())
    }

    fn about(&self) -> String {
        let pairs = &self.dataset.train.examples;
        let negatives: usize = pairs.iter().map(|pair| pair.negatives.len()).sum();
        match self.form {
            PairForm::Pairs => format!("{} training pairs", pairs.len()),
            PairForm::Triplets => {
                format!("{} training pairs with {negatives} negatives", pairs.len())
            }
            PairForm::Scored => format!("{} training pairs with scores", pairs.len()),
        }
    }

    fn commands(&self, _: &EmbedFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        let Dataset { train, dev, test, .. } = &self.dataset;
        let pair = test.as_ref().or(dev.as_ref()).unwrap_or(train).examples.first();
        let text = |of: fn(&TextPair) -> &str| pair.map(of).map(line).unwrap_or_default();
        let (first, second) = (text(|pair| &pair.anchor), text(|pair| &pair.positive));
        // `--` keeps a text that begins with a dash from being read as a flag.
        let end = (first.starts_with('-') || second.starts_with('-')).then_some("--");
        let infer = ["similarity", "--model", &out].into_iter().chain(end);
        let infer = command("infer", infer.chain([first.as_str(), second.as_str()]));
        vec![infer, command("serve", ["--model", &out])]
    }
}

impl Embed {
    /// Tells what a person may not expect.
    fn report(
        &self,
        parts: &Parts<EmbedFlags>,
        train: &EncodedPairs,
        length: usize,
        settings: &SentenceSettings,
    ) {
        let shared = parts.shared;
        report_cut(shared, train.encodings(), length);
        let (query, document) = match self.form {
            PairForm::Scored => (settings.prompts.of_texts(), settings.prompts.of_texts()),
            _ => settings.prompts.of_queries_and_documents(),
        };
        if query != document {
            note(shared, format!("first texts begin with {query:?}, the others with {document:?}"));
        } else if !query.is_empty() {
            note(shared, format!("texts begin with {query:?}"));
        }
        let common = &parts.flags.common;
        let batches = common.accumulate.unwrap_or(1);
        if self.form != PairForm::Scored && batches > 1 && !parts.flags.cached_negatives {
            note(
                shared,
                format!(
                    "each of a step's {batches} batches has its own negatives; --cached-negatives \
                     takes them from the whole step"
                ),
            );
        }
    }

    /// The loss of a cosine that is the same for all pairs.
    fn guessing(&self, flags: &EmbedFlags) -> Option<f64> {
        let scale = flags.score_scale.unwrap_or(1.0);
        let scores: Vec<f64> = self
            .dataset
            .train
            .examples
            .iter()
            .filter_map(TextPair::number)
            .map(|s| s / scale)
            .collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len() as f64;
        let dimensions = flags.loss().dimensions;
        let weight: f64 = dimensions.iter().map(|(_, weight)| weight).sum();
        let weight = if dimensions.is_empty() { 1.0 } else { weight };
        (self.form == PairForm::Scored).then_some(variance * weight)
    }
}

/// Warns of first texts of the dev set and the test set that the model learns with other texts.
fn warn_of_known(shared: &SharedArgs, dataset: &Dataset<TextPair>) {
    let firsts = |split: &Split<TextPair>| -> HashSet<String> {
        split.examples.iter().map(|pair| pair.anchor.clone()).collect()
    };
    let learnt = firsts(&dataset.train);
    for (name, split) in [("dev", &dataset.dev), ("test", &dataset.test)] {
        let Some(split) = split else { continue };
        let all = firsts(split);
        let known = all.intersection(&learnt).count();
        if known > 0 {
            let all = all.len();
            note(
                shared,
                format!(
                    "warning: {known} of the {all} first texts of the {name} set are first texts \
                     of the training set too, so new texts may be found less often"
                ),
            );
        }
    }
}

/// The beginning of a text, on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect()
}

/// The error of data, with the flag that helps.
fn with_advice(error: Error) -> Failure {
    match error {
        Error::PairColumns { .. } => Failure::error(format!(
            "{error} (--anchor-column, --positive-column, --negative-column, --score-column)"
        )),
        Error::Score { .. } => Failure::error(format!("{error} (--score-scale)")),
        other => other.into(),
    }
}
