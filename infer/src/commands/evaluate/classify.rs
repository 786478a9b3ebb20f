//! `infer evaluate` of a classifier of texts.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::data::Format;
use gradus_models::evaluation::{ClassScores, Confusion};
use gradus_models::pipelines::TextClassifier;
use gradus_models::{Columns, Example, Labels, Split};
use serde_json::{Map, Value, json};

use super::super::{each_chunk, heading};
use super::{SHOWN, percent, print_classes};
use crate::args::EvaluateFlags;
use crate::input;
use crate::output::Sink;

/// Evaluates a classifier of texts.
pub fn run(
    shared: &SharedArgs,
    flags: &EvaluateFlags,
    path: &Path,
    classifier: &TextClassifier,
    mut sink: Sink,
) -> Outcome {
    let columns = Columns {
        text: flags.text_column.clone().unwrap_or_else(|| "text".into()),
        pair: flags.pair_column.clone(),
        label: Some(flags.label_column.clone().unwrap_or_else(|| "label".into())),
    };
    let split = read(path, &columns)?;
    let labels = known_labels(classifier, &split)?;
    let truth = labels.encode(&split)?;

    let texts: Vec<input::Input> =
        split.examples.iter().map(|e| (e.text.clone(), e.pair.clone())).collect();
    let mut tally = Tally::default();
    each_chunk(shared, classifier, &texts, |chunk| {
        for scores in classifier.probabilities(chunk)? {
            tally.add(&truth, &scores);
        }
        Ok(())
    })?;
    let result = tally.result(&labels, &split, flags.mistakes.unwrap_or(SHOWN));
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// A labelled file.
fn read(path: &Path, columns: &Columns) -> Outcome<Split> {
    if path != Path::new("-") && Format::of(path)? == Format::Text {
        return Err(Failure::usage(format!(
            "--data {}: a .txt file has no labels; use .csv, .tsv or .jsonl",
            path.display()
        )));
    }
    Ok(Split::read(path, columns)?)
}

/// The model's labels under the names of the data, which calls `LABEL_2` of a model without names
/// 2.
fn known_labels(classifier: &TextClassifier, split: &Split) -> Outcome<Labels> {
    if !classifier.chooses_one() {
        return Err(Failure::error(
            "the model does not choose one of its labels (problem_type in config.json, or a single label): \
             infer evaluate measures classifiers that do",
        ));
    }
    let names = classifier.labels();
    let unnamed = names.iter().enumerate().all(|(id, name)| *name == format!("LABEL_{id}"));
    let uses_names =
        split.examples.iter().any(|e| e.label.as_ref().is_some_and(|l| names.contains(l)));
    Ok(match unnamed && !uses_names {
        true => Labels::from_names((0..names.len()).map(|id| id.to_string()).collect())?,
        false => Labels::from_names(names.to_vec())?,
    })
}

/// The counts, while the texts are computed.
#[derive(Default)]
struct Tally {
    confusion: Confusion,
    loss: f64,
    /// The predicted label of each text, and its score.
    predictions: Vec<(u32, f32)>,
}

impl Tally {
    /// Counts the next text.
    fn add(&mut self, truth: &[u32], scores: &[f32]) {
        let truth = truth[self.predictions.len()];
        // Of equal scores the first, like `argmax`.
        let mut best = (0, f32::NEG_INFINITY);
        for (label, &score) in scores.iter().enumerate() {
            if score > best.1 {
                best = (label as u32, score);
            }
        }
        self.confusion.add(truth, best.0);
        self.loss -= f64::from(scores[truth as usize]).max(f64::MIN_POSITIVE).ln();
        self.predictions.push(best);
    }

    fn result<'a>(self, labels: &'a Labels, split: &'a Split, shown: usize) -> Evaluated<'a> {
        let name = |id: u32| labels.name(id).unwrap_or_default();
        let mut wrong: Vec<Mistake> = split
            .examples
            .iter()
            .zip(&self.predictions)
            .map(|(example, &(predicted, score))| Mistake {
                example,
                predicted: name(predicted),
                score,
            })
            .filter(|mistake| mistake.example.label.as_deref() != Some(mistake.predicted))
            .collect();
        wrong.sort_by(|a, b| b.score.total_cmp(&a.score));
        wrong.truncate(shown);
        let ids = 0..labels.len() as u32;
        Evaluated {
            accuracy: self.confusion.accuracy(),
            macro_f1: self.confusion.macro_f1(),
            loss: self.loss / self.predictions.len().max(1) as f64,
            examples: self.predictions.len(),
            per_class: ids.map(|id| (name(id), self.confusion.scores(id))).collect(),
            confusions: (self.confusion.worst(shown).into_iter())
                .map(|(truth, predicted, count)| (name(truth), name(predicted), count))
                .collect(),
            mistakes: wrong,
        }
    }
}

/// A text with a wrong prediction.
struct Mistake<'a> {
    example: &'a Example,
    predicted: &'a str,
    /// The probability of the wrong label.
    score: f32,
}

/// How well the model does.
struct Evaluated<'a> {
    accuracy: f64,
    macro_f1: f64,
    loss: f64,
    examples: usize,
    per_class: Vec<(&'a str, ClassScores)>,
    /// True label, predicted label, how often.
    confusions: Vec<(&'a str, &'a str, u64)>,
    mistakes: Vec<Mistake<'a>>,
}

impl Evaluated<'_> {
    fn json(&self) -> Value {
        let per_class: Map<String, Value> =
            self.per_class.iter().map(|(name, scores)| (name.to_string(), json!(scores))).collect();
        let confusions: Vec<Value> = (self.confusions.iter())
            .map(|(label, predicted, count)| json!({"label": label, "predicted": predicted, "count": count}))
            .collect();
        let mistakes: Vec<Value> = (self.mistakes.iter())
            .map(|Mistake { example, predicted, score }| {
                let mut line = json!({
                    "text": example.text, "label": example.label, "predicted": predicted, "score": score,
                    "line": example.line,
                });
                if let Some(pair) = &example.pair {
                    line["pair"] = json!(pair);
                }
                line
            })
            .collect();
        json!({
            "accuracy": self.accuracy, "macro_f1": self.macro_f1, "loss": self.loss,
            "examples": self.examples, "per_class": per_class, "confusions": confusions,
            "mistakes": mistakes,
        })
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "accuracy {}  macro F1 {}", percent(self.accuracy), percent(self.macro_f1))?;
        writeln!(out, "loss {:.4}  {} texts\n", self.loss, self.examples)?;
        print_classes(out, &self.per_class, ("label", "texts"))?;
        if !self.confusions.is_empty() {
            writeln!(out, "\nmost frequent mistakes")?;
        }
        for (label, predicted, count) in &self.confusions {
            writeln!(out, "  {count:>5} × {label}, taken for {predicted}")?;
        }
        if !self.mistakes.is_empty() {
            writeln!(out, "\nmost confident mistakes")?;
        }
        for Mistake { example, predicted, score } in &self.mistakes {
            let label = example.label.as_deref().unwrap_or_default();
            writeln!(out, "  line {}: {predicted} {score:.4}, is {label}", example.line)?;
            write!(out, "    ")?;
            heading(out, &example.text)?;
            if let Some(pair) = &example.pair {
                write!(out, "    ")?;
                heading(out, pair)?;
            }
        }
        Ok(())
    }
}
