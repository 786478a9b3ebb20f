//! `infer tokens`.

use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, layered};
use gradus_models::data::{TaggedColumns, TaggedSentence, ending, is_tagged, read_words};
use gradus_models::pipelines::{Tag, TokenTagger, best, spans};
use serde::Serialize;

use super::{each_chunk, heading, opened};
use crate::args::{Tokens, TokensFlags};
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer tokens --model MODEL \"Ada Lovelace was born in London.\"";

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Tags<'a> {
    Words(&'a [Tag]),
    Spans(&'a [Tag]),
}

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    #[serde(flatten)]
    tags: Tags<'a>,
}

pub fn run(shared: &SharedArgs, args: Tokens) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    let mut sink = Sink::open(&shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let aggregate = flags.aggregate;
    let open = || opened(&shared, device, &flags.common.run, || TokenTagger::open(model));
    if let Some(path) = given_words(&args.text, &flags)? {
        let columns = TaggedColumns { words: flags.tokens_column.clone(), ..Default::default() };
        let sentences = read_words(path, &columns)?;
        let tagger = open()?;
        each_chunk(&shared, &tagger, &sentences, |chunk| {
            for (text, words) in tag_given(&tagger, chunk)? {
                let found = if aggregate { spans(&text, &words) } else { words };
                write(&mut sink, &text, &found, aggregate)?;
            }
            sink.flush()
        })?;
        return sink.finish(&shared, sentences.len());
    }
    let texts = input::texts(args.text, &flags.common, None, USAGE)?;
    let tagger = open()?;
    each_chunk(&shared, &tagger, &texts, |chunk| {
        let only: Vec<&str> = chunk.iter().map(|(text, _)| text.as_str()).collect();
        let answers = if aggregate { tagger.tag_spans(&only)? } else { tagger.tag(&only)? };
        for (text, found) in only.iter().zip(&answers) {
            write(&mut sink, text, found, aggregate)?;
        }
        sink.flush()
    })?;
    sink.finish(&shared, texts.len())
}

/// Whether a file's ending says that it may hold words or texts.
fn is_records(path: &Path) -> bool {
    ["jsonl", "parquet"].contains(&ending(path).as_str())
}

/// The file of --input, if its sentences are given as words.
fn given_words<'a>(texts: &[String], flags: &'a TokensFlags) -> Outcome<Option<&'a Path>> {
    let path = flags.common.input.as_deref().filter(|_| texts.is_empty());
    let names_words = flags.tokens_column.is_some();
    match path {
        Some(path) if is_tagged(path) || names_words && is_records(path) => {
            match &flags.common.text_column {
                None => Ok(Some(path)),
                Some(_) => Err(Failure::usage(
                    "--text-column: this --input has words and no texts; --tokens-column names \
                     their column",
                )),
            }
        }
        _ if names_words => Err(Failure::usage(
            "--tokens-column names the words of --input FILE, which ends in .jsonl, .parquet, \
             .conll, .iob or .bio",
        )),
        _ => Ok(None),
    }
}

/// The words of each sentence with their labels, and the sentence as a text. A word without a token
/// is `O`, with the score 0.
fn tag_given(
    tagger: &TokenTagger,
    sentences: &[TaggedSentence],
) -> gradus_models::Result<Vec<(String, Vec<Tag>)>> {
    let words: Vec<&[String]> = sentences.iter().map(|s| s.words.as_slice()).collect();
    let tagged = |(words, rows): (&&[String], Vec<Option<Vec<f32>>>)| {
        let mut at = 0;
        let tag = |(word, row): (&String, Option<Vec<f32>>)| {
            let (start, end) = (at, at + word.chars().count());
            at = end + 1;
            let (label, score) = match row.as_deref().map(best) {
                Some((id, score)) => (tagger.labels()[id].clone(), score),
                None => ("O".to_string(), 0.0),
            };
            Tag { text: word.clone(), label, score, start, end }
        };
        (words.join(" "), words.iter().zip(rows).map(tag).collect())
    };
    Ok(words.iter().zip(tagger.tag_words(&words)?).map(tagged).collect())
}

/// Writes the words or the spans of a text.
fn write(sink: &mut Sink, text: &str, found: &[Tag], aggregate: bool) -> Outcome {
    let tags = if aggregate { Tags::Spans(found) } else { Tags::Words(found) };
    sink.write(&Record { text, tags }, |out| {
        heading(out, text)?;
        let wide =
            |f: fn(&Tag) -> &str| found.iter().map(|t| f(t).chars().count()).max().unwrap_or(0);
        let (word, label) = (wide(|t| &t.text), wide(|t| &t.label));
        for tag in found {
            writeln!(out, "  {:word$}  {:label$}  {:.4}", tag.text, tag.label, tag.score)?;
        }
        Ok(())
    })
}
