//! What was found, for a terminal, a pipe, a page, a program.

mod plot;
mod source;
mod table;

use std::io::{Write, stdout};

use gradus_cli::{Failure, Outcome, output_columns};

use crate::args::Flags;
use crate::measure::Report;
pub use source::{list, show};

/// Prints the report as the flags say. Wrong steps make it a failure.
pub fn print(report: &Report, flags: &Flags) -> Outcome {
    if let Some(path) = &flags.plot {
        plot::write(report, path)?;
    }
    let mut out = stdout().lock();
    if flags.json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else if flags.table {
        table::markdown(report).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    } else {
        let lines = table::terminal(report, output_columns());
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    match report.steps.iter().filter(|line| line.wrong).count() {
        0 => Ok(()),
        1 => Err(Failure::error("a step is wrong, so it was not timed")),
        n => Err(Failure::error(format!("{n} steps are wrong, so they were not timed"))),
    }
}
