//! The table: for a terminal, as wide as it is, and as Markdown.

use console::{Alignment, measure_text_width, pad_str, style};

use crate::measure::{Line, Report};

/// A column: its title, whether numbers stand in it, how soon it is left out where the terminal is
/// narrow (0 never), and its cells.
struct Column {
    title: &'static str,
    right: bool,
    leave_out: usize,
    cell: fn(&Report, &Line) -> String,
}

const COLUMNS: &[Column] = &[
    Column { title: "#", right: true, leave_out: 0, cell: number },
    Column { title: "step", right: false, leave_out: 0, cell: |_, line| line.name.clone() },
    Column { title: "ms", right: true, leave_out: 2, cell: ms },
    Column { title: "GFLOP/s", right: true, leave_out: 0, cell: gflops },
    Column { title: "×", right: true, leave_out: 3, cell: times },
    Column { title: "GB/s", right: true, leave_out: 4, cell: gbytes },
    Column { title: "of limit", right: true, leave_out: 1, cell: share },
    Column { title: "difference", right: true, leave_out: 5, cell: difference },
    Column { title: "bits", right: false, leave_out: 6, cell: bits },
    Column {
        title: "order of summation",
        right: false,
        leave_out: 7,
        cell: |_, line| line.order.clone(),
    },
];

fn number(_: &Report, line: &Line) -> String {
    line.step.map_or("mine".into(), |n| n.to_string())
}

/// Three significant digits.
pub(super) fn short(value: f64) -> String {
    let digits = 2 - value.abs().max(1e-9).log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 4) as usize)
}

fn of_speed(line: &Line, f: impl Fn(&crate::measure::Speed) -> String) -> String {
    line.speed.as_ref().map(f).unwrap_or_default()
}

fn ms(_: &Report, line: &Line) -> String {
    of_speed(line, |speed| short(speed.ms))
}

fn gflops(_: &Report, line: &Line) -> String {
    of_speed(line, |speed| speed.gflops.map(short).unwrap_or_default())
}

fn gbytes(_: &Report, line: &Line) -> String {
    of_speed(line, |speed| short(speed.gbytes))
}

fn share(_: &Report, line: &Line) -> String {
    of_speed(line, |speed| format!("{:.0} %", 100.0 * speed.share))
}

/// How many times as fast as the step before.
fn times(report: &Report, line: &Line) -> String {
    let timed = report.steps.iter().filter(|other| other.speed.is_some());
    let before = timed.take_while(|other| !std::ptr::eq(*other, line)).last();
    match (before.and_then(|b| b.speed), line.speed) {
        (Some(before), Some(speed)) => format!("{:.2}", before.ms / speed.ms),
        _ => String::new(),
    }
}

fn difference(_: &Report, line: &Line) -> String {
    line.difference.map(|d| format!("{d:.1e}")).unwrap_or_default()
}

fn bits(_: &Report, line: &Line) -> String {
    line.same_bits_as.map(|n| format!("as {n}")).unwrap_or_default()
}

/// Whether a column has anything to tell.
fn used(report: &Report, column: &Column) -> bool {
    report.steps.iter().any(|line| !(column.cell)(report, line).is_empty())
}

/// The table for a terminal of `width` columns, or a pipe.
pub fn terminal(report: &Report, width: Option<usize>) -> Vec<String> {
    let mut columns: Vec<&Column> = COLUMNS.iter().filter(|c| used(report, c)).collect();
    loop {
        let lines = aligned(report, &columns);
        let widest = lines.iter().map(|line| measure_text_width(line)).max().unwrap_or(0);
        let last = columns.iter().map(|c| c.leave_out).max().unwrap_or(0);
        if last == 0 || width.is_none_or(|width| widest <= width) {
            let fold = |all: Vec<String>| -> Vec<String> {
                all.iter().flat_map(|line| wrapped(line, width)).collect()
            };
            let parts = [fold(head(report)), lines, fold(notes(report))];
            let filled: Vec<Vec<String>> = parts.into_iter().filter(|p| !p.is_empty()).collect();
            return filled.join(&String::new());
        }
        columns.retain(|c| c.leave_out < last);
    }
}

fn aligned(report: &Report, columns: &[&Column]) -> Vec<String> {
    let cells = |line: &Line| columns.iter().map(|c| (c.cell)(report, line)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = report.steps.iter().map(cells).collect();
    let width = |i: usize| {
        let cells = rows.iter().map(|row| measure_text_width(&row[i]));
        cells.chain([measure_text_width(columns[i].title)]).max().unwrap_or(0)
    };
    let join = |row: &[String]| {
        let padded = row.iter().zip(columns).enumerate().map(|(i, (cell, column))| {
            let side = if column.right { Alignment::Right } else { Alignment::Left };
            pad_str(cell, width(i), side, None).into_owned()
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let titles: Vec<String> = columns.iter().map(|c| c.title.to_string()).collect();
    let mut lines = vec![style(join(&titles)).bold().to_string()];
    lines.extend(report.steps.iter().zip(&rows).map(|(line, row)| {
        let text = join(row);
        match (&line.without, line.step) {
            (Some(_), _) if line.wrong => style(format!("{text}  WRONG")).red().to_string(),
            (Some(_), _) => style(text).dim().to_string(),
            (None, None) => style(text).cyan().to_string(),
            (None, Some(_)) => text,
        }
    }));
    lines
}

/// What was measured, where, and the limits.
fn head(report: &Report) -> Vec<String> {
    let machine = &report.machine;
    let threads = match machine.threads {
        0 => String::new(),
        1 => ", 1 thread".into(),
        n => format!(", {n} threads"),
    };
    let mut lines =
        vec![report.title.clone(), format!("on {} ({}){threads}", machine.name, machine.has)];
    if report.rounds > 0 {
        lines.push(format!(
            "limit: {} GFLOP/s of multiply-adds in registers, {} GB/s of a stream that reads {} MB; \
             medians of {} rounds",
            short(report.limit_gflops),
            short(report.limit_gbytes),
            short(report.stream_bytes as f64 / 1e6),
            report.rounds
        ));
    }
    lines
}

/// What is below the table.
fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for line in &report.steps {
        if let Some(why) = &line.without {
            let name =
                line.step.map_or("your kernel".into(), |n| format!("step {n}, {}", line.name));
            let what = if line.wrong { " is wrong" } else { "" };
            notes.push(format!("{name}{what}: {why}."));
        }
    }
    if report.machine.software {
        notes.push(
            "This GPU is software on the processor: only the order of the steps counts, and even that \
             may differ on hardware."
                .into(),
        );
    }
    notes
}

/// A line cut between words into lines of at most `width`.
fn wrapped(line: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![line.to_string()] };
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut() {
            Some(last) if measure_text_width(last) + 1 + measure_text_width(word) <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// The table in Markdown, with what it was measured on.
pub fn markdown(report: &Report) -> Vec<String> {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|c| used(report, c)).collect();
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines: Vec<String> = vec![head(report).join("; ") + ".", String::new()];
    lines.push(row(columns.iter().map(|c| c.title.to_string()).collect()));
    let rule = |c: &&Column| if c.right { "---:" } else { "---" }.to_string();
    lines.push(row(columns.iter().map(rule).collect()));
    let cells = |line: &Line| columns.iter().map(|c| (c.cell)(report, line)).collect();
    lines.extend(report.steps.iter().map(|line| row(cells(line))));
    let notes = notes(report);
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines
}
