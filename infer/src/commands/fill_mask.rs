//! `infer fill-mask`.

use gradus_cli::{Outcome, SharedArgs, layered};
use gradus_models::pipelines::{self, Fill};
use serde::Serialize;

use super::{each_chunk, heading, opened, scores, top_k};
use crate::args::FillMask;
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer fill-mask --model MODEL \"Paris is the [MASK] of France.\"";

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    masks: &'a [Vec<Fill>],
}

pub fn run(shared: &SharedArgs, args: FillMask) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    let top_k = top_k(flags.top_k)?;
    let mut sink = Sink::open(&shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let texts = input::texts(args.text, &flags.common, None, USAGE)?;
    let filler = opened(&shared, device, &flags.common.run, || pipelines::FillMask::open(model))?;
    each_chunk(&shared, &filler, &texts, |chunk| {
        let only: Vec<&str> = chunk.iter().map(|(text, _)| text.as_str()).collect();
        let answers = filler.fill_all(&only, top_k)?;
        for (text, masks) in only.iter().zip(&answers) {
            sink.write(&Record { text, masks }, |out| {
                for (i, fills) in masks.iter().enumerate() {
                    match masks.len() {
                        1 => heading(out, text)?,
                        n => heading(out, &format!("{text} ({} {} of {n})", filler.mask(), i + 1))?,
                    }
                    scores(out, fills.iter().map(|f| (f.token_str.as_str(), f.score)))?;
                }
                Ok(())
            })?;
        }
        sink.flush()
    })?;
    sink.finish(&shared, texts.len())
}
