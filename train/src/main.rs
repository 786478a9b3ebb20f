//! `train`: trains BERT. See `train --help`.

mod args;
mod metrics;
mod run;
mod scratch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gradus_cli::run(|| run::program(args::Program::parse()))
}
