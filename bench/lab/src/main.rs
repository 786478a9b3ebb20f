//! `lab` shows one operation from naive to shipped. See `lab --help`, and `book/src/kernel-lab.md`.

mod args;
mod attention;
mod both;
mod check;
mod family;
mod layer_norm;
mod limits;
mod machine;
mod matmul;
mod measure;
mod report;
mod shader;
mod softmax;
mod step;
#[cfg(test)]
mod tests;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use gradus_cli::{Failure, Outcome, note};
use gradus_tensor::Device;

use args::{Flags, Program};
use family::{Family, Settings};

fn main() -> ExitCode {
    gradus_cli::run(|| match Program::parse().command.family() {
        None => report::list(),
        Some((family, flags)) => run(family, &flags),
    })
}

fn run(family: Family, flags: &Flags) -> Outcome {
    let steps = family.steps(flags.on_gpu()?);
    if let Some(number) = flags.show {
        return report::show(&steps, number);
    }
    if !flags.seconds.is_finite() || flags.seconds < 0.0 {
        return Err(Failure::usage("--seconds must be 0 or more"));
    }
    let sizes = flags.sizes()?;
    let chosen = flags.chosen(steps.len())?;
    if let Some(path) = flags.mine.as_ref().filter(|_| flags.watch) {
        return watch::again_and_again(path);
    }
    let shared = flags.shared();
    let device = shared.start()?;
    if flags.mine.is_some() && device == Device::Cpu {
        return Err(Failure::usage("--mine is a shader: use it with --device gpu"));
    }
    let mine = flags.mine.as_deref().map(shader::read).transpose()?;
    let settings = Settings { device, size: sizes, seed: flags.seed };
    let mut lab = family.lab(&settings, mine)?;
    lab.candidates.retain(|candidate| candidate.number.is_none_or(|n| chosen.contains(&n)));
    lab.missing.retain(|(number, ..)| chosen.contains(number));
    note(&shared, format!("{}: every step is checked, then timed", lab.title));
    let mut limits = limits::of(device, lab.work.bytes)?;
    let report = measure::measure(lab, device, limits.as_mut(), flags.seconds)?;
    report::print(&report, flags)
}
