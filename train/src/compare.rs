//! `train compare`: several runs side by side.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use gradus_cli::{Outcome, SharedArgs, note};
use maud::html;
use serde_json::{Value, json};

use crate::folder::Record;
use crate::page::plot::{Line, curves};
use crate::page::{self, History, Section, smoothed};
use crate::table::{aligned, fits};

/// The flags of `train compare`.
#[derive(Args)]
pub struct CompareFlags {
    /// Folders of runs
    #[arg(required = true, num_args = 1..)]
    runs: Vec<PathBuf>,
    /// The page to write
    #[arg(long, default_value = "compare.html")]
    output: PathBuf,
}

/// A run that is compared.
struct Compared {
    name: String,
    history: History,
    flags: Vec<(String, String)>,
}

/// Prints a table of the runs' last numbers and of the flags in which they differ, and writes the
/// page.
///
/// # Errors
/// When a folder is not that of a run, or the page cannot be written.
pub fn run(shared: &SharedArgs, flags: &CompareFlags) -> Outcome {
    let runs = flags.runs.iter().map(|path| Compared::read(path)).collect::<Outcome<Vec<_>>>()?;
    let table = Table::of(&runs);
    if shared.json {
        table.rows.iter().for_each(|row| println!("{}", table.json(row)));
    } else {
        table.text(gradus_cli::output_columns()).iter().for_each(|line| println!("{line}"));
    }
    page::write(&flags.output, "Runs side by side", &sections(&runs, &table))?;
    note(shared, format!("wrote {}", flags.output.display()));
    Ok(())
}

impl Compared {
    fn read(path: &Path) -> Outcome<Compared> {
        let (folder, record) = Record::read(path)?;
        let mut flags = vec![("task".to_string(), record.task.clone())];
        flags.push(("--seed".into(), record.seed.to_string()));
        flags.push(("--precision".into(), record.precision.to_string()));
        flags.extend(page::flags(&record.flags));
        let history = History::read(&folder)?;
        Ok(Compared { name: folder.display().to_string(), history, flags })
    }

    fn flag(&self, name: &str) -> String {
        let found = self.flags.iter().find(|(known, _)| known == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    }
}

/// The last numbers of the runs, and the flags in which they differ.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn of(runs: &[Compared]) -> Table {
        let names: BTreeSet<&String> =
            runs.iter().flat_map(|r| r.flags.iter().map(|f| &f.0)).collect();
        let differ = |name: &&&String| {
            name.as_str() != "--out" && runs.iter().any(|run| run.flag(name) != runs[0].flag(name))
        };
        let flags: Vec<&String> = names.iter().filter(differ).copied().collect();
        let numbers: Vec<(&str, String)> = ["dev", "test"]
            .into_iter()
            .flat_map(|split| numbers(runs, split).into_iter().map(move |name| (split, name)))
            .collect();
        let mut columns = vec!["run".to_string(), "steps".into(), "training loss".into()];
        columns.extend(numbers.iter().map(|(split, name)| format!("{split} {name}")));
        columns.extend(flags.iter().map(|name| name.to_string()));
        let row = |run: &Compared| {
            let loss = smoothed(&run.history.of_steps("loss"));
            let (steps, loss) = loss.last().copied().unwrap_or((0.0, f64::NAN));
            let mut row = vec![run.name.clone(), format!("{steps:.0}"), format!("{loss:.4}")];
            row.extend(numbers.iter().map(|(split, name)| last(run, split, name)));
            row.extend(flags.iter().map(|name| run.flag(name)));
            row
        };
        Table { columns, rows: runs.iter().map(row).collect() }
    }

    /// The table for a terminal: a column for each run, or a block for each where the lines are wider
    /// than `width`.
    fn text(&self, width: Option<usize>) -> Vec<String> {
        let shown = |value: &String| if value.is_empty() { "–".into() } else { value.clone() };
        let rows: Vec<(String, Vec<String>)> = (0..)
            .zip(&self.columns)
            .map(|(i, name)| (name.clone(), self.rows.iter().map(|row| shown(&row[i])).collect()))
            .collect();
        let wide = aligned(&rows);
        if fits(&wide, width) {
            return wide;
        }
        let mut lines = Vec::new();
        for (run, row) in self.rows.iter().enumerate() {
            lines.push(row[0].clone());
            let of_run = rows[1..].iter();
            let of_run: Vec<_> =
                of_run.map(|(name, values)| (name.clone(), vec![values[run].clone()])).collect();
            lines.extend(aligned(&of_run).into_iter().map(|line| format!("  {line}")));
        }
        lines
    }

    fn json(&self, row: &[String]) -> Value {
        let value = |text: &String| text.parse::<f64>().map_or_else(|_| json!(text), |n| json!(n));
        self.columns
            .iter()
            .zip(row)
            .map(|(name, text)| (name.replace(' ', "_"), value(text)))
            .collect()
    }
}

/// The names of the numbers that the last evaluations on a split have.
fn numbers(runs: &[Compared], split: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in runs.iter().filter_map(|run| run.history.last(split)) {
        let numbers = line.as_object().into_iter().flatten();
        let numbers = numbers.filter(|(name, value)| {
            value.is_number() && !["step", "epoch"].contains(&name.as_str())
        });
        for (name, _) in numbers {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

fn last(run: &Compared, split: &str, name: &str) -> String {
    let value = run.history.last(split).and_then(|line| line[name].as_f64());
    value.map_or_else(String::new, |value| format!("{value:.4}"))
}

fn sections(runs: &[Compared], table: &Table) -> Vec<Section> {
    let overlay = |title: &str, points: &dyn Fn(&Compared) -> page::Points| {
        let lines: Vec<Line> =
            runs.iter().map(|run| Line::new(run.name.clone(), points(run))).collect();
        curves(title, &lines)
    };
    let mut pictures =
        vec![overlay("training loss, smoothed", &|run| smoothed(&run.history.of_steps("loss")))];
    for name in numbers(runs, "dev") {
        pictures.push(overlay(&format!("dev {name}"), &|run| run.history.of_split("dev", &name)));
    }
    pictures.push(overlay("norm of the gradients, smoothed", &|run| {
        smoothed(&run.history.of_steps("grad_norm"))
    }));
    pictures.push(overlay("learning rate", &|run| run.history.of_steps("lr")));
    vec![
        Section::new(
            "The last numbers, and the flags in which the runs differ",
            html! { div.wide { table {
                tr { th {} @for row in &table.rows { th { (row[0]) } } }
                @for (i, column) in table.columns.iter().enumerate().skip(1) {
                    tr { th { (column) } @for row in &table.rows { td { (row[i]) } } }
                }
            } } },
        ),
        Section::new(
            "Curves",
            html! { div.plots { @for picture in pictures.iter().flatten() { (picture) } } },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_columns_where_they_fit() {
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let columns = words(&["run", "dev loss", "--lr"]);
        let table = Table {
            columns,
            rows: vec![words(&["runs/a", "0.5000", ""]), words(&["runs/long", "0.2500", "0.1"])],
        };
        let wide = [
            "run       runs/a  runs/long",
            "dev loss  0.5000     0.2500",
            "--lr           –        0.1",
        ];
        assert_eq!(table.text(None), wide);
        assert_eq!(table.text(Some(27)), wide);
        let narrow = [
            "runs/a",
            "  dev loss  0.5000",
            "  --lr           –",
            "runs/long",
            "  dev loss  0.2500",
            "  --lr         0.1",
        ];
        assert_eq!(table.text(Some(26)), narrow);
    }
}
