//! The trials as a table.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::log::{Ended, How};
use super::plan::Drawn;
use super::range::Range;

/// The trials, a row each, in the order in which they are given.
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The trials of a sweep in the folder `out`.
    pub fn of(ended: &[&Ended], ranges: &BTreeMap<String, Range>, out: &Path) -> Table {
        let metric = ended.iter().find_map(|ended| ended.best());
        let metric = metric.map_or("result".into(), |best| format!("dev {}", best.metric));
        let mut columns = vec![metric, "step".into()];
        columns.extend(ranges.keys().cloned());
        columns.push("run".into());
        let row = |ended: &&Ended| {
            let mut row = match &ended.how {
                How::Finished(best) => vec![best.shown.clone(), best.step.to_string()],
                How::Failed { .. } => vec!["failed".into(), String::new()],
            };
            row.extend(ranges.keys().map(|name| ended.flags.get(name).map_or("".into(), shown)));
            let folder = out.join(&ended.folder).display().to_string();
            row.push(match &ended.how {
                How::Finished(_) => folder,
                How::Failed { error } => format!("{folder}: {error}"),
            });
            row
        };
        Table { columns, rows: ended.iter().map(row).collect() }
    }

    /// The table for a terminal of so many columns, or for a file: a block for each trial where the
    /// lines would be wide.
    pub fn text(&self, columns: Option<usize>) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|i| self.width(i)).collect();
        // The last column, which may hold an error, is not filled up.
        let filled = widths.iter().rev().skip(1).map(|width| width + 2).sum::<usize>();
        let last = self.finished().map(|row| row.last().map_or(0, |text| count(text))).max();
        if columns.is_some_and(|columns| filled + last.unwrap_or(0) > columns) {
            return self.rows.iter().map(|row| self.block(row)).collect();
        }
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(text, width)| format!("{text:width$}  "));
            format!("{}\n", cells.collect::<String>().trim_end())
        };
        std::iter::once(&self.columns).chain(&self.rows).map(line).collect()
    }

    fn finished(&self) -> impl Iterator<Item = &Vec<String>> {
        self.rows.iter().filter(|row| row.first().is_some_and(|first| first != "failed"))
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().chain([&self.columns]);
        match column + 1 == self.columns.len() {
            true => 0,
            false => cells.map(|row| count(&row[column])).max().unwrap_or(0),
        }
    }

    fn block(&self, row: &[String]) -> String {
        let width = self.columns.iter().map(|name| count(name)).max().unwrap_or(0);
        let cells = self.columns.iter().zip(row).filter(|(_, text)| !text.is_empty());
        let lines = cells.map(|(name, text)| format!("  {name:width$}  {text}\n"));
        format!("{}\n", lines.collect::<String>())
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// The value of a flag, without the quotes of a string.
pub fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// What a trial draws, in a line.
pub fn spelled(drawn: &Drawn) -> String {
    let flags = drawn.iter().map(|(name, value)| format!("{name} {}", shown(value)));
    flags.collect::<Vec<_>>().join(", ")
}

/// A trial of the sweep in `out`, as a line of JSON.
pub fn json(ended: &Ended, out: &Path) -> Value {
    let folder = out.join(&ended.folder);
    let mut line = json!({ "trial": ended.trial, "flags": ended.flags, "run": folder });
    match &ended.how {
        How::Finished(best) => {
            line[format!("dev_{}", best.metric)] = json!(best.value);
            line["best_step"] = json!(best.step);
        }
        How::Failed { error } => line["error"] = json!(error),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::log::Best;

    #[test]
    fn the_table_fits_its_terminal() {
        let ended = |trial: u64, how: How| Ended {
            trial,
            flags: Drawn::from([("lr".to_string(), json!(1e-3)), ("pooling".into(), json!("cls"))]),
            folder: format!("trial-00{trial}").into(),
            how,
        };
        let best = Best {
            metric: "accuracy".into(),
            lower_is_better: false,
            value: 0.5,
            shown: "50.00%".into(),
            step: 12,
        };
        let (good, bad) =
            (ended(0, How::Finished(best)), ended(1, How::Failed { error: "no memory".into() }));
        let range = || Range::Values(vec![json!(1)]);
        let ranges = BTreeMap::from([("lr".into(), range()), ("pooling".into(), range())]);
        let table = Table::of(&[&good, &bad], &ranges, Path::new("out"));
        let wide = "dev accuracy  step  lr     pooling  run\n\
                    50.00%        12    0.001  cls      out/trial-000\n\
                    failed              0.001  cls      out/trial-001: no memory\n";
        assert_eq!(table.text(Some(80)), wide);
        assert_eq!(table.text(None), wide);
        let narrow = table.text(Some(40));
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(narrow.contains("  dev accuracy  50.00%\n  step          12\n"), "{narrow}");
        let line = json(&good, Path::new("out"));
        assert_eq!((&line["dev_accuracy"], &line["run"]), (&json!(0.5), &json!("out/trial-000")));
        assert_eq!(json(&bad, Path::new("out"))["error"], "no memory");
    }
}
