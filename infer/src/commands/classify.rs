//! `infer classify`.

use gradus_cli::{Outcome, SharedArgs, layered};
use gradus_models::pipelines::{Score, TextClassifier};
use serde::Serialize;

use super::{each_chunk, heading, opened, scores, top_k};
use crate::args::Classify;
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer classify --model MODEL \"How do I locate my card?\"";

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<&'a str>,
    labels: &'a [Score],
}

pub fn run(shared: &SharedArgs, args: Classify) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    let top_k = top_k(flags.top_k)?;
    let mut sink = Sink::open(&shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let texts = input::texts(args.text, &flags.common, flags.pair_column.as_deref(), USAGE)?;
    let classifier = opened(&shared, device, &flags.common.run, || TextClassifier::open(model))?;
    each_chunk(&shared, &classifier, &texts, |chunk| {
        let answers = classifier.predict(chunk, Some(top_k))?;
        for ((text, pair), labels) in chunk.iter().zip(&answers) {
            let pair = pair.as_deref();
            sink.write(&Record { text, pair, labels }, |out| {
                heading(out, text)?;
                if let Some(pair) = pair {
                    heading(out, pair)?;
                }
                scores(out, labels.iter().map(|s| (s.label.as_str(), s.score)))
            })?;
        }
        sink.flush()
    })?;
    sink.finish(&shared, texts.len())
}
