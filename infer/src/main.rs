//! `infer`: runs BERT. See `infer --help`.

mod args;
mod commands;
mod input;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gradus_cli::run(|| commands::program(args::Program::parse()))
}
