//! `infer similarity`.

use gradus_cli::{Failure, Outcome, SharedArgs, layered, note};
use gradus_models::folder::SimilarityFunction;
use gradus_models::pipelines::TextEmbedder;
use serde::Serialize;

use super::{each_chunk, heading, opened};
use crate::args::Similarity;
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer similarity --model MODEL \"A cat sleeps.\" \"A kitten is asleep.\"";

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    pair: &'a str,
    similarity: f32,
}

pub fn run(shared: &SharedArgs, args: Similarity) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    let mut sink = Sink::open(&shared, flags.common.output.as_deref())?;
    let pairs = match (<[String; 2]>::try_from(args.text), &flags.common.input) {
        (Ok([first, second]), _) => vec![(first, Some(second))],
        (Err(_), Some(_)) => {
            let column = flags.pair_column.as_deref().unwrap_or("pair");
            input::texts(Vec::new(), &flags.common, Some(column), USAGE)?
        }
        (Err(_), None) => {
            return Err(Failure::usage(format!(
                "similarity needs two texts, or pairs in a file (--input); for example\n  {USAGE}"
            )));
        }
    };
    let device = shared.start()?;
    let pooling = flags.pooling.pooling;
    let mut embedder =
        opened(&shared, device, &flags.common.run, || TextEmbedder::open(model, pooling, None))?;
    flags.prompt.set(&mut embedder)?;
    let (width, alike) = (embedder.width(), embedder.similarity());
    if alike != SimilarityFunction::Cosine {
        let name = format!("{alike:?}").to_lowercase();
        note(
            &shared,
            format!(
                "the model's folder compares by {name}, not by cosine: higher means more alike"
            ),
        );
    }
    each_chunk(&shared, &embedder, &pairs, |chunk| {
        let both: Vec<(&str, &str)> = chunk
            .iter()
            .map(|(text, pair)| (text.as_str(), pair.as_deref().unwrap_or_default()))
            .collect();
        let texts: Vec<&str> = both.iter().flat_map(|&(a, b)| [a, b]).collect();
        let vectors = embedder.embed(&texts)?.to_vec::<f32>()?;
        for (&(text, pair), vectors) in both.iter().zip(vectors.chunks(2 * width)) {
            let (a, b) = vectors.split_at(width);
            let similarity = alike.of(a, b);
            let single = pairs.len() == 1;
            sink.write(&Record { text, pair, similarity }, |out| {
                if !single {
                    heading(out, text)?;
                    heading(out, pair)?;
                    write!(out, "  ")?;
                }
                writeln!(out, "{similarity:.4}")
            })?;
        }
        sink.flush()
    })?;
    sink.finish(&shared, pairs.len())
}
