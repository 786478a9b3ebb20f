//! `infer evaluate` of a classifier of texts.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::data::{Format, LabelForm};
use gradus_models::evaluation::{ClassScores, Evaluation, Metric};
use gradus_models::pipelines::TextClassifier;
use gradus_models::tasks::{Answers, Judged, Problem, Tally};
use gradus_models::{Columns, Example, Labels, Split};
use serde_json::{Map, Value, json};

use super::super::{each_chunk, heading};
use super::{SHOWN, print_classes};
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
    let problem = classifier.problem();
    let columns = Columns {
        text: flags.text_column.clone().unwrap_or_else(|| "text".into()),
        pair: flags.pair_column.clone(),
        label: Some(flags.label_column.clone().unwrap_or_else(|| "label".into())),
        labels: match problem {
            Problem::Multi => LabelForm::Several,
            Problem::Single | Problem::Regression => LabelForm::One,
        },
    };
    let split = read(path, &columns)?;
    let labels = known_labels(classifier, &split)?;
    let answers = Answers::of(&split, problem, &labels)?;

    let texts: Vec<input::Input> =
        split.examples.iter().map(|e| (e.text.clone(), e.pair.clone())).collect();
    let mut counted = Counted { labels: &labels, tally: Tally::new(&answers), rows: Vec::new() };
    each_chunk(shared, classifier, &texts, |chunk| {
        counted.add_chunk(classifier, chunk)?;
        Ok(())
    })?;
    let result = counted.result(&split, flags.mistakes.unwrap_or(SHOWN));
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// A labelled file.
fn read(path: &Path, columns: &Columns) -> Outcome<Split> {
    if path != Path::new("-") && Format::of(path)? == Format::Text {
        return Err(Failure::usage(format!(
            "--data {}: a .txt file has no labels; use .csv, .tsv, .jsonl or .parquet",
            path.display()
        )));
    }
    Ok(Split::read(path, columns)?)
}

/// The model's labels under the names of the data, which calls `LABEL_2` of a model without names
/// 2.
fn known_labels(classifier: &TextClassifier, split: &Split) -> Outcome<Labels> {
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
struct Counted<'a> {
    labels: &'a Labels,
    tally: Tally<'a>,
    rows: Vec<Judged>,
}

impl<'a> Counted<'a> {
    fn add_chunk(
        &mut self,
        classifier: &TextClassifier,
        chunk: &[input::Input],
    ) -> gradus_models::Result<()> {
        if let Tally::Numbers(..) = self.tally {
            let scores = classifier.predict(chunk, None)?;
            scores.iter().for_each(|of| self.add(&[of.first().map_or(f32::NAN, |s| s.score)]));
        } else {
            classifier.text_logits(chunk)?.iter().for_each(|logits| self.add(logits));
        }
        Ok(())
    }

    /// Counts the next text.
    fn add(&mut self, logits: &[f32]) {
        let judged = self.tally.add(logits, self.rows.len());
        self.rows.push(judged);
    }

    fn result(self, split: &'a Split, shown: usize) -> Evaluated<'a> {
        let labels = self.labels;
        let name = |id: u32| labels.name(id).unwrap_or_default();
        let mut wrong: Vec<Mistake> = (split.examples.iter().zip(self.rows))
            .filter(|(_, row)| row.wrong)
            .map(|(example, Judged { given, score, .. })| Mistake {
                example,
                predicted: given.show(labels),
                score,
            })
            .collect();
        wrong.sort_by(|a, b| b.score.total_cmp(&a.score));
        wrong.truncate(shown);
        let scores = self.tally.scores(labels.len());
        let confusions = match &self.tally {
            Tally::Single(_, tally) => tally.confusion.worst(shown),
            Tally::Multi(..) | Tally::Numbers(..) => Vec::new(),
        };
        Evaluated {
            metrics: self.tally.metrics(),
            numbers: self.tally.evaluation(),
            per_class: (0..).map(name).zip(scores).collect(),
            confusions: (confusions.into_iter())
                .map(|(truth, predicted, count)| (name(truth), name(predicted), count))
                .collect(),
            mistakes: wrong,
        }
    }
}

/// A text with a wrong prediction.
struct Mistake<'a> {
    example: &'a Example,
    predicted: String,
    score: f32,
}

/// How well the model does.
struct Evaluated<'a> {
    metrics: &'static [Metric],
    numbers: Evaluation,
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
        let mut line = json!({
            "examples": self.numbers.examples, "per_class": per_class, "confusions": confusions,
            "mistakes": mistakes,
        });
        self.numbers.values().for_each(|(name, value)| line[name] = json!(value));
        line
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let number = |metric: &Metric| self.numbers.get(metric.name).unwrap_or(f64::NAN);
        let metrics = self.metrics.iter();
        let metrics: Vec<String> = metrics
            .map(|metric| format!("{} {}", metric.title, metric.show(number(metric))))
            .collect();
        writeln!(out, "{}", metrics.join("  "))?;
        writeln!(out, "loss {:.4}  {} texts", self.numbers.loss, self.numbers.examples)?;
        if !self.per_class.is_empty() {
            writeln!(out)?;
            print_classes(out, &self.per_class, ("label", "texts"))?;
        }
        self.print_mistakes(out)
    }

    fn print_mistakes(&self, out: &mut dyn Write) -> io::Result<()> {
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
            let predicted = if predicted.is_empty() { "no label" } else { predicted };
            let label = if label.is_empty() { "without one" } else { label };
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
