//! `infer embed --sparse`.

use gradus_cli::{Outcome, SharedArgs};
use gradus_models::ModelRef;
use gradus_models::pipelines::FillMask;
use serde::Serialize;

use super::{each_chunk, heading, opened, scores};
use crate::args::EmbedFlags;
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer embed --sparse --model MODEL \"How do I locate my card?\"";

/// Tokens of a vector that are shown to a person.
const SHOWN: usize = 10;

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    sparse_embedding: &'a [Weight],
}

/// A token of the vocabulary with its number.
#[derive(Serialize)]
struct Weight {
    index: u32,
    token: String,
    value: f32,
}

pub fn run(
    shared: &SharedArgs,
    texts: Vec<String>,
    flags: &EmbedFlags,
    model: ModelRef,
) -> Outcome {
    let mut sink = Sink::open(shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let texts = input::texts(texts, &flags.common, None, USAGE)?;
    let encoder = opened(shared, device, &flags.common.run, || FillMask::open(model))?;
    let prompt = flags.prompt.of(encoder.prompts())?;
    each_chunk(shared, &encoder, &texts, |chunk| {
        let only: Vec<&str> = chunk.iter().map(|(text, _)| text.as_str()).collect();
        for (text, values) in only.iter().zip(encoder.sparse(&only, prompt)?) {
            let token = |index| encoder.tokenizer().token(index).unwrap_or_default();
            let mut weights: Vec<Weight> = values
                .into_iter()
                .map(|v| Weight { index: v.index, token: token(v.index), value: v.value })
                .collect();
            weights.sort_by(|a, b| b.value.total_cmp(&a.value));
            sink.write(&Record { text, sparse_embedding: &weights }, |out| {
                heading(out, text)?;
                scores(out, weights.iter().take(SHOWN).map(|w| (w.token.as_str(), w.value)))?;
                match weights.len().checked_sub(SHOWN) {
                    None | Some(0) => Ok(()),
                    Some(more) => writeln!(out, "  … {more} more"),
                }
            })?;
        }
        sink.flush()
    })?;
    sink.finish(shared, texts.len())
}
