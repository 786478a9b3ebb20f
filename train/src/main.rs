//! `train`: trains BERT. See `train --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gradus_cli::run(|| gradus_train::program(gradus_train::Program::parse()))
}
