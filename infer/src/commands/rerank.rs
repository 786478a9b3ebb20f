//! `infer rerank`.

use gradus_cli::{Failure, Outcome, SharedArgs, layered};
use gradus_models::pipelines::TextClassifier;
use serde::Serialize;

use super::{each_chunk, heading, opened};
use crate::args::Rerank;
use crate::input::{self, Input};
use crate::output::Sink;

const USAGE: &str =
    "infer rerank --model MODEL \"Where is my card?\" \"It is on its way.\" \"The rate is fair.\"";

#[derive(Serialize)]
struct Record<'a> {
    index: usize,
    text: &'a str,
    score: f32,
}

pub fn run(shared: &SharedArgs, args: Rerank) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    if args.query.is_empty() {
        return Err(Failure::usage("the query is empty; give the query that ranks the texts"));
    }
    let top_k = match flags.top_k {
        Some(0) => return Err(Failure::usage("--top-k is 0; it must be 1 or more")),
        top_k => top_k.unwrap_or(usize::MAX),
    };
    let mut sink = Sink::open(&shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let texts = input::texts(args.text, &flags.common, None, USAGE)?;
    let ranker = opened(&shared, device, &flags.common.run, || TextClassifier::open(model))?;
    let labels = ranker.labels().len();
    if labels != 1 {
        return Err(Failure::error(format!(
            "{}: the model has {labels} labels, but a ranking needs a model with one label; \
             label the texts with `infer classify`",
            model.model
        )));
    }
    let pair = |(text, _): Input| (args.query.clone(), Some(text));
    let pairs: Vec<Input> = texts.into_iter().map(pair).collect();
    let mut ranked: Vec<(usize, f32)> = Vec::with_capacity(pairs.len());
    each_chunk(&shared, &ranker, &pairs, |chunk| {
        for labels in ranker.predict(chunk, None)? {
            let score = labels.first().map_or(0.0, |label| label.score);
            ranked.push((ranked.len(), score));
        }
        Ok(())
    })?;
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(top_k);
    for &(index, score) in &ranked {
        let text = pairs[index].1.as_deref().unwrap_or_default();
        sink.write(&Record { index, text, score }, |out| {
            write!(out, "{score:.4}  ")?;
            heading(out, text)
        })?;
    }
    sink.finish(&shared, ranked.len())
}
