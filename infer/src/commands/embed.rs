//! `infer embed`.

use std::io::Write;

use gradus_cli::{Outcome, SharedArgs, layered, note};
use gradus_models::pipelines::TextEmbedder;
use gradus_tensor::Tensor;
use gradus_tensor::io::{npy, safetensors};
use serde::Serialize;

use super::{each_chunk, heading, opened};
use crate::args::Embed;
use crate::input;
use crate::output::{Sink, ending, written, wrong_ending};

const USAGE: &str = "infer embed --model MODEL \"How do I locate my card?\"";

/// Numbers of a vector that a person is shown.
const SHOWN: usize = 6;

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    embedding: &'a [f32],
}

pub fn run(shared: &SharedArgs, args: Embed) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common, USAGE)?;
    let output = flags.common.output.as_deref();
    let array = match output.map(|path| (path, ending(path))) {
        Some((path, kind)) => match kind.as_str() {
            "npy" | "safetensors" => Some((path, kind)),
            "jsonl" => None,
            _ => return Err(wrong_ending(path, ".jsonl, .npy or .safetensors")),
        },
        None => None,
    };
    let mut sink = match array {
        Some(_) => None,
        None => Some(Sink::open(&shared, output)?),
    };
    let device = shared.start()?;
    let texts = input::texts(args.text, &flags.common, None, USAGE)?;
    let pooling = flags.pooling.pooling;
    let normalize = match (flags.normalize, flags.no_normalize) {
        (false, false) => None,
        (normalize, _) => Some(normalize),
    };
    let mut embedder =
        opened(&shared, device, &flags.common, || TextEmbedder::open(model, pooling, normalize))?;
    flags.prompt.set(&mut embedder)?;
    if normalize.is_none() && !embedder.normalizes() {
        note(
            &shared,
            "the vectors are as long as they come, for the model's folder has no Normalize (--normalize)",
        );
    }

    let mut rows: Vec<f32> = Vec::new();
    let width = embedder.width();
    each_chunk(&shared, &embedder, &texts, |chunk| {
        let only: Vec<&str> = chunk.iter().map(|(text, _)| text.as_str()).collect();
        let vectors = embedder.embed(&only)?.to_vec::<f32>()?;
        let Some(sink) = &mut sink else {
            rows.extend(vectors);
            return Ok(());
        };
        for (text, embedding) in only.iter().zip(vectors.chunks(width)) {
            sink.write(&Record { text, embedding }, |out| {
                heading(out, text)?;
                people(out, embedding)
            })?;
        }
        sink.flush()
    })?;
    if let Some(sink) = sink {
        return sink.finish(&shared, texts.len());
    }
    if let Some((path, kind)) = array {
        let all = Tensor::from_slice(&rows, &[texts.len(), width])?;
        match kind.as_str() {
            "npy" => npy::write(path, &all)?,
            _ => safetensors::save(path, [("embeddings".to_string(), all)], None)?,
        }
        written(&shared, path, texts.len());
    }
    Ok(())
}

fn people(out: &mut dyn Write, embedding: &[f32]) -> std::io::Result<()> {
    write!(out, " ")?;
    for value in embedding.iter().take(SHOWN) {
        write!(out, " {value:8.4}")?;
    }
    match embedding.len().saturating_sub(SHOWN) {
        0 => writeln!(out),
        more => writeln!(out, "  … {more} more (all: --json or --output)"),
    }
}
