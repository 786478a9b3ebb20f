//! `infer evaluate` of a model that answers questions.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Outcome, SharedArgs};
use gradus_models::data::Question;
use gradus_models::evaluation::{Evaluation, Metric};
use gradus_models::pipelines::QuestionAnswerer;
use gradus_models::tasks::{AnswerTally, Decoding, EncodedQuestion, encode_questions};
use gradus_models::{Split, Window};
use serde_json::{Value, json};

use super::super::answer::{at_least_one, set_stride};
use super::super::{each_chunk, heading};
use super::{SHOWN, percent};
use crate::args::EvaluateFlags;
use crate::output::Sink;

/// Evaluates a model that answers questions.
pub fn run(
    shared: &SharedArgs,
    flags: &EvaluateFlags,
    path: &Path,
    mut answerer: QuestionAnswerer,
    mut sink: Sink,
) -> Outcome {
    set_stride(&mut answerer, flags.stride)?;
    let split = Split::read_questions(path)?;
    let base = Decoding::default();
    let length = at_least_one("max-answer-length", flags.max_answer_length)?;
    let decoding = Decoding {
        max_answer_length: length.unwrap_or(base.max_answer_length),
        no_answer_threshold: flags.no_answer_threshold.or((split.impossible() > 0).then_some(0.0)),
    };
    let (length, stride) = (answerer.max_length(), answerer.stride());
    let encoded = encode_questions(&split, answerer.tokenizer(), length, stride)?;
    let mut tally = AnswerTally::new(decoding);
    let mut mistakes = Vec::new();
    let questions: Vec<(&Question, EncodedQuestion)> = split.examples.iter().zip(encoded).collect();
    each_chunk(shared, &answerer, &questions, |chunk| {
        let windows: Vec<&[Window]> = chunk.iter().map(|(_, of)| of.windows.as_slice()).collect();
        for ((question, encoded), logits) in chunk.iter().zip(answerer.logits(&windows)?) {
            let (best, predicted, exact) = tally.add(encoded, &logits);
            if !exact {
                let difference = best.difference;
                mistakes.push(Mistake { question, predicted, difference });
            }
        }
        Ok(())
    })?;
    // The surest first: those whose score is furthest from the threshold.
    let threshold = decoding.no_answer_threshold.unwrap_or(0.0);
    let sure = |mistake: &Mistake| match mistake.predicted.is_empty() {
        true => mistake.difference - threshold,
        false => threshold - mistake.difference,
    };
    mistakes.sort_by(|a, b| sure(b).total_cmp(&sure(a)));
    mistakes.truncate(flags.mistakes.unwrap_or(SHOWN));
    let (metrics, misplaced) = (tally.metrics(), split.misplaced().len());
    let result = Evaluated { metrics, numbers: tally.evaluation(), misplaced, mistakes };
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// A question whose answer is not an exact match.
struct Mistake<'a> {
    question: &'a Question,
    /// Empty for no answer.
    predicted: String,
    difference: f64,
}

/// How well the model does.
struct Evaluated<'a> {
    metrics: &'static [Metric],
    numbers: Evaluation,
    /// Questions whose answers stand elsewhere than the data says.
    misplaced: usize,
    mistakes: Vec<Mistake<'a>>,
}

impl Evaluated<'_> {
    fn json(&self) -> Value {
        let mistakes: Vec<Value> = self.mistakes.iter().map(Mistake::json).collect();
        let mut line = json!({
            "examples": self.numbers.examples, "misplaced": self.misplaced, "mistakes": mistakes,
        });
        self.numbers.values().for_each(|(name, value)| line[name] = json!(value));
        line
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let number = |name: &str| self.numbers.get(name);
        let known = self.metrics.iter().filter_map(|m| Some((m, number(m.name)?)));
        let metrics: Vec<String> = known
            .map(|(metric, value)| format!("{} {}", metric.title, metric.show(value)))
            .collect();
        writeln!(out, "{}", metrics.join("  "))?;
        writeln!(out, "loss {:.4}  {} questions", self.numbers.loss, self.numbers.examples)?;
        if self.misplaced > 0 {
            writeln!(
                out,
                "the answers of {} questions do not stand at their answer_start: they count, but not \
                 in the loss",
                self.misplaced
            )?;
        }
        for (title, best) in [("F1", "best_f1"), ("exact match", "best_exact")] {
            if let (Some(score), Some(at)) = (number(best), number(&format!("{best}_thresh"))) {
                let score = percent(score);
                writeln!(out, "best {title} {score} with --no-answer-threshold {at:.4}")?;
            }
        }
        if !self.mistakes.is_empty() {
            writeln!(out, "\nmost confident mistakes")?;
        }
        self.mistakes.iter().try_for_each(|mistake| mistake.print(out))
    }
}

impl Mistake<'_> {
    fn answers(&self) -> Vec<&str> {
        self.question.answers.iter().map(|answer| answer.text.as_str()).collect()
    }

    fn json(&self) -> Value {
        let Question { id, question, .. } = self.question;
        json!({
            "id": id, "question": question, "answers": self.answers(),
            "predicted": self.predicted,
            "no_answer_difference": self.difference.is_finite().then_some(self.difference),
        })
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let told = |answer: &str| match answer.is_empty() {
            true => "no answer".to_string(),
            false => format!("“{answer}”"),
        };
        let mut right = self.answers();
        right.dedup();
        let right = match right.as_slice() {
            [] => told(""),
            all => all.iter().take(3).map(|answer| told(answer)).collect::<Vec<_>>().join(" or "),
        };
        write!(out, "  {}: ", self.question.id)?;
        heading(out, &self.question.question)?;
        write!(out, "    ")?;
        heading(out, &format!("{}, is {right}", told(&self.predicted)))
    }
}
