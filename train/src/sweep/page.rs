//! `sweep.html`: the trials in a table, and pictures of what decides how good they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gradus_cli::Outcome;
use maud::{Markup, html};
use serde_json::Value;

use super::log::{Best, Ended};
use super::range::Range;
use super::table::{Table, shown};
use crate::page::plot::{Line, curves};
use crate::page::scatter::{Axis, scatter};
use crate::page::{self, History, Section};

/// The name of the page in the folder of the sweep.
const PAGE: &str = "sweep.html";

/// Trials whose curves are drawn; more cannot be told apart.
const CURVES: usize = 7;

const POINTS: &str = "A point is a trial. The large one is the best.";
const CURVES_ARE: &str = "A curve is a trial, over its steps.";

/// Writes the page into the folder of a sweep. The trials come the best first.
///
/// # Errors
/// When a run cannot be read, or the page cannot be written.
pub fn write(
    out: &Path,
    ranked: &[&Ended],
    table: &Table,
    ranges: &BTreeMap<String, Range>,
) -> Outcome<PathBuf> {
    let finished: Vec<(&Ended, &Best)> =
        ranked.iter().filter_map(|ended| Some((*ended, ended.best()?))).collect();
    let mut sections = vec![Section::new("Trials, the best first", rows(table))];
    if let Some((_, best)) = finished.first() {
        let metric = format!("dev {}", best.metric);
        let pictures = ranges.iter().filter_map(|(name, range)| {
            let (axis, points) = against(name, range, &finished);
            scatter(&format!("{metric} by {name}"), &axis, &points)
        });
        sections.push(Section::new("What decides", plots(POINTS, pictures.collect())));
        let curves = curves(&metric, &course(out, &finished)?);
        sections
            .push(Section::new("The best trials", plots(CURVES_ARE, curves.into_iter().collect())));
    }
    let path = out.join(PAGE);
    page::write(&path, &format!("train sweep: {}", out.display()), &sections)?;
    Ok(path)
}

fn rows(table: &Table) -> Markup {
    html! {
        div.wide { table {
            tr { @for column in &table.columns { th { (column) } } }
            @for row in &table.rows { tr { @for cell in row { td { (cell) } } } }
        } }
    }
}

/// Pictures below a line of text.
fn plots(about: &str, pictures: Vec<Markup>) -> Markup {
    html! { p { (about) } div.plots { @for picture in &pictures { (picture) } } }
}

/// The values of a flag and the metric, a point for each trial.
fn against(name: &str, range: &Range, finished: &[(&Ended, &Best)]) -> (Axis, Vec<(f64, f64)>) {
    let values =
        || finished.iter().filter_map(|(ended, best)| Some((ended.flags.get(name)?, best)));
    let number = |value: &Value| value.as_f64();
    let place = |of: &dyn Fn(&Value) -> Option<f64>| {
        values().filter_map(|(value, best)| Some((of(value)?, best.value))).collect()
    };
    match range {
        Range::Values(names) => {
            let at = |value: &Value| Some(names.iter().position(|name| name == value)? as f64);
            (Axis::Names(names.iter().map(shown).collect()), place(&at))
        }
        range if range.is_log() => (Axis::Log, place(&number)),
        _ => (Axis::Numbers, place(&number)),
    }
}

/// The metric over the steps of the best trials.
fn course(out: &Path, finished: &[(&Ended, &Best)]) -> Outcome<Vec<Line>> {
    let line = |(ended, best): &(&Ended, &Best)| {
        let history = History::read(&out.join(&ended.folder))?;
        let points = history.of_split("dev", &best.metric);
        Ok(Line::new(ended.folder.display().to_string(), points))
    };
    finished.iter().take(CURVES).map(line).collect()
}
