//! `lab list` and `--show`: the steps, and their sources as they were compiled in.

use std::io::{Write, stdout};

use console::style;
use gradus_cli::{Failure, Outcome};

use crate::family::Family;
use crate::step::{Source, Step};

/// Prints the families and their steps.
pub fn list() -> Outcome {
    let mut out = stdout().lock();
    for family in Family::ALL {
        writeln!(out, "{}  {}", style(format!("lab {}", family.name())).bold(), family.about())?;
        let both = [("", false), ("  --device gpu", true)];
        for (title, on_gpu) in both.into_iter().filter(|(_, gpu)| !family.steps(*gpu).is_empty()) {
            if !title.is_empty() {
                writeln!(out, "{title}")?;
            }
            for (number, step) in (1..).zip(family.steps(on_gpu)) {
                let header = step.header();
                writeln!(out, "  {number:>2}  {:<22}  {}", header.name, header.summary)?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Prints the source of a step. The line above a file is a comment: `--show 4 > mine.wgsl` is a
/// shader.
pub fn show(steps: &[Step], number: usize) -> Outcome {
    let step = number.checked_sub(1).and_then(|i| steps.get(i)).ok_or_else(|| {
        Failure::usage(format!("--show {number}: the steps are 1 to {}", steps.len()))
    })?;
    print(&step.source)?;
    step.more.iter().try_for_each(print)
}

fn print(source: &Source) -> Outcome {
    let mut out = stdout().lock();
    writeln!(out, "{}", style(format!("// {}", source.path)).bold())?;
    for line in source.text.lines() {
        match line.trim_start().starts_with("//") {
            true => writeln!(out, "{}", style(line).green())?,
            false => writeln!(out, "{line}")?,
        }
    }
    writeln!(out)?;
    Ok(())
}
