//! `infer embed`.

use std::io::Write;
use std::path::{Path, PathBuf};

use gradus_cli::{Outcome, SharedArgs, layered, note};
use gradus_models::pipelines::TextEmbedder;
use gradus_tensor::Tensor;
use gradus_tensor::io::{npy, safetensors};
use serde::Serialize;

use super::{each_chunk, heading, opened, sparse};
use crate::args::Embed;
use crate::input;
use crate::output::{Sink, ending, written, wrong_ending};

const USAGE: &str = "infer embed --model MODEL \"How do I locate my card?\"";

/// Numbers of a vector that are shown to a person.
const SHOWN: usize = 6;

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    embedding: &'a [f32],
}

pub fn run(shared: &SharedArgs, args: Embed) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    if flags.sparse {
        return sparse::run(&shared, args.text, &flags, model);
    }
    let mut output = Output::open(&shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let texts = input::texts(args.text, &flags.common, None, USAGE)?;
    let pooling = flags.pooling.pooling;
    let normalize = match (flags.normalize, flags.no_normalize) {
        (false, false) => None,
        (normalize, _) => Some(normalize),
    };
    let mut embedder = opened(&shared, device, &flags.common.run, || {
        TextEmbedder::open(model, pooling, normalize)
    })?;
    flags.prompt.set(&mut embedder)?;
    if normalize.is_none() && !embedder.normalizes() {
        note(
            &shared,
            "the vectors are not scaled to length 1, because the model's folder has no Normalize \
             (--normalize scales them)",
        );
    }
    each_chunk(&shared, &embedder, &texts, |chunk| {
        let only: Vec<&str> = chunk.iter().map(|(text, _)| text.as_str()).collect();
        output.write(&only, &embedder.embed(&only)?)
    })?;
    output.finish(&shared, texts.len(), embedder.width())
}

/// Where the vectors go.
enum Output {
    /// A line for each text.
    Lines(Sink),
    /// All vectors in one file, in the format of its ending.
    Array { path: PathBuf, rows: Vec<f32> },
}

impl Output {
    fn open(shared: &SharedArgs, path: Option<&Path>) -> Outcome<Output> {
        match path.map(|path| (path, ending(path))) {
            Some((path, kind)) if ["npy", "safetensors"].contains(&kind.as_str()) => {
                Ok(Output::Array { path: path.to_path_buf(), rows: Vec::new() })
            }
            Some((path, kind)) if kind != "jsonl" => {
                Err(wrong_ending(path, ".jsonl, .npy or .safetensors"))
            }
            _ => Ok(Output::Lines(Sink::open(shared, path)?)),
        }
    }

    /// Writes the vectors of some texts, `[texts, width]`.
    fn write(&mut self, texts: &[&str], vectors: &Tensor) -> Outcome {
        let values = vectors.to_vec::<f32>()?;
        match self {
            Output::Array { rows, .. } => rows.extend(values),
            Output::Lines(sink) => {
                for (text, embedding) in texts.iter().zip(values.chunks(vectors.shape()[1])) {
                    sink.write(&Record { text, embedding }, |out| {
                        heading(out, text)?;
                        people(out, embedding)
                    })?;
                }
                sink.flush()?;
            }
        }
        Ok(())
    }

    fn finish(self, shared: &SharedArgs, texts: usize, width: usize) -> Outcome {
        match self {
            Output::Lines(sink) => sink.finish(shared, texts),
            Output::Array { path, rows } => {
                let all = Tensor::from_slice(&rows, &[texts, width])?;
                match ending(&path).as_str() {
                    "npy" => npy::write(&path, &all)?,
                    _ => safetensors::save(&path, [("embeddings".to_string(), all)], None)?,
                }
                written(shared, &path, texts);
                Ok(())
            }
        }
    }
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
