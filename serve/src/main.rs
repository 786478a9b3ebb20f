//! `serve`: a model server. See `serve --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gradus_cli::run(|| gradus_serve::program::main(gradus_serve::Program::parse()))
}
