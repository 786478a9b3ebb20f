//! The course of a run, read from its `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use gradus_cli::{Failure, Outcome};
use gradus_models::files;
use serde_json::Value;

/// Points of a curve: (step, value).
pub type Points = Vec<(f64, f64)>;

/// The course of a run.
#[derive(Default)]
pub struct History {
    /// The lines of steps.
    steps: Vec<Value>,
    /// The lines of evaluations, by split.
    evaluations: BTreeMap<String, Vec<Value>>,
}

impl History {
    /// Reads the file of a run's folder.
    ///
    /// # Errors
    /// When it is missing, or a line is not JSON.
    pub fn read(folder: &Path) -> Outcome<History> {
        let path = folder.join("metrics.jsonl");
        let text = String::from_utf8_lossy(&files::read(&path)?).into_owned();
        let mut history = History::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line: Value = serde_json::from_str(line).map_err(|e| {
                Failure::error(format!("{}:{number}: is not a line of JSON: {e}", path.display()))
            })?;
            match line["split"].as_str() {
                Some(split) => {
                    history.evaluations.entry(split.to_string()).or_default().push(line);
                }
                None => history.steps.push(line),
            }
        }
        Ok(history)
    }

    /// A number of every step, such as `loss`. Steps where it is not a number are left out.
    pub fn of_steps(&self, name: &str) -> Points {
        points(&self.steps, |line| line[name].as_f64())
    }

    /// A number of every evaluation of a split.
    pub fn of_split(&self, split: &str, name: &str) -> Points {
        self.evaluations
            .get(split)
            .map_or(Vec::new(), |all| points(all, |line| line[name].as_f64()))
    }

    /// The last evaluation of a split.
    pub fn last(&self, split: &str) -> Option<&Value> {
        self.evaluations.get(split)?.last()
    }

    /// The norms of each part of the model at the evaluations: `weight_norms` or `gradient_norms`.
    pub fn norms(&self, kind: &str) -> Vec<(String, Points)> {
        let Some(dev) = self.evaluations.get("dev") else { return Vec::new() };
        let parts = dev.last().and_then(|line| line[kind].as_object()).into_iter().flatten();
        let curve = |part: &String| points(dev, |line| line[kind][part].as_f64());
        parts.map(|(part, _)| (part.clone(), curve(part))).collect()
    }
}

fn points(lines: &[Value], value: impl Fn(&Value) -> Option<f64>) -> Points {
    let point = |line: &Value| Some((line["step"].as_f64()?, value(line)?));
    lines.iter().filter_map(point).filter(|(_, value)| value.is_finite()).collect()
}

/// A curve with each value replaced by a mean of it and those before it, the nearest weighing most.
pub fn smoothed(points: &[(f64, f64)]) -> Points {
    let keep = 1.0 - 1.0 / (points.len() as f64 / 50.0).max(1.0);
    let (mut sum, mut weights) = (0.0, 0.0);
    let mut next = |&(step, value): &(f64, f64)| {
        (sum, weights) = (sum * keep + value, weights * keep + 1.0);
        (step, sum / weights)
    };
    points.iter().map(&mut next).collect()
}
