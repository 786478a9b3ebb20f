//! `infer tokens`.

use gradus_cli::{Outcome, SharedArgs, layered};
use gradus_models::pipelines::{Tag, TokenTagger};
use serde::Serialize;

use super::{each_chunk, heading, opened};
use crate::args::Tokens;
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
    let texts = input::texts(args.text, &flags.common, None, USAGE)?;
    let tagger = opened(&shared, device, &flags.common.run, || TokenTagger::open(model))?;
    each_chunk(&shared, &tagger, &texts, |chunk| {
        let only: Vec<&str> = chunk.iter().map(|(text, _)| text.as_str()).collect();
        let answers = if flags.aggregate { tagger.tag_spans(&only)? } else { tagger.tag(&only)? };
        for (text, found) in only.iter().zip(&answers) {
            let tags = if flags.aggregate { Tags::Spans(found) } else { Tags::Words(found) };
            sink.write(&Record { text, tags }, |out| {
                heading(out, text)?;
                let wide = |f: fn(&Tag) -> &str| {
                    found.iter().map(|t| f(t).chars().count()).max().unwrap_or(0)
                };
                let (word, label) = (wide(|t| &t.text), wide(|t| &t.label));
                for tag in found {
                    writeln!(out, "  {:word$}  {:label$}  {:.4}", tag.text, tag.label, tag.score)?;
                }
                Ok(())
            })?;
        }
        sink.flush()
    })?;
    sink.finish(&shared, texts.len())
}
