//! `infer`: runs BERT and its family. See `infer --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gradus_cli::run(|| gradus_infer::program(gradus_infer::Program::parse()))
}
