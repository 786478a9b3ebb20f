//! The program `train`, which trains BERT, as a library, so that `gradus` can contain it.

mod args;
mod data;
mod folder;
mod metrics;
mod prepare;
mod report;
mod resume;
mod run;
mod scratch;
mod watch;

use args::Command;
pub use args::Program;
use gradus_cli::{Failure, Outcome, layered};

/// Runs the program.
///
/// # Errors
/// The message for the person.
pub fn program(program: Program) -> Outcome {
    let given = match &program.command {
        None => program.flags,
        // Flags before the subcommand count as well.
        Some(Command::Classify(classify)) => classify.flags.over(&program.flags)?,
    };
    let (mut shared, mut flags) = layered(&program.shared, &given)?;
    if program.command.is_none() && flags.resume.is_none() {
        flags = scratch::flags(&flags)?;
    }
    let device = shared.start()?;
    let resumed = match flags.resume.clone() {
        Some(dir) => {
            let (merged, resumed) = resume::resumed(&mut shared, &flags, &dir)?;
            flags = merged;
            Some(resumed)
        }
        None => None,
    };
    shared.check_precision(device)?;
    let precision = shared.precision();
    precision
        .check_training()
        .map_err(|error| Failure::usage(format!("--precision {precision}: {error}")))?;
    prepare::Run::prepare(shared, flags, device, resumed)?.train()
}
