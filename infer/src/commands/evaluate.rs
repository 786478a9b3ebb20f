//! `infer evaluate`.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, layered};
use gradus_models::data::Format;
use gradus_models::evaluation::{ClassScores, Confusion};
use gradus_models::pipelines::TextClassifier;
use gradus_models::{Columns, Example, Labels, Split};
use serde_json::{Map, Value, json};

use super::{each_chunk, opened};
use crate::args::Evaluate;
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer evaluate --model MODEL --data test.csv";

/// Number of confusions, and of mistakes, to show unless --mistakes says otherwise.
const SHOWN: usize = 5;

pub fn run(shared: &SharedArgs, args: Evaluate) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.run, USAGE)?;
    let path = flags.data.as_deref().ok_or_else(|| {
        Failure::usage(format!("no data: name a labelled file with --data; for example\n  {USAGE}"))
    })?;
    let mut sink = Sink::open(&shared, flags.output.as_deref())?;
    let device = shared.start()?;
    let columns = Columns {
        text: flags.text_column.clone().unwrap_or_else(|| "text".into()),
        pair: flags.pair_column.clone(),
        label: Some(flags.label_column.clone().unwrap_or_else(|| "label".into())),
    };
    let split = read(path, &columns)?;
    let classifier = opened(&shared, device, &flags.run, || TextClassifier::open(model))?;
    let labels = known_labels(&classifier, &split)?;
    let truth = labels.encode(&split)?;

    let texts: Vec<input::Input> =
        split.examples.iter().map(|e| (e.text.clone(), e.pair.clone())).collect();
    let mut tally = Tally::default();
    each_chunk(&shared, &classifier, &texts, |chunk| {
        for scores in classifier.probabilities(chunk)? {
            tally.add(&truth, &scores);
        }
        Ok(())
    })?;
    let shown = flags.mistakes.unwrap_or(SHOWN);
    let result = tally.result(&labels, &split, shown);
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(&shared, 1)
}

/// A labelled file.
fn read(path: &Path, columns: &Columns) -> Outcome<Split> {
    if path.is_dir() {
        return Err(Failure::usage(format!(
            "--data {}: name one file of the folder, such as test.csv",
            path.display()
        )));
    }
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
            "the model does not choose one label for each text (problem_type in config.json, or a \
             single label); infer evaluate measures only classifiers that choose one",
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
        let percent = |share: f64| format!("{:.2}%", share * 100.0);
        writeln!(out, "accuracy {}  macro F1 {}", percent(self.accuracy), percent(self.macro_f1))?;
        writeln!(out, "loss {:.4}  {} texts\n", self.loss, self.examples)?;
        let width = self.per_class.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let width = width.max("label".len());
        writeln!(out, "{:width$}  precision  recall      F1  texts", "label")?;
        for (name, s) in &self.per_class {
            let (precision, recall, f1) = (percent(s.precision), percent(s.recall), percent(s.f1));
            writeln!(out, "{name:width$}  {precision:>9} {recall:>7} {f1:>7} {:>6}", s.support)?;
        }
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
            super::heading(out, &example.text)?;
            if let Some(pair) = &example.pair {
                write!(out, "    ")?;
                super::heading(out, pair)?;
            }
        }
        Ok(())
    }
}
