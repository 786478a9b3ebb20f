//! `answer`: the part of a text that answers a question.

use std::sync::Arc;

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward};
use gradus_tensor::Tensor;
use rayon::prelude::*;

use crate::batch::each_batch;
use crate::data::Question;
use crate::evaluation::{
    BestSpan, Evaluation, Examiner, Metric, SpanLogits, SquadScores, best_agreement, best_span,
};
use crate::training::{ReadTokens, Task};
use crate::{EncoderInput, Error, PackedBatch, Result, SpanPredictor, Split, Tokenizer, Window};

/// A question as windows of tokens, with its right answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedQuestion {
    /// The windows.
    pub windows: Vec<Window>,
    /// The first and the last token of the answer in each window: 0 and 0, those of `[CLS]`, in a
    /// window that does not hold all of it. `None` where the data does not say where it is.
    pub targets: Option<Vec<(usize, usize)>>,
    /// The text that may answer it.
    pub context: Arc<str>,
    /// The right answers; none where the text does not answer it.
    pub answers: Vec<String>,
}

impl EncodedQuestion {
    /// Encodes a question, with windows as [`Tokenizer::encode_windows`] makes them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_windows`].
    pub fn new(
        question: &Question,
        tokenizer: &Tokenizer,
        max_length: usize,
        stride: usize,
    ) -> Result<Self> {
        let Question { context, answers, .. } = question;
        let windows = tokenizer.encode_windows(
            question.question.trim_start(),
            context,
            max_length,
            stride,
        )?;
        let target = |window: &Window| {
            question.place().and_then(|place| window.tokens_of(place)).unwrap_or((0, 0))
        };
        let targets = windows.iter().map(target).collect();
        Ok(EncodedQuestion {
            targets: (!question.is_misplaced()).then_some(targets),
            windows,
            context: context.clone(),
            answers: answers.iter().map(|answer| answer.text.clone()).collect(),
        })
    }

    /// The windows to learn from, with their targets: none where the place of the answer is not
    /// known.
    pub fn learnt(self) -> Vec<AnswerWindow> {
        let windows = self.windows.into_iter().zip(self.targets.unwrap_or_default());
        let window = |(Window { encoding, .. }, target)| AnswerWindow {
            ids: encoding.ids,
            type_ids: encoding.type_ids,
            target,
        };
        windows.map(window).collect()
    }
}

/// The questions of a split as windows of at most `max_length` tokens that have `stride` tokens of
/// the text in common.
///
/// # Errors
/// [`Error::Data`] with the question when it is too long for a window, or cannot be encoded.
pub fn encode_questions(
    split: &Split<Question>,
    tokenizer: &Tokenizer,
    max_length: usize,
    stride: usize,
) -> Result<Vec<EncodedQuestion>> {
    let encode = |question: &Question| {
        EncodedQuestion::new(question, tokenizer, max_length, stride).map_err(|e| match e {
            Error::Input(why) => {
                let message = format!("question {}: {why}", question.id);
                Error::data(&split.path, question.line, message)
            }
            other => other,
        })
    };
    // All of them, so that the error is that of the first question.
    let encoded: Vec<Result<EncodedQuestion>> = split.examples.par_iter().map(encode).collect();
    encoded.into_iter().collect()
}

/// A window to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerWindow {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Their types.
    pub type_ids: Vec<u32>,
    /// The first and the last token of the answer; 0 and 0 for none.
    pub target: (usize, usize),
}

/// How answers are found for an evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoding {
    /// The most tokens of an answer.
    pub max_answer_length: usize,
    /// The prediction is that there is no answer where its score is so much higher than that of the
    /// best part of the text; `None` where every question has an answer.
    pub no_answer_threshold: Option<f64>,
}

impl Default for Decoding {
    /// Answers of at most 30 tokens, as `run_qa.py` of `transformers`; every question has one.
    fn default() -> Self {
        Decoding { max_answer_length: 30, no_answer_threshold: None }
    }
}

/// The prediction for a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The predicted answer; empty for none.
    pub text: String,
    /// Whether it is an exact match.
    pub exact: bool,
    /// The F1 of its words.
    pub f1: f64,
    /// How much higher the score of no answer is than that of the best part of the text.
    pub difference: f64,
}

/// The predictions for some questions, one at a time.
pub struct AnswerTally {
    decoding: Decoding,
    scores: SquadScores,
    loss: f64,
    /// Windows whose loss is known.
    terms: usize,
}

impl AnswerTally {
    /// No question yet.
    pub fn new(decoding: Decoding) -> AnswerTally {
        let scores = SquadScores::new(decoding.no_answer_threshold);
        AnswerTally { decoding, scores, loss: 0.0, terms: 0 }
    }

    /// Counts a question by the logits of its windows. Returns the best part of its text, the
    /// predicted answer (empty for none), and whether that is an exact match.
    pub fn add(
        &mut self,
        question: &EncodedQuestion,
        logits: &[SpanLogits],
    ) -> (BestSpan, String, bool) {
        for (logits, target) in logits.iter().zip(question.targets.iter().flatten()) {
            self.loss += logits.loss(*target);
            self.terms += 1;
        }
        let best = best_span(&question.windows, logits, self.decoding.max_answer_length);
        let text = best.place.clone().and_then(|place| question.context.get(place));
        let text = text.unwrap_or_default();
        let exact = self.scores.add(&question.answers, text, best.difference);
        let none = self.scores.says_none(best.difference);
        (best, if none { String::new() } else { text.to_string() }, exact)
    }

    /// The numbers of the questions counted so far.
    pub fn evaluation(&self) -> Evaluation {
        let loss = self.loss / self.terms.max(1) as f64;
        Evaluation::new(self.scores.questions(), loss, self.scores.values())
    }

    /// The metrics of its evaluation.
    pub fn metrics(&self) -> &'static [Metric] {
        metrics(self.decoding)
    }
}

const F1: Metric = Metric::percent("f1", "F1");
const EXACT: Metric = Metric::percent("exact_match", "exact match");
const PLAIN: [Metric; 2] = [F1, EXACT];
const WITH_IMPOSSIBLE: [Metric; 5] = [
    F1,
    EXACT,
    Metric::percent("HasAns_f1", "answered: F1"),
    Metric::percent("HasAns_exact", "answered: exact match"),
    Metric::percent("NoAns_exact", "unanswered: exact match"),
];

fn metrics(decoding: Decoding) -> &'static [Metric] {
    match decoding.no_answer_threshold {
        None => &PLAIN,
        Some(_) => &WITH_IMPOSSIBLE,
    }
}

/// Training of a [`SpanPredictor`] on windows of questions with texts.
pub struct QuestionAnswering {
    model: SpanPredictor,
    windows: Vec<AnswerWindow>,
    lengths: Vec<usize>,
    decoding: Decoding,
}

impl QuestionAnswering {
    /// The task of training `model` on `windows`.
    pub fn new(model: SpanPredictor, windows: Vec<AnswerWindow>, decoding: Decoding) -> Self {
        let lengths = windows.iter().map(|window| window.ids.len()).collect();
        QuestionAnswering { model, windows, lengths, decoding }
    }

    /// The model.
    pub fn model(&self) -> &SpanPredictor {
        &self.model
    }

    /// The logits of some windows' tokens, `[tokens, 2]`, and where each window begins.
    fn logits<'a>(
        &self,
        parts: impl Iterator<Item = (&'a [u32], &'a [u32])>,
        forward: &Forward,
    ) -> Result<(Var, PackedBatch)> {
        let packed = PackedBatch::from_parts(parts, self.model.encoder().config())?;
        let input = EncoderInput::new(&packed)?.to_device(self.model.encoder().device())?;
        Ok((self.model.forward(&input, forward)?, packed))
    }
}

impl Task for QuestionAnswering {
    type Set = Vec<EncodedQuestion>;
    type Findings = Vec<Answered>;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn sequences(&self, batch: &[usize], _: &[String]) -> Vec<ReadTokens> {
        let read = |&i: &usize| {
            let AnswerWindow { ids, target: (start, end), .. } = &self.windows[i];
            let target = format!("from token {start} to token {end}");
            ReadTokens { ids: ids.clone(), target: Some(target) }
        };
        batch.iter().map(read).collect()
    }

    /// The mean of the losses of the start and of the end, over the windows.
    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let windows = batch.iter().map(|&i| &self.windows[i]);
        let parts = windows.clone().map(|window| (&window.ids[..], &window.type_ids[..]));
        let (logits, packed) = self.logits(parts, forward)?;
        let targets: Vec<(usize, usize)> = windows.map(|window| window.target).collect();
        span_loss(&logits, &packed, &targets)
    }

    fn is_head(&self, name: &str) -> bool {
        crate::family::is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        metrics(self.decoding)
    }

    /// The loss is the mean over the windows, without those whose answer has no known place.
    fn examine(
        &self,
        set: &Self::Set,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let windows: Vec<&Window> = set.iter().flat_map(|question| &question.windows).collect();
        let lengths: Vec<usize> = windows.iter().map(|window| window.encoding.len()).collect();
        let mut logits = vec![SpanLogits::default(); windows.len()];
        let compute = |batch: &[usize]| {
            let chosen = batch.iter().map(|&i| &windows[i].encoding);
            let parts = chosen.map(|encoding| (&encoding.ids[..], &encoding.type_ids[..]));
            let (logits, _) = self.logits(parts, &Forward::inference())?;
            Ok(logits.tensor().to_vec::<f32>()?)
        };
        each_batch(&lengths, 32, examiner, compute, |batch, rows| {
            let mut rest = rows;
            for &i in batch {
                let (own, later) = rest.split_at(2 * lengths[i]);
                (logits[i], rest) = (SpanLogits::of_rows(own), later);
            }
            Ok(())
        })?;
        let mut logits = logits.into_iter();
        let mut tally = AnswerTally::new(self.decoding);
        let answered = |question: &EncodedQuestion| {
            let logits: Vec<SpanLogits> = logits.by_ref().take(question.windows.len()).collect();
            let (best, text, exact) = tally.add(question, &logits);
            let f1 = best_agreement(&question.answers, &text).1;
            Answered { text, exact, f1, difference: best.difference }
        };
        let found = set.iter().map(answered).collect();
        Ok((tally.evaluation(), found))
    }
}

/// The logit of a place beyond the end of a window: its probability is 0.
const BEYOND: f64 = -1e9;

/// The mean cross-entropy of the starts and the ends. The softmax of a window is over its own tokens.
fn span_loss(logits: &Var, packed: &PackedBatch, targets: &[(usize, usize)]) -> Result<Var> {
    let (windows, longest) = (packed.sequences(), packed.longest());
    let device = logits.tensor().device();
    let (mut places, mut beyond) = (Vec::new(), Vec::new());
    for range in packed.ranges() {
        for at in 0..longest {
            let within = at < range.len();
            places.push((range.start + if within { at } else { 0 }) as u32);
            beyond.push(u8::from(!within));
        }
    }
    let places = Tensor::from_slice(&places, &[windows * longest])?.to_device(device)?;
    // Rows of starts, then rows of ends.
    let rows = logits.index_select(0, &places)?.reshape(&[windows, longest, 2])?;
    let rows = rows.permute(&[2, 0, 1])?;
    let beyond = Tensor::from_slice(&beyond, &[1, windows, longest])?.to_device(device)?;
    let rows = rows.masked_fill(&beyond, BEYOND)?.reshape(&[2 * windows, longest])?;
    let (starts, ends): (Vec<usize>, Vec<usize>) = targets.iter().copied().unzip();
    let targets: Vec<u32> = starts.into_iter().chain(ends).map(|at| at as u32).collect();
    let targets = Tensor::from_slice(&targets, &[targets.len()])?.to_device(device)?;
    Ok(rows.cross_entropy(&targets, &CrossEntropy::default())?)
}
