//! The parts of a text that answer a question.

use std::ops::Range;

use gradus_autograd::Var;
use gradus_nn::Forward;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::runner::{Runner, derefs_to_runner};
use crate::evaluation::{SpanLogits, best_span};
use crate::tokenizer::{char_offsets, trimmed};
use crate::{
    Encoder, EncoderInput, Encoding, Error, ModelRef, Pretrained, Result, SpanPredictor, Task,
    Window,
};

/// The most tokens of a window, unless [`Runner::set_max_length`] says otherwise.
const MAX_LENGTH: usize = 384;

/// Tokens that two windows share, unless [`QuestionAnswerer::set_stride`] says otherwise.
const STRIDE: usize = 128;

/// An answer: a part of the text. The keys are those of `transformers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Its probability. Answers with the same text are one, with the sum of their probabilities.
    pub score: f32,
    /// Where it starts, in characters (Unicode code points).
    pub start: usize,
    /// Where it ends, in characters: the first place after it.
    pub end: usize,
    /// The part of the text; empty where there is no answer.
    pub answer: String,
}

/// The answers to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The answers, the best first.
    pub answers: Vec<Answer>,
    /// How much higher the score of no answer is than that of the best part of the text, as
    /// `run_qa.py` of `transformers` computes it from logits; `None` for a text without words.
    pub no_answer_difference: Option<f64>,
}

/// Whether there may be no answer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum NoAnswer {
    /// There always is one.
    #[default]
    Never,
    /// No answer is one of the answers, by its probability: `handle_impossible_answer` of
    /// `transformers`.
    Ranked,
    /// There is none where [`Answered::no_answer_difference`] is above this:
    /// `null_score_diff_threshold` of `run_qa.py`.
    Above(f64),
}

/// Which answers are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerOptions {
    /// The most answers to a question; there may be fewer.
    pub top_k: usize,
    /// The most tokens of an answer.
    pub max_answer_length: usize,
    /// Whether there may be no answer.
    pub no_answer: NoAnswer,
}

impl Default for AnswerOptions {
    /// As the pipeline of `transformers`: one answer, of at most 15 tokens.
    fn default() -> Self {
        AnswerOptions { top_k: 1, max_answer_length: 15, no_answer: NoAnswer::Never }
    }
}

/// Questions about texts to parts of the texts.
pub struct QuestionAnswerer {
    runner: Runner,
    model: SpanPredictor,
    stride: Option<usize>,
}

derefs_to_runner!(QuestionAnswerer);

impl QuestionAnswerer {
    /// Opens a model folder or a hub id. A text is cut into windows of at most 384 tokens, as in
    /// `transformers`; see [`Runner::set_max_length`].
    ///
    /// # Errors
    /// When the model cannot be opened, is for another task ([`OtherTask`](Error::OtherTask)), or
    /// lacks parameters ([`MissingHead`](Error::MissingHead) for the head's).
    pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Self> {
        Self::of(Pretrained::open(model)?)
    }

    pub(super) fn of(pretrained: Pretrained) -> Result<Self> {
        let mut runner = Runner::new(pretrained);
        for other in [Task::Classify, Task::Tag, Task::FillMask] {
            runner.refuse(other)?;
        }
        let output = runner.config.family().answers.unwrap_or("qa_outputs");
        if runner.checkpoint.shape(&format!("{output}.weight")).is_none() {
            let parameters = ["weight", "bias"].map(|part| format!("{output}.{part}"));
            return Err(runner.missing_head(Task::Answer, parameters.to_vec()));
        }
        let model = SpanPredictor::new(&runner.store().root(), &runner.config)?;
        runner.complete(Task::Answer)?;
        runner.set_max_length(runner.max_length().min(MAX_LENGTH))?;
        Ok(QuestionAnswerer { runner, model, stride: None })
    }

    /// The logits of a batch, with their places in the graph.
    pub(super) fn output(&self, input: &EncoderInput) -> Result<Var> {
        self.model.forward(input, &Forward::inference())
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        self.model.encoder()
    }

    /// The tokens of a text that two neighbouring windows share: 128 unless set, and at most half
    /// of the maximum length.
    pub fn stride(&self) -> usize {
        self.stride.unwrap_or(STRIDE.min(self.runner.max_length() / 2))
    }

    /// Sets the tokens of a text that two neighbouring windows share.
    ///
    /// # Errors
    /// [`Error::Input`] when it is not below the maximum length.
    pub fn set_stride(&mut self, stride: usize) -> Result<()> {
        let length = self.runner.max_length();
        if stride >= length {
            return Err(Error::Input(format!(
                "the stride is {stride}; it must be below the maximum length of {length} tokens"
            )));
        }
        self.stride = Some(stride);
        Ok(())
    }

    /// The best answers to each question, `(question, context)`, in its context.
    ///
    /// The answers and their scores are those of the pipeline of `transformers`: each window has a
    /// softmax of its own, and an answer is made of whole words.
    ///
    /// # Errors
    /// [`Error::Input`] when a question or a context is empty, or a question is too long for a
    /// window; when an output is not a number (the error names the weight to blame).
    pub fn answer<S: AsRef<str> + Sync>(
        &self,
        questions: &[(S, S)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answered>> {
        let windows = |(question, context): &(S, S)| {
            for (name, text) in [("question", question.as_ref()), ("context", context.as_ref())] {
                if text.trim().is_empty() {
                    return Err(Error::Input(format!("a {name} is empty")));
                }
            }
            self.windows(question.as_ref(), context.as_ref())
        };
        let windows = questions.par_iter().map(windows).collect::<Result<Vec<_>>>()?;
        let logits = self.logits(&windows.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let answered = |((question, windows), logits): ((&(S, S), &Vec<Window>), &Vec<_>)| {
            decode(question.1.as_ref(), windows, logits, options)
        };
        Ok(questions.iter().zip(&windows).zip(&logits).map(answered).collect())
    }

    /// The windows of a question with its context.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_windows`](crate::Tokenizer::encode_windows).
    pub fn windows(&self, question: &str, context: &str) -> Result<Vec<Window>> {
        let (tokenizer, length) = (self.runner.tokenizer(), self.runner.max_length());
        tokenizer.encode_windows(question.trim_start(), context, length, self.stride())
    }

    /// The logits of all windows of some questions.
    ///
    /// # Errors
    /// When a window does not fit the model, or an output is not a number (the error names the
    /// weight to blame).
    pub fn logits(&self, questions: &[&[Window]]) -> Result<Vec<Vec<SpanLogits>>> {
        let encodings: Vec<&Encoding> =
            questions.iter().copied().flatten().map(|window| &window.encoding).collect();
        let logits = self.runner.run(&encodings, |input, packed, _| {
            let logits = self.output(input)?;
            let rows = self.runner.numbers(logits.tensor())?;
            let of =
                |range: Range<usize>| SpanLogits::of_rows(&rows[2 * range.start..2 * range.end]);
            Ok(packed.ranges().map(of).collect())
        })?;
        let mut logits = logits.into_iter();
        Ok(questions.iter().map(|windows| logits.by_ref().take(windows.len()).collect()).collect())
    }
}

/// The answers to a question, from the logits of its windows.
fn decode(
    context: &str,
    windows: &[Window],
    logits: &[SpanLogits],
    options: &AnswerOptions,
) -> Answered {
    let best = best_span(windows, logits, options.max_answer_length);
    let mut found = Found { context, answers: Vec::new() };
    let mut none = f32::INFINITY;
    // Some parts become the same when they are made of whole words.
    let most = options.top_k.saturating_mul(2).saturating_add(10);
    for (window, logits) in windows.iter().zip(logits) {
        let [start, end] = [&logits.start, &logits.end].map(|row| probabilities(window, row));
        none = none.min(start[0] * end[0]);
        for (from, to, score) in candidates(window, [&start, &end], most, options.max_answer_length)
        {
            let place = words(window, from, to);
            // A piece of a byte-level vocabulary may begin with the space before its word.
            found.add(trimmed(context, (place.start, place.end)), score);
        }
    }
    let mut answers = found.in_characters();
    let empty = |score| Answer { score, start: 0, end: 0, answer: String::new() };
    if options.no_answer == NoAnswer::Ranked {
        answers.push(empty(none));
    }
    answers.sort_by(|a, b| b.score.total_cmp(&a.score));
    if matches!(options.no_answer, NoAnswer::Above(threshold) if best.difference > threshold) {
        answers.insert(0, empty(none));
    }
    answers.truncate(options.top_k);
    let no_answer_difference = Some(best.difference).filter(|difference| difference.is_finite());
    Answered { answers, no_answer_difference }
}

/// The probabilities of a window's tokens: a softmax over the first token, which stands for no
/// answer, and those of the context. Others have 0.
fn probabilities(window: &Window, logits: &[f32]) -> Vec<f32> {
    let allowed = |at: usize| at == 0 || window.context.contains(&at);
    let logits = || logits.iter().enumerate().filter(|(at, _)| allowed(*at));
    let top = logits().map(|(_, &logit)| logit).fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits().map(|(_, &logit)| (logit - top).exp()).sum();
    let mut probabilities = vec![0.0; window.encoding.len()];
    logits().for_each(|(at, &logit)| probabilities[at] = (logit - top).exp() / sum);
    probabilities
}

/// The most probable parts of a window, by their first and last tokens, the best first.
fn candidates(
    window: &Window,
    [start, end]: [&[f32]; 2],
    most: usize,
    max_answer_length: usize,
) -> Vec<(usize, usize, f32)> {
    let mut parts = Vec::new();
    for from in window.context.clone() {
        let last = window.context.end.min(from.saturating_add(max_answer_length));
        parts.extend((from..last).map(|to| (from, to, start[from] * end[to])));
    }
    parts.sort_by(|a, b| b.2.total_cmp(&a.2));
    parts.truncate(most);
    parts
}

/// Where the words are, in bytes, to which the tokens from one to another belong.
fn words(window: &Window, from: usize, to: usize) -> Range<usize> {
    let Window { encoding, context } = window;
    // A tokenizer without words has none to complete.
    let same = |a: usize, b: usize| {
        a == b || encoding.words[a].is_some_and(|word| encoding.words[b] == Some(word))
    };
    let first = context.clone().find(|&at| same(at, from)).unwrap_or(from);
    let last = context.clone().rfind(|&at| same(at, to)).unwrap_or(to);
    encoding.offsets[first].0..encoding.offsets[last].1.max(encoding.offsets[first].0)
}

/// The answers found so far.
struct Found<'a> {
    context: &'a str,
    /// With their text in lower case, in which equal answers are the same.
    answers: Vec<(Range<usize>, f32, String)>,
}

impl Found<'_> {
    fn add(&mut self, place: Range<usize>, score: f32) {
        let folded = self.context.get(place.clone()).unwrap_or_default().to_lowercase();
        match self.answers.iter_mut().find(|(_, _, known)| *known == folded) {
            Some((_, sum, _)) => *sum += score,
            None => self.answers.push((place, score, folded)),
        }
    }

    fn in_characters(self) -> Vec<Answer> {
        let places: Vec<(usize, usize)> =
            self.answers.iter().map(|(place, ..)| (place.start, place.end)).collect();
        let chars = char_offsets(self.context, &places);
        let answer = |((place, score, _), (start, end)): ((Range<usize>, f32, String), _)| {
            let answer = self.context.get(place).unwrap_or_default().to_string();
            Answer { score, start, end, answer }
        };
        self.answers.into_iter().zip(chars).map(answer).collect()
    }
}
