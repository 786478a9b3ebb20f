//! The subcommands.

mod answer;
mod classify;
mod embed;
mod evaluate;
mod fill_mask;
mod generate;
mod rerank;
mod similarity;
mod sparse;
mod tokens;
mod trace;

use std::io::{self, Write};
use std::ops::DerefMut;
use std::time::Instant;

use gradus_cli::{Failure, Outcome, SharedArgs, note, progress_bar};
use gradus_models::folder::Prompts;
use gradus_models::pipelines::{DEFAULT_BATCH_SIZE, Runner, TextEmbedder};
use gradus_models::{Error, Task};
use gradus_tensor::Device;
use serde::{Deserialize, Serialize};

use crate::args::{Command, ModelFlags, Program, PromptFlags};

/// Texts of one call of a pipeline, which makes batches of them: few enough that results appear
/// soon, the progress moves and memory stays small.
const CHUNK: usize = 8 * DEFAULT_BATCH_SIZE;

/// A progress bar is shown from this number of texts on.
const MANY: usize = 2 * DEFAULT_BATCH_SIZE;

/// The program.
pub fn program(program: Program) -> Outcome {
    let shared = &program.shared;
    match program.command {
        Command::Classify(args) => classify::run(shared, args),
        Command::Evaluate(args) => evaluate::run(shared, args),
        Command::Embed(args) => embed::run(shared, args),
        Command::FillMask(args) => fill_mask::run(shared, args),
        Command::Generate(args) => generate::run(shared, args),
        Command::Tokens(args) => tokens::run(shared, args),
        Command::Answer(args) => answer::run(shared, args),
        Command::Similarity(args) => similarity::run(shared, args),
        Command::Rerank(args) => rerank::run(shared, args),
        Command::Trace(args) => trace::run(shared, args),
        Command::Devices => devices(shared),
    }
}

/// `infer devices` has no flags of its own.
#[derive(Serialize, Deserialize)]
struct NoFlags {}

fn devices(shared: &SharedArgs) -> Outcome {
    let (shared, NoFlags {}) = gradus_cli::layered(shared, &NoFlags {})?;
    let (device, threads) =
        (Device::Cpu, std::thread::available_parallelism().map_or(1, |n| n.get()));
    let mut out = io::stdout().lock();
    if shared.json {
        writeln!(out, "{}", serde_json::json!({"device": device.to_string(), "threads": threads}))?;
    } else {
        writeln!(out, "{device}  {threads} threads")?;
    }
    for gpu in gradus_tensor::gpus() {
        let (device, features) = (Device::Gpu(gpu.index), &gpu.features);
        if shared.json {
            let line = serde_json::json!({
                "device": device.to_string(),
                "name": gpu.name,
                "backend": gpu.backend,
                "driver": gpu.driver,
                "software": gpu.software,
                "max_tensor_bytes": gpu.max_tensor_bytes,
                "f16": features.f16,
                "subgroups": features.subgroups,
                "timestamps": features.timestamps,
                "cooperative_matrix": features.cooperative_matrix,
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let has = [
            (gpu.software, "software"),
            (features.f16, "f16"),
            (features.subgroups, "subgroups"),
            (features.timestamps, "timestamps"),
            (!features.cooperative_matrix.is_empty(), "cooperative matrices"),
        ];
        let has: Vec<&str> = has.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        let (name, backend) = (&gpu.name, &gpu.backend);
        writeln!(out, "{device}  {name}, {backend}, {}: {}", gpu.driver, has.join(", "))?;
    }
    Ok(())
}

/// Opens a pipeline on the device, with the flags that all of them have.
fn opened<P: DerefMut<Target = Runner>>(
    shared: &SharedArgs,
    device: Device,
    flags: &ModelFlags,
    open: impl FnOnce() -> gradus_models::Result<P>,
) -> Outcome<P> {
    let start = Instant::now();
    let mut pipeline = open().map_err(with_command)?;
    if flags.base.is_some() && pipeline.base().is_none() {
        return Err(Failure::usage("--base goes with an adapter; the model is a whole one"));
    }
    for told in pipeline.notes() {
        note(shared, format!("note: {told}"));
    }
    pipeline.to_device(device)?;
    pipeline.set_precision(shared.precision())?;
    if let Some(length) = flags.max_length {
        pipeline
            .set_max_length(length)
            .map_err(|e| Failure::usage(format!("--max-length: {e}")))?;
    }
    if let Some(size) = flags.batch_size {
        pipeline.set_batch_size(size).map_err(|e| Failure::usage(format!("--batch-size: {e}")))?;
    }
    if shared.verbose {
        note(shared, format!("opened the model in {:.0} ms", start.elapsed().as_secs_f64() * 1e3));
        let unused = pipeline.unexpected();
        if !unused.is_empty() {
            note(shared, format!("in the checkpoint, but not used here: {}", unused.join(", ")));
        }
    }
    Ok(pipeline)
}

/// The error of a model without the head that a command needs, with the command that helps.
fn with_command(error: Error) -> Failure {
    let command = match &error {
        Error::MissingHead { task: Task::Classify, .. } => "`train classify --model …` trains one",
        Error::PairColumns { .. } => {
            "--anchor-column, --positive-column, --negative-column, --score-column"
        }
        Error::OtherTask { task: Task::Classify, .. } => "`infer classify`",
        Error::OtherTask { task: Task::FillMask, .. } => "`infer fill-mask`",
        Error::MissingHead { task: Task::Answer, .. } => "`train answer --model …` trains one",
        Error::OtherTask { task: Task::Tag, .. } => "`infer tokens`",
        Error::OtherTask { task: Task::Answer, .. } => "`infer answer`",
        Error::OtherTask { task: Task::Embed, .. } => "`infer embed`",
        Error::OtherTask { task: Task::Generate, .. } => "`infer generate`",
        Error::MissingBase { .. } => "name the base with --base DIR",
        _ => return error.into(),
    };
    Failure::error(format!("{error} ({command})"))
}

/// Runs the texts chunk by chunk: `step` computes a chunk and writes its results. A bar shows the
/// progress, and a note at the end tells how many texts were cut.
fn each_chunk<'a, T>(
    shared: &SharedArgs,
    pipeline: &Runner,
    inputs: &'a [T],
    mut step: impl FnMut(&'a [T]) -> Outcome,
) -> Outcome {
    let start = Instant::now();
    let bar = (inputs.len() >= MANY).then(|| progress_bar(shared, inputs.len() as u64, "texts"));
    for chunk in inputs.chunks(CHUNK) {
        step(chunk)?;
        if let Some(bar) = &bar {
            bar.inc(chunk.len() as u64);
            bar.set_message(format!("{:.0} texts/s", bar.per_sec()));
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    note_cut(shared, pipeline.truncated(), pipeline.max_length());
    if shared.verbose {
        let seconds = start.elapsed().as_secs_f64();
        let rate = inputs.len() as f64 / seconds;
        note(shared, format!("texts: {}, seconds: {seconds:.3}, texts/s: {rate:.1}", inputs.len()));
    }
    Ok(())
}

/// Tells how many texts were cut.
fn note_cut(shared: &SharedArgs, cut: u64, length: usize) {
    let texts = match cut {
        0 => return,
        1 => "1 text was".into(),
        cut => format!("{cut} texts were"),
    };
    note(shared, format!("warning: {texts} cut to {length} tokens (--max-length)"));
}

impl PromptFlags {
    /// Sets the prompt of the embedder, where a flag names one.
    fn set(&self, embedder: &mut TextEmbedder) -> Outcome {
        let prompt = self.of(embedder.prompts())?.to_string();
        Ok(embedder.set_prompt(&prompt)?)
    }

    /// The prompt that a flag names, else the default one of a model's `prompts`.
    fn of<'a>(&'a self, prompts: &'a Prompts) -> Outcome<&'a str> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt);
        }
        let found = prompts.get(self.prompt_name.as_deref());
        Ok(found.map_err(|e| Failure::usage(format!("--prompt-name: {e}")))?.unwrap_or_default())
    }
}

/// The --top-k flag: 5 unless given, and not 0.
fn top_k(flag: Option<usize>) -> Outcome<usize> {
    match flag {
        Some(0) => Err(Failure::usage("--top-k is 0; it must be 1 or more")),
        flag => Ok(flag.unwrap_or(5)),
    }
}

/// Writes a text as the heading of its results, on one line, without the end of a long one.
fn heading(out: &mut dyn Write, text: &str) -> io::Result<()> {
    const WIDTH: usize = 100;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => writeln!(out, "{}…", line.get(..at).unwrap_or_default()),
        None => writeln!(out, "{line}"),
    }
}

/// Writes names and scores below a heading, aligned.
fn scores<'a>(
    out: &mut dyn Write,
    rows: impl Iterator<Item = (&'a str, f32)> + Clone,
) -> io::Result<()> {
    let width = rows.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, score) in rows {
        writeln!(out, "  {name:width$}  {score:.4}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_one_short_line() {
        let mut out = Vec::new();
        heading(&mut out, "two\nlines").unwrap();
        heading(&mut out, &"é".repeat(200)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("two lines\n{}…\n", "é".repeat(100)));
    }

    #[test]
    fn scores_are_aligned() {
        let mut out = Vec::new();
        scores(&mut out, [("a", 0.5), ("Äöü", 0.25)].into_iter()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  a    0.5000\n  Äöü  0.2500\n");
    }
}
