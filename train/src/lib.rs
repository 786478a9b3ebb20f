//! The program `train`, which trains BERT, as a library, so that `gradus` can contain it.

mod adapter;
mod args;
mod compare;
mod data;
mod diagnosis;
mod flags;
mod folder;
mod merge;
mod page;
mod prepare;
mod ranks;
mod rehearse;
mod report;
mod resume;
mod run;
mod scratch;
mod sweep;
mod table;
mod tasks;
mod watch;

use args::Command;
pub use args::Program;
use flags::{TaskFlags, over};
use gradus_cli::{Failure, Outcome, SharedArgs, layered};
use ranks::Group;
use tasks::Job;
use tasks::answer::Answer;
use tasks::classify::{Classify, ClassifyFlags};
use tasks::distill::Distill;
use tasks::embed::Embed;
use tasks::lm::Lm;
use tasks::mlm::Mlm;
use tasks::tokens::Tokens;

/// Runs the program.
///
/// # Errors
/// The message for the person.
pub fn program(program: Program) -> Outcome {
    let Program { command, shared, flags } = program;
    match command {
        Some(Command::Classify(own)) => start::<Classify>(shared, &own.flags, &flags),
        Some(Command::Embed(own)) => start::<Embed>(shared, &own.flags, &flags),
        Some(Command::Lm(own)) => start::<Lm>(shared, &own.flags, &flags),
        Some(Command::Mlm(own)) => start::<Mlm>(shared, &own.flags, &flags),
        Some(Command::Compare(own)) => {
            refuse_flags("compare", &flags)?;
            compare::run(&shared, &own)
        }
        Some(Command::Sweep(own)) => {
            refuse_flags("sweep", &flags)?;
            sweep::run(&shared, &own)
        }
        Some(Command::Tokens(own)) => start::<Tokens>(shared, &own.flags, &flags),
        Some(Command::Distill(own)) => start::<Distill>(shared, &own.flags, &flags),
        Some(Command::Answer(own)) => start::<Answer>(shared, &own.flags, &flags),
        Some(Command::Merge(args)) => {
            refuse_flags("merge", &flags)?;
            merge::run(&shared, &args)
        }
        None => {
            let (shared, flags) = layered(&shared, &flags)?;
            match &flags.common.course.resume {
                None => train::<Classify>(shared, scratch::flags(&flags)?),
                Some(_) => train::<Classify>(shared, flags),
            }
        }
    }
}

/// Refuses flags before a subcommand that trains no model of its own, and other ranks beside it.
fn refuse_flags(subcommand: &str, before: &ClassifyFlags) -> Outcome {
    ranks::refuse(subcommand)?;
    let before = flags::object(before)?;
    match before.iter().find(|(_, value)| flags::given(value)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Failure::usage(format!("--{name} is no flag of train {subcommand}")))
        }
    }
}

/// Starts a task with its flags over those before the subcommand, and those over a configuration
/// file's.
fn start<J: Job>(shared: SharedArgs, own: &J::Flags, before: &ClassifyFlags) -> Outcome {
    let flags: J::Flags = over(own, &over(before, &J::Flags::default())?)?;
    let (shared, flags) = layered(&shared, &flags)?;
    train::<J>(shared, flags)
}

/// Trains alone, or as one of several ranks.
fn train<J: Job>(mut shared: SharedArgs, flags: J::Flags) -> Outcome {
    match ranks::join(&mut shared, &flags.common().ranks)? {
        None => train_as::<J>(shared, flags, None),
        Some(group) => group.run(|group| train_as::<J>(shared, flags, Some(group))),
    }
}

/// Prepares a run, or one to be resumed, and trains.
fn train_as<J: Job>(mut shared: SharedArgs, mut flags: J::Flags, group: Option<&Group>) -> Outcome {
    let device = shared.start()?;
    let resumed = match flags.common().course.resume.clone() {
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
    let dry = flags.common().course.dry_run;
    let run = prepare::Run::<J>::prepare(shared, flags, device, (resumed, group))?;
    if dry { run.rehearse() } else { run.train() }
}
