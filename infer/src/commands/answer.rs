//! `infer answer`.

use std::io::{self, Read};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, layered};
use gradus_models::data::{ending, read_questions};
use gradus_models::pipelines::{Answer, AnswerOptions, Answered, NoAnswer, QuestionAnswerer};
use gradus_models::{Columns, Example, read_inputs};
use serde::Serialize;

use super::{each_chunk, heading, opened};
use crate::args::{Answer as Args, AnswerFlags};
use crate::input;
use crate::output::Sink;

const USAGE: &str =
    "infer answer --model MODEL \"Who wrote it?\" \"Ada Lovelace wrote it in 1843.\"";

#[derive(Serialize)]
struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    question: &'a str,
    #[serde(flatten)]
    answered: &'a Answered,
}

/// A question with the text that may answer it.
struct Asked {
    id: Option<String>,
    question: String,
    context: std::sync::Arc<str>,
}

pub fn run(shared: &SharedArgs, args: Args) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.run, USAGE)?;
    let options = options(&flags)?;
    let mut sink = Sink::open(&shared, flags.output.as_deref())?;
    let device = shared.start()?;
    let questions = questions(args.text, &flags)?;
    for asked in &questions {
        for (name, text) in [("question", asked.question.as_str()), ("text", &asked.context)] {
            if text.trim().is_empty() {
                let id = asked.id.as_ref().map(|id| format!(" of question {id}"));
                let id = id.unwrap_or_default();
                return Err(Failure::error(format!("a {name}{id} is empty")));
            }
        }
    }
    let mut answerer = opened(&shared, device, &flags.run, || QuestionAnswerer::open(model))?;
    set_stride(&mut answerer, flags.stride)?;
    each_chunk(&shared, &answerer, &questions, |chunk| {
        let pairs: Vec<(&str, &str)> =
            chunk.iter().map(|asked| (asked.question.as_str(), &*asked.context)).collect();
        for (asked, answered) in chunk.iter().zip(&answerer.answer(&pairs, &options)?) {
            write(&mut sink, asked, answered)?;
        }
        sink.flush()
    })?;
    sink.finish(&shared, questions.len())
}

/// Sets the stride, where the flag gives one.
pub fn set_stride(answerer: &mut QuestionAnswerer, stride: Option<usize>) -> Outcome {
    match stride {
        Some(stride) => {
            answerer.set_stride(stride).map_err(|e| Failure::usage(format!("--stride: {e}")))
        }
        None => Ok(()),
    }
}

/// Refuses a count of 0.
pub fn at_least_one(flag: &str, value: Option<usize>) -> Outcome<Option<usize>> {
    match value {
        Some(0) => Err(Failure::usage(format!("--{flag} is 0; it must be 1 or more"))),
        value => Ok(value),
    }
}

fn options(flags: &AnswerFlags) -> Outcome<AnswerOptions> {
    let base = AnswerOptions::default();
    let length = at_least_one("max-answer-length", flags.max_answer_length)?;
    Ok(AnswerOptions {
        top_k: at_least_one("top-k", flags.top_k)?.unwrap_or(base.top_k),
        max_answer_length: length.unwrap_or(base.max_answer_length),
        no_answer: match flags.no_answer_threshold {
            Some(threshold) => NoAnswer::Above(threshold),
            None if flags.no_answer => NoAnswer::Ranked,
            None => NoAnswer::Never,
        },
    })
}

/// The questions of the command line, or of --input.
fn questions(given: Vec<String>, flags: &AnswerFlags) -> Outcome<Vec<Asked>> {
    if let Some(path) = &flags.input {
        return of_file(path);
    }
    let asked = |question, context| Asked { id: None, question, context };
    match (&flags.context_file, <[String; 2]>::try_from(given)) {
        (None, Ok([question, context])) => Ok(vec![asked(question, context.into())]),
        (None, Err(given)) => Err(Failure::usage(format!(
            "{}, where a question and the text that may answer it are expected; or name the \
             text with --context-file, or questions with their texts with --input; for example\n  \
             {USAGE}",
            match given.len() {
                1 => "1 text".to_string(),
                n => format!("{n} texts"),
            }
        ))),
        (Some(path), given) => {
            let given = given.map_or_else(|given| given, Vec::from);
            if given.is_empty() {
                return Err(Failure::usage("no question to --context-file; name one or more"));
            }
            let context: std::sync::Arc<str> = text(path)?.into();
            Ok(given.into_iter().map(|question| asked(question, context.clone())).collect())
        }
    }
}

/// The text of --context-file.
fn text(path: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    match path == Path::new("-") {
        true => {
            io::stdin().lock().read_to_end(&mut bytes)?;
        }
        false => bytes = gradus_models::files::read(path)?,
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::error(format!("--context-file {}: the file is not UTF-8", path.display()))
    })
}

/// The questions of a file, with their texts.
fn of_file(path: &Path) -> Outcome<Vec<Asked>> {
    match ending(path).as_str() {
        "json" | "jsonl" | "parquet" => {
            let questions = read_questions(path)?.into_iter();
            Ok(questions
                .map(|q| Asked { id: Some(q.id), question: q.question, context: q.context })
                .collect())
        }
        "csv" | "tsv" => {
            let (text, pair) = ("question".to_string(), Some("context".to_string()));
            let columns = Columns { text, pair, ..Columns::text_only() };
            let asked = |Example { text, pair, .. }| Asked {
                id: None,
                question: text,
                context: pair.unwrap_or_default().into(),
            };
            Ok(read_inputs(path, &columns)?.into_iter().map(asked).collect())
        }
        _ => Err(Failure::usage(format!(
            "--input {}: the ending does not tell the format of questions; use .json (SQuAD's form), \
             .jsonl, .parquet, .csv or .tsv",
            path.display()
        ))),
    }
}

fn write(sink: &mut Sink, asked: &Asked, answered: &Answered) -> Outcome {
    let Asked { id, question, .. } = asked;
    sink.write(&Record { id: id.as_deref(), question, answered }, |out| {
        heading(out, question)?;
        if answered.answers.is_empty() {
            writeln!(out, "  no answer found")?;
        }
        for Answer { score, start, end, answer } in &answered.answers {
            match answer.is_empty() {
                true => writeln!(out, "  {score:.4}  (no answer)")?,
                false => {
                    let line = answer.split_whitespace().collect::<Vec<_>>().join(" ");
                    writeln!(out, "  {score:.4}  {line}  (characters {start} to {end})")?;
                }
            }
        }
        Ok(())
    })
}
