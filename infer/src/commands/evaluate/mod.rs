//! `infer evaluate`: how well a model does the task of its head.

mod classify;
mod tokens;

use std::io::{self, Write};

use gradus_cli::{Failure, Outcome, SharedArgs, layered};
use gradus_models::ModelRef;
use gradus_models::evaluation::ClassScores;
use gradus_models::pipelines::{self, Pipeline, TextClassifier};

use super::opened;
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
    if path.is_dir() {
        return Err(Failure::usage(format!(
            "--data {}: name one file of the folder, such as test.csv",
            path.display()
        )));
    }
    let sink = Sink::open(&shared, flags.output.as_deref())?;
    let device = shared.start()?;
    match opened(&shared, device, &flags.run, || open(model))? {
        Pipeline::Tag(tagger) => {
            let others = [
                ("text-column", flags.text_column.is_some()),
                ("label-column", flags.label_column.is_some()),
                ("pair-column", flags.pair_column.is_some()),
            ];
            refuse(&others, "tags words: --tokens-column and --tags-column name its columns")?;
            tokens::run(&shared, &flags, path, &tagger, sink)
        }
        Pipeline::Classify(classifier) => {
            let others = [
                ("tokens-column", flags.tokens_column.is_some()),
                ("tags-column", flags.tags_column.is_some()),
                ("tag-names", flags.tag_names.is_some()),
                ("scheme", flags.scheme.is_some()),
            ];
            refuse(&others, "classifies texts: --text-column and --label-column name its columns")?;
            classify::run(&shared, &flags, path, &classifier, sink)
        }
        // `open` returns no other.
        _ => Err(Failure::error("the model has no head that can be evaluated")),
    }
}

/// Opens a tagger of words; any other model must be a classifier.
fn open(model: ModelRef) -> gradus_models::Result<Pipeline> {
    match pipelines::open(model) {
        Ok(pipeline @ (Pipeline::Tag(_) | Pipeline::Classify(_))) => Ok(pipeline),
        // For a model without a head, the error says how to train one.
        _ => TextClassifier::open(model).map(Pipeline::Classify),
    }
}

/// Refuses flags that are for models of another task.
fn refuse(others: &[(&str, bool)], why: &str) -> Outcome {
    match others.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::usage(format!("--{name}: the model {why}"))),
    }
}

/// A share, in percent.
fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// A table of the scores of each class; `names` are the headings of its first and last column.
fn print_classes<S: AsRef<str>>(
    out: &mut dyn Write,
    classes: &[(S, ClassScores)],
    (first, last): (&str, &str),
) -> io::Result<()> {
    let width = classes.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0);
    let (width, count) = (width.max(first.len()), last.len().max(5));
    writeln!(out, "{first:width$}  precision  recall      F1  {last:>count$}")?;
    for (name, s) in classes {
        let (precision, recall, f1) = (percent(s.precision), percent(s.recall), percent(s.f1));
        let name = name.as_ref();
        writeln!(out, "{name:width$}  {precision:>9} {recall:>7} {f1:>7}  {:>count$}", s.support)?;
    }
    Ok(())
}
