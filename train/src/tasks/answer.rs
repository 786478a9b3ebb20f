//! `train answer`: the part of a text that answers a question.

use std::path::Path;

use clap::Args;
use gradus_cli::{Failure, Outcome, SharedArgs, command, note};
use gradus_models::data::{Fingerprint, Question};
use gradus_models::tasks::{
    AnswerWindow, Decoding, EncodedQuestion, QuestionAnswering, encode_questions,
};
use gradus_models::{
    Dataset, EncoderConfig, Labels, Pretrained, SpanPredictor, Split, Task, Tokenizer,
};
use serde::{Deserialize, Serialize};

use super::{Built, Job, Parts};
use crate::data::{hold_out, refuse_evaluation, warn_of_leaks};
use crate::flags::{Flags, TaskFlags};
use crate::page;

/// Tokens that two windows of a text share, unless --stride says otherwise.
const STRIDE: usize = 128;

/// The flags of `train answer`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(mut_arg("data", |arg| arg.help(
    "Folder with train, dev and test files, or one such file: questions in SQuAD's form (.json, \
     version 1.1 or 2.0), or rows with id, question, context and answers (.jsonl, .parquet); or a \
     data set of the hub, hub:owner/name"
)))]
#[command(mut_arg("max_length", |arg| arg.help(
    "Maximum tokens of a window: a question with a part of its text [default: 384]"
)))]
pub struct AnswerFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    /// Tokens of a long text that two neighbouring windows share [default: 128, at most half of
    /// --max-length]
    #[arg(long, help_heading = "Data and model", value_name = "N")]
    pub stride: Option<usize>,
    /// Maximum tokens of a predicted answer [default: 30]
    #[arg(long, help_heading = "Course", value_name = "N")]
    pub max_answer_length: Option<usize>,
    /// Predict that there is no answer where its score is by more than this above that of the best
    /// one; only for data with questions that have no answer [default: 0]
    #[arg(long, help_heading = "Course", value_name = "SCORE", value_parser = gradus_cli::finite)]
    pub no_answer_threshold: Option<f64>,
}

impl TaskFlags for AnswerFlags {
    const TASK: &'static str = "answer";
    const MAX_LENGTH: usize = 384;

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        let common = Flags { max_length: Some(Self::MAX_LENGTH), ..Flags::plain() };
        AnswerFlags { common, max_answer_length: Some(30), ..AnswerFlags::default() }
    }

    fn check(&self) -> Outcome {
        match self.max_answer_length {
            Some(0) => Err(Failure::usage("--max-answer-length is 0; it must be 1 or more")),
            _ => Ok(()),
        }
    }
}

/// `train answer`.
pub struct Answer {
    dataset: Dataset<Question>,
    /// Whether there are questions that their text does not answer.
    impossible: bool,
}

impl Job for Answer {
    type Flags = AnswerFlags;
    type Task = QuestionAnswering;
    const EXAMPLES: &'static str = "windows";
    const EVALUATED: &'static str = "questions";

    fn open(shared: &SharedArgs, flags: &mut AnswerFlags, path: &Path) -> Outcome<Answer> {
        let mut dataset = Dataset::open_questions(path)?;
        let sets = [("training", Some(&dataset.train)), ("dev", dataset.dev.as_ref())];
        let sets = sets.into_iter().chain([("test", dataset.test.as_ref())]);
        let mut impossible = 0;
        for (name, split) in sets.filter_map(|(name, split)| Some((name, split?))) {
            impossible += split.impossible();
            report_misplaced(shared, name, split);
        }
        if impossible == 0 && flags.no_answer_threshold.is_some() {
            return Err(Failure::usage(
                "--no-answer-threshold: every question of the data has an answer; leave the flag out",
            ));
        }
        if impossible > 0 && dataset.train.impossible() == 0 {
            note(
                shared,
                "warning: dev or test questions have no answer, but all training questions have one",
            );
        }
        dataset.remarks.iter().for_each(|remark| note(shared, format!("warning: {remark}")));
        hold_out(shared, &mut flags.common, path, &mut dataset, true)?;
        if dataset.dev.is_none() {
            refuse_evaluation(&flags.common)?;
        }
        warn_of_leaks(shared, &dataset);
        Ok(Answer { dataset, impossible: impossible > 0 })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        let mut texts: Vec<&str> = Vec::new();
        let mut last = None;
        for question in &self.dataset.train.examples {
            texts.push(&question.question);
            // Questions about one text follow each other.
            if last.replace(&question.context) != Some(&question.context) {
                texts.push(&question.context);
            }
        }
        Ok(Tokenizer::train_wordpiece(&texts, size)?)
    }

    fn fit(&self, _: &mut AnswerFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
        // Tokens keep their states: a pooling would have nothing to do.
        pretrained.follow_sentence()?;
        Ok(pretrained.notes.clone())
    }

    fn configure(&self, _: &mut AnswerFlags, config: &mut EncoderConfig) {
        config.id2label = Vec::new();
        config.extra.remove("num_labels");
        config.pooling = None;
        config.problem_type = None;
        config.architectures = vec![config.architecture(Task::Answer)];
    }

    fn build(self, parts: &Parts<AnswerFlags>, length: usize) -> Outcome<Built<QuestionAnswering>> {
        let stride = stride(parts.flags, length)?;
        let encode =
            |split: &Split<Question>| encode_questions(split, parts.tokenizer, length, stride);
        let train = encode(&self.dataset.train)?;
        let dev = self.dataset.dev.as_ref().map(encode).transpose()?;
        let test = self.dataset.test.as_ref().map(encode).transpose()?;
        let questions = train.len();
        let windows: Vec<AnswerWindow> =
            train.into_iter().flat_map(EncodedQuestion::learnt).collect();
        if windows.is_empty() {
            return Err(Failure::error("no training question has an answer at its place"));
        }
        report_windows(parts.shared, questions, &windows, length);
        let model = SpanPredictor::new(&parts.store.root(), parts.config)?;
        let decoding = Decoding {
            max_answer_length: parts.flags.max_answer_length.unwrap_or(30),
            no_answer_threshold: self
                .impossible
                .then_some(parts.flags.no_answer_threshold.unwrap_or(0.0)),
        };
        let guessing = Some(guessing_loss(&windows));
        let task = QuestionAnswering::new(model, windows, decoding);
        let details = Some(page::of_answers(self.dataset, length));
        Ok(Built { task, dev, test, guessing, details })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.dataset, &Labels::default())
    }

    fn has_pairs(&self) -> bool {
        true
    }

    fn about(&self) -> String {
        let split = &self.dataset.train;
        let all = split.examples.len();
        match split.impossible() {
            0 => format!("{all} training questions"),
            n => format!("{all} training questions, {n} of them without an answer"),
        }
    }

    fn commands(&self, _: &AnswerFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        let Dataset { train, dev, test, .. } = &self.dataset;
        let path = test.as_ref().or(dev.as_ref()).unwrap_or(train).path.display().to_string();
        vec![
            command("infer", ["answer", "--model", &out, "--input", &path]),
            command("infer", ["evaluate", "--model", &out, "--data", &path]),
        ]
    }
}

/// The tokens that two windows share.
fn stride(flags: &AnswerFlags, length: usize) -> Outcome<usize> {
    match flags.stride {
        Some(stride) if stride >= length => Err(Failure::usage(format!(
            "--stride is {stride}; it must be below the {length} tokens of a window (--max-length)"
        ))),
        stride => Ok(stride.unwrap_or(STRIDE.min(length / 2))),
    }
}

/// The loss of a model that guesses among the tokens of a window.
fn guessing_loss(windows: &[AnswerWindow]) -> f64 {
    let losses = windows.iter().map(|window| (window.ids.len() as f64).ln());
    losses.sum::<f64>() / windows.len() as f64
}

/// Tells how the texts are cut into windows.
fn report_windows(shared: &SharedArgs, questions: usize, windows: &[AnswerWindow], length: usize) {
    let without = windows.iter().filter(|window| window.target == (0, 0)).count();
    if windows.len() > questions {
        note(
            shared,
            format!(
                "{questions} training questions are {} windows of at most {length} tokens; \
                 {without} of them hold no answer",
                windows.len()
            ),
        );
    }
}

/// Warns of questions whose answers stand elsewhere than the data says.
fn report_misplaced(shared: &SharedArgs, name: &str, split: &Split<Question>) {
    let misplaced = split.misplaced();
    if misplaced.is_empty() {
        return;
    }
    let ids = misplaced.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let more = if misplaced.len() > 5 { ", …" } else { "" };
    let fate = if name == "training" { "are not learnt" } else { "count, but not in the loss" };
    note(
        shared,
        format!(
            "warning: {} of {} {name} questions have answers that do not stand at their \
             answer_start (in characters), and {fate}: {ids}{more}",
            misplaced.len(),
            split.examples.len()
        ),
    );
}
