//! `train tokens`: a tag for every word.

use std::path::Path;

use clap::Args;
use gradus_cli::{Failure, Outcome, SharedArgs, command, note};
use gradus_models::data::{Fingerprint, TaggedColumns, TaggedSentence};
use gradus_models::evaluation::{Scheme, entities};
use gradus_models::tasks::{Answers, TaggedEncoding, Tagging, encode_tagged};
use gradus_models::{
    Dataset, EncoderConfig, Error, Labels, Pretrained, Split, Task, TokenClassifier, Tokenizer,
};
use serde::{Deserialize, Serialize};

use super::tags::{odd_tags, report_lost};
use super::{Built, Job, Parts, try_text};
use crate::data::{hold_out, refuse_evaluation, warn_of_leaks};
use crate::flags::{Flags, TaskFlags, share};
use crate::page;

/// The flags of `train tokens`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(mut_arg("data", |arg| arg.help(
    "Folder with train, dev and test files, or one such file: words and tags in columns (.conll, \
     .iob, .bio, .txt) or lists of both (.jsonl, .parquet); or a data set of the hub, \
     hub:owner/name"
)))]
pub struct TokensFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    /// The words: a key of .jsonl, a column of .parquet, or the number of another file's column, from
    /// 1 [default: tokens, or the first column]
    #[arg(long, help_heading = "Data and model")]
    pub tokens_column: Option<String>,
    /// The tags: a key of .jsonl, a column of .parquet, or the number of another file's column, from
    /// 1 [default: tags, or the last column]
    #[arg(long, help_heading = "Data and model")]
    pub tags_column: Option<String>,
    /// The names of tags that the data writes as numbers, in their order: O,B-PER,I-PER,…
    #[arg(long, help_heading = "Data and model", value_delimiter = ',', value_name = "NAMES")]
    pub tag_names: Option<Vec<String>>,
    /// How tags make the entities that are counted: conll (as conlleval and seqeval), strictly iob2,
    /// ioe2, iobes or bilou, or words (each by itself) [default: conll; words for tags without B-
    /// and I-, bilou for tags with U- and L-]
    #[arg(long, help_heading = "Course")]
    pub scheme: Option<Scheme>,
    /// Share of the target that is spread over all tags [default: 0]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub label_smoothing: Option<f64>,
}

impl TaskFlags for TokensFlags {
    const TASK: &'static str = "tokens";

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        TokensFlags { common: Flags::plain(), label_smoothing: Some(0.0), ..TokensFlags::default() }
    }

    fn check(&self) -> Outcome {
        share("label-smoothing", self.label_smoothing)
    }
}

impl TokensFlags {
    fn columns(&self) -> TaggedColumns {
        TaggedColumns {
            words: self.tokens_column.clone(),
            tags: self.tags_column.clone(),
            names: self.tag_names.clone().unwrap_or_default(),
        }
    }
}

/// `train tokens`.
pub struct Tokens {
    dataset: Dataset<TaggedSentence>,
    labels: Labels,
    scheme: Scheme,
}

impl Job for Tokens {
    type Flags = TokensFlags;
    type Task = Tagging;

    fn open(shared: &SharedArgs, flags: &mut TokensFlags, path: &Path) -> Outcome<Tokens> {
        let mut dataset = Dataset::open_tagged(path, &flags.columns()).map_err(with_flag)?;
        let labels = dataset.tags()?;
        let scheme = flags.scheme.unwrap_or(Scheme::of(labels.names()));
        scheme.check(labels.names()).map_err(|e| Failure::usage(format!("--scheme: {e}")))?;
        flags.scheme = Some(scheme);
        for remark in dataset.remarks.iter().chain(&odd_tags(&labels)) {
            note(shared, format!("warning: {remark}"));
        }
        if scheme == Scheme::Words {
            note(shared, "the tags have no B- and I-: each word counts by itself");
        }
        hold_out(shared, &mut flags.common, path, &mut dataset, true)?;
        if dataset.dev.is_none() {
            refuse_evaluation(&flags.common)?;
        }
        warn_of_leaks(shared, &dataset);
        Ok(Tokens { dataset, labels, scheme })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        let sentences = self.dataset.train.examples.iter();
        let words: Vec<&str> = sentences.flat_map(|s| s.words.iter().map(String::as_str)).collect();
        Ok(Tokenizer::train_wordpiece(&words, size)?)
    }

    fn fit(&self, _: &mut TokensFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
        // Words keep their tokens: a pooling would have nothing to do.
        pretrained.follow_sentence()?;
        let mut notes = pretrained.notes.clone();
        if pretrained.tokenizer.set_prefix_space()? {
            notes.push(
                "the tokenizer now puts a space before a text (add_prefix_space), because words are \
                 encoded one by one"
                    .into(),
            );
        }
        notes.extend(pretrained.fit_tag_head(&self.labels));
        Ok(notes)
    }

    fn configure(&self, _: &mut TokensFlags, config: &mut EncoderConfig) {
        config.set_labels(&self.labels);
        config.pooling = None;
        config.problem_type = None;
        config.architectures = vec![config.architecture(Task::Tag)];
    }

    fn build(self, parts: &Parts<TokensFlags>, length: usize) -> Outcome<Built<Tagging>> {
        let encode = |split: &Split<TaggedSentence>| {
            encode_tagged(split, &self.labels, parts.tokenizer, length)
        };
        let mut train = encode(&self.dataset.train)?;
        let dev = self.dataset.dev.as_ref().map(encode).transpose()?;
        let test = self.dataset.test.as_ref().map(encode).transpose()?;
        let shared = parts.shared;
        report_lost(shared, "training", &train, length, "are not learnt");
        for (name, set) in [("dev", &dev), ("test", &test)] {
            report_lost(shared, name, set.as_deref().unwrap_or_default(), length, "count as O");
        }
        let all = train.len();
        let details =
            page::of_tagger(self.dataset, self.labels.clone(), self.scheme, (&train, length));
        train.retain(|sentence| sentence.tagged() > 0);
        if train.len() < all {
            let left = all - train.len();
            note(
                shared,
                format!("{left} of {all} training sentences have no tokens to learn from"),
            );
        }
        let (root, labels) = (parts.store.root(), self.labels.len());
        let guessing = Some(Answers::Single(learnt(&train)).guessing_loss(labels));
        let model = TokenClassifier::new(&root, parts.config, labels)?;
        let smoothing = parts.flags.label_smoothing.unwrap_or(0.0);
        let task = Tagging::new(model, train, self.labels, self.scheme, smoothing)?;
        Ok(Built { task, dev, test, guessing, details: Some(details) })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.dataset, &self.labels)
    }

    fn about(&self) -> String {
        let Split { examples, .. } = &self.dataset.train;
        let (words, tags) = (self.dataset.train.words(), self.labels.len());
        format!("{} training sentences of {words} words, {tags} tags", examples.len())
    }

    fn commands(&self, _: &TokensFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        let Dataset { train, dev, test, .. } = &self.dataset;
        let split = test.as_ref().or(dev.as_ref()).unwrap_or(train);
        let text = short_text(split, self.scheme);
        let infer = try_text(&["tokens", "--model", &out, "--aggregate"], &text);
        vec![infer, command("serve", ["--model", &out])]
    }
}

/// The error of data, with the flag that helps.
fn with_flag(error: Error) -> Failure {
    match error {
        Error::TagNumbers { .. } => Failure::error(format!("{error} (--tag-names O,B-PER,…)")),
        other => other.into(),
    }
}

/// The tags that the model learns.
fn learnt(sentences: &[TaggedEncoding]) -> Vec<u32> {
    let tags = sentences.iter().flat_map(|s| s.firsts.iter().zip(&s.tags));
    tags.filter(|(first, _)| first.is_some()).map(|(_, tag)| *tag).collect()
}

/// A short sentence of a split, with an entity if there is one.
fn short_text(split: &Split<TaggedSentence>, scheme: Scheme) -> String {
    let text = |sentence: &TaggedSentence| sentence.words.join(" ");
    let short = |sentence: &&TaggedSentence| {
        let text = text(sentence);
        let plain = !text.contains(char::is_control) && !text.trim().is_empty();
        plain && text.chars().count() <= 80
    };
    let telling = |sentence: &&TaggedSentence| !entities(&sentence.tags, scheme).is_empty();
    let sentences = || split.examples.iter().filter(short);
    let found = sentences().find(telling).or_else(|| sentences().next());
    let text = found.or(split.examples.first()).map(text).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect()
}
