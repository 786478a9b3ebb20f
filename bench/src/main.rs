//! `bench` measures Gradus on the workloads that it shares with its peers. See `bench --help`.

mod quick;
mod report;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gradus_cli::{Failure, Outcome, SharedArgs};

/// Measures Gradus; prints one JSON object a line.
#[derive(Parser)]
#[command(
    name = "bench",
    version = gradus_cli::VERSION,
    long_version = gradus_cli::LONG_VERSION,
    after_help = "Workloads:
  encode-b32-s128  encoder forward, 32 full sequences of 128 tokens      (sequences/s)
  encode-b1-s16    encoder forward, one sequence of 16 tokens            (ms, median)
  encode-real      every text of --data, tokenized and encoded to mean-pooled, normalised
                   embeddings, batches of 32 sorted by length, tokenization timed (texts/s)
  step-b32-s128    training step: forward, cross-entropy over 77 labels, backward, clip to
                   norm 1, AdamW; dropout 0.1; 32 full sequences of 128 (sequences/s)
  epoch-real       training steps as above over 1,024 texts of --data, batches of 32 in file
                   order, tokenization not timed (texts/s)
  gemm             one product 4096×1536 · 1536×1536                     (GFLOP/s)
  fma              multiply-adds in registers on all threads, the limit  (GFLOP/s)

Examples:
  bench --model runs/minilm encode-b32-s128 step-b32-s128
  bench --model base --batch 8 step-b32-s128
  bench --device gpu --precision f16 gemm
  bench --quick
  bench --model DIR --data data/banking77/test.csv --peer torch.jsonl encode-real"
)]
struct Program {
    #[command(flatten)]
    shared: SharedArgs,
    /// Folder of a model, a hub id, or `base`, `modernbert-base` or `tiny`: these shapes with random
    /// weights
    #[arg(long)]
    model: Option<String>,
    /// Texts with labels, for the workloads on real texts
    #[arg(long)]
    data: Option<PathBuf>,
    /// Texts of a run on real texts, spread evenly over the file [default: all; 1,024 in epoch-real]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    texts: Option<u32>,
    /// Seconds to repeat a workload for (three times at least, unless that takes four times as long)
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Sequences in a batch of the -b32- workloads
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// A peer's results (JSON lines of the same form): prints a table of ratios to standard error
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Count the instructions of one text and one small training step (under valgrind, one thread), and
    /// compare with bench/instructions.toml
    #[arg(long, conflicts_with = "workload")]
    quick: bool,
    /// The workload runs once, and goes through the function that `--quick` counts
    #[arg(long, hide = true)]
    counted: bool,
    /// What to measure
    #[arg(required_unless_present = "quick")]
    workload: Vec<workloads::Workload>,
}

fn main() -> ExitCode {
    gradus_cli::run(|| program(Program::parse()))
}

fn program(program: Program) -> Outcome {
    if program.quick {
        return quick::run();
    }
    let device = program.shared.start()?;
    if !program.seconds.is_finite() || program.seconds < 0.0 || program.batch == 0 {
        return Err(Failure::usage("--seconds and --batch must be above 0"));
    }
    let peers = program.peer.as_deref().map(report::read_peers).transpose()?.unwrap_or_default();
    let bench = workloads::Bench {
        device,
        model: program.model.clone(),
        data: program.data.clone(),
        texts: program.texts.map(|texts| texts as usize),
        seconds: program.seconds,
        batch: program.batch,
        precision: program.shared.precision(),
        counted: program.counted,
    };
    let mut results = Vec::new();
    for &workload in &program.workload {
        let result = bench.measure(workload)?;
        println!("{}", serde_json::to_string(&result)?);
        results.push(result);
    }
    if program.peer.is_some() {
        report::print_ratios(&results, &peers);
    }
    Ok(())
}
