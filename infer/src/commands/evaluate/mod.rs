//! `infer evaluate`: how well a model does the task of its head.

mod answer;
mod classify;
mod costly;
mod embed;
mod language;
mod masked;
mod next_words;
mod tokens;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome, SharedArgs, layered, note};
use gradus_models::data::set_file;
use gradus_models::evaluation::ClassScores;
use gradus_models::pipelines::{self, Pipeline, TextClassifier, TextEmbedder, TextGenerator};
use gradus_models::{ModelRef, Pretrained, Task, resolve_data};
use gradus_tensor::Device;

use super::opened;
use crate::args::{Evaluate, EvaluateFlags, ModelFlags};
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
    let path = located(&shared, path, &flags)?;
    let path = path.as_path();
    let sink = Sink::open(&shared, flags.output.as_deref())?;
    let device = shared.start()?;
    let pairs = of_pairs(&flags).iter().any(|(_, given)| *given);
    let raw = masked::is_raw(path, &flags);
    if raw
        && !pairs
        && let Some(generator) = causal(&shared, device, &flags.run, model)?
    {
        let why =
            "predicts the next words: the data is raw text, or --text-column names its column";
        refuse(&others(&flags, Kind::Causal), why)?;
        return next_words::run(&shared, &flags, path, &generator, sink);
    }
    match opened(&shared, device, &flags.run, || open(model, pairs, raw))? {
        Pipeline::FillMask(filler) => {
            let why = "fills masks: the data is raw text, or --text-column names its column";
            refuse(&others(&flags, Kind::Masked), why)?;
            masked::run(&shared, &flags, path, &filler, sink)
        }
        Pipeline::Tag(tagger) => {
            let why = "tags words: --tokens-column and --tags-column name its columns";
            refuse(&others(&flags, Kind::Words), why)?;
            tokens::run(&shared, &flags, path, &tagger, sink)
        }
        Pipeline::Classify(classifier) => {
            let why = "classifies texts: --text-column and --label-column name its columns";
            refuse(&others(&flags, Kind::Texts), why)?;
            classify::run(&shared, &flags, path, &classifier, sink)
        }
        Pipeline::Embed(embedder) => {
            let why = "embeds texts: --anchor-column, --positive-column, --negative-column and \
                       --score-column name its columns";
            refuse(&others(&flags, Kind::Pairs), why)?;
            embed::run(&shared, &flags, path, &embedder, sink)
        }
        Pipeline::Answer(answerer) => {
            let why = "answers questions: the data has the keys question, context and answers";
            refuse(&others(&flags, Kind::Questions), why)?;
            answer::run(&shared, &flags, path, answerer, sink)
        }
    }
}

/// The data file: that of a set, where --data is a folder or a data set of the hub.
fn located(shared: &SharedArgs, data: &Path, flags: &EvaluateFlags) -> Outcome<PathBuf> {
    let (path, notes) = resolve_data(data)?;
    notes.iter().for_each(|told| note(shared, format!("note: {told}")));
    if !path.is_dir() {
        return match flags.split {
            None => Ok(path),
            Some(_) => Err(Failure::usage(format!(
                "--split: {} is one file; leave the flag out",
                path.display()
            ))),
        };
    }
    let file = set_file(&path, flags.split);
    let file =
        file.map_err(|error| Failure::usage(format!("--data: {error}; or name one file")))?;
    note(shared, format!("evaluates {}", file.display()));
    Ok(file)
}

/// Opens a model that generates; `None` for any other model.
fn causal(
    shared: &SharedArgs,
    device: Device,
    flags: &ModelFlags,
    model: ModelRef,
) -> Outcome<Option<TextGenerator>> {
    let task = Pretrained::open(model).and_then(|pretrained| pretrained.task());
    match task {
        Ok(Task::Generate) => {
            opened(shared, device, flags, || TextGenerator::open(model)).map(Some)
        }
        _ => Ok(None),
    }
}

/// Opens a tagger of words, a question answerer or an embedder; any other model must be a
/// classifier. A model without a head embeds if its folder says how, or if `pairs` are to be
/// compared. A masked language model is measured on `raw` text.
fn open(model: ModelRef, pairs: bool, raw: bool) -> gradus_models::Result<Pipeline> {
    match pipelines::open(model) {
        Ok(pipeline @ (Pipeline::Tag(_) | Pipeline::Classify(_) | Pipeline::Answer(_))) => {
            Ok(pipeline)
        }
        Ok(Pipeline::Embed(embedder)) if pairs || embedder.is_listed() => {
            Ok(Pipeline::Embed(embedder))
        }
        Ok(pipeline @ Pipeline::FillMask(_)) if raw && !pairs => Ok(pipeline),
        Ok(Pipeline::FillMask(_)) if pairs => {
            TextEmbedder::open(model, None, None).map(Pipeline::Embed)
        }
        // For a model without a head, the error says how to train one.
        _ => TextClassifier::open(model).map(Pipeline::Classify),
    }
}

/// A flag, and whether it was given.
type Given = (&'static str, bool);

/// The flags about the columns of a classifier's data.
fn of_texts(flags: &EvaluateFlags) -> [Given; 3] {
    [
        ("text-column", flags.text_column.is_some()),
        ("label-column", flags.label_column.is_some()),
        ("pair-column", flags.pair_column.is_some()),
    ]
}

/// The flags of a tagger.
fn of_words(flags: &EvaluateFlags) -> [Given; 4] {
    [
        ("tokens-column", flags.tokens_column.is_some()),
        ("tags-column", flags.tags_column.is_some()),
        ("tag-names", flags.tag_names.is_some()),
        ("scheme", flags.scheme.is_some()),
    ]
}

/// The flags of a question answerer.
fn of_questions(flags: &EvaluateFlags) -> [Given; 3] {
    [
        ("stride", flags.stride.is_some()),
        ("max-answer-length", flags.max_answer_length.is_some()),
        ("no-answer-threshold", flags.no_answer_threshold.is_some()),
    ]
}

/// The flags of an embedder.
fn of_pairs(flags: &EvaluateFlags) -> [Given; 4] {
    [
        ("anchor-column", flags.anchor_column.is_some()),
        ("positive-column", flags.positive_column.is_some()),
        ("negative-column", flags.negative_column.is_some()),
        ("score-column", flags.score_column.is_some()),
    ]
}

/// The flags of a masked language model.
fn of_masked(flags: &EvaluateFlags) -> [Given; 3] {
    [
        ("text-column", flags.text_column.is_some()),
        ("mask-probability", flags.mask_probability.is_some()),
        ("whole-words", flags.whole_words),
    ]
}

/// The flags of a causal language model.
fn of_causal(flags: &EvaluateFlags) -> [Given; 1] {
    [("text-column", flags.text_column.is_some())]
}

/// The kinds of models that are evaluated, each with flags of its own.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Texts,
    Words,
    Pairs,
    Questions,
    Masked,
    Causal,
}

/// The flags of the other kinds, without those that `own` has too.
fn others(flags: &EvaluateFlags, own: Kind) -> Vec<Given> {
    let all = [
        (Kind::Texts, of_texts(flags).to_vec()),
        (Kind::Words, of_words(flags).to_vec()),
        (Kind::Pairs, of_pairs(flags).to_vec()),
        (Kind::Questions, of_questions(flags).to_vec()),
        (Kind::Masked, of_masked(flags).to_vec()),
        (Kind::Causal, of_causal(flags).to_vec()),
    ];
    let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(kind, _)| *kind == own);
    let is_own = |flag: &Given| own.iter().any(|(_, flags)| flags.contains(flag));
    others.into_iter().flat_map(|(_, flags)| flags).filter(|flag| !is_own(flag)).collect()
}

/// Refuses flags that are for models of another task.
fn refuse(others: &[Given], why: &str) -> Outcome {
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
