//! The progress of a program on standard error, for a person at a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::SharedArgs;

/// A progress bar over `total` items called `unit`, with the time left and a message, which is cut
/// where the terminal ends. It is hidden with `--quiet`, and where standard error is not a
/// terminal.
pub fn progress_bar(shared: &SharedArgs, total: u64, unit: &str) -> ProgressBar {
    let Some(columns) = columns().filter(|_| !shared.quiet) else { return ProgressBar::hidden() };
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(&template(columns, unit)) {
        Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
        Err(_) => bar,
    }
}

/// The columns of the terminal that standard error is; `None` where it is not a terminal.
pub fn columns() -> Option<u16> {
    io::stderr().is_terminal().then(|| console::Term::stderr().size().1)
}

/// The columns of the terminal that standard output is; `None` where it is not a terminal.
pub fn output_columns() -> Option<usize> {
    io::stdout().is_terminal().then(|| usize::from(console::Term::stdout().size().1))
}

/// The parts before the message do not shrink; they leave room for one on a terminal of 40 columns.
fn template(columns: u16, unit: &str) -> String {
    match columns {
        0..72 => "{bar:8} {pos}/{len} {eta} {wide_msg}".into(),
        72..110 => format!("{{bar:12}} {{pos}}/{{len}} {unit}  {{eta}} left  {{wide_msg}}"),
        _ => format!(
            "{{bar:28}} {{pos}}/{{len}} {unit}  {{elapsed}} gone, {{eta}} left  {{wide_msg}}"
        ),
    }
}

/// Writes a line to standard error, unless `--quiet`.
pub fn note(shared: &SharedArgs, message: impl AsRef<str>) {
    if !shared.quiet {
        // A note that cannot be written is no reason to stop.
        let _ = writeln!(io::stderr(), "{}", message.as_ref());
    }
}

/// The peak memory of this process in MiB, where the system tells it.
pub fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
}
