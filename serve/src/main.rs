//! `serve`: a model server. See `serve --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gradus_cli::run(gradus_serve::program::main)
}
