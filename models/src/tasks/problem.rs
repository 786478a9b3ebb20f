//! What a classifier answers: one label, several, or a number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::evaluation::Metric;

/// What a classifier of texts answers: `problem_type` of `transformers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Problem {
    /// One of the labels.
    #[default]
    Single,
    /// Any number of the labels.
    Multi,
    /// A number.
    Regression,
}

impl Problem {
    /// All of them.
    pub const ALL: [Problem; 3] = [Problem::Single, Problem::Multi, Problem::Regression];

    /// Its name: `single`, `multi` or `regression`.
    pub fn name(self) -> &'static str {
        match self {
            Problem::Single => "single",
            Problem::Multi => "multi",
            Problem::Regression => "regression",
        }
    }

    /// The value of `problem_type` in `config.json`.
    pub fn problem_type(self) -> &'static str {
        match self {
            Problem::Single => "single_label_classification",
            Problem::Multi => "multi_label_classification",
            Problem::Regression => "regression",
        }
    }

    /// The problem of a model with `labels` outputs whose folder has this `problem_type`: without
    /// one, a single output is a number.
    pub fn of(problem_type: Option<&str>, labels: usize) -> Problem {
        let named = Problem::ALL.into_iter().find(|p| Some(p.problem_type()) == problem_type);
        named.unwrap_or(if labels == 1 { Problem::Regression } else { Problem::Single })
    }
}

impl Problem {
    /// The numbers of a classifier that gives each text one label.
    pub(super) const SINGLE: [Metric; 4] = [
        Metric::percent("accuracy", "accuracy"),
        Metric::percent("macro_f1", "macro F1"),
        Metric::percent("weighted_f1", "weighted F1"),
        Metric::percent("calibration_error", "calibration error").lower_is_better(),
    ];

    /// The numbers that an evaluation gives, the loss aside; the first decides.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Problem::Single => &Self::SINGLE,
            Problem::Multi => &MULTI,
            Problem::Regression => &REGRESSION,
        }
    }
}

const MULTI: [Metric; 4] = [
    Metric::percent("micro_f1", "micro F1"),
    Metric::percent("macro_f1", "macro F1"),
    Metric::percent("weighted_f1", "weighted F1"),
    Metric::percent("accuracy", "exact matches"),
];
const REGRESSION: [Metric; 3] = [
    Metric::number("pearson", "Pearson"),
    Metric::number("spearman", "Spearman"),
    Metric::number("mse", "squared error").lower_is_better(),
];

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Problem {
    type Err = String;

    fn from_str(name: &str) -> Result<Problem, String> {
        let found = Problem::ALL.into_iter().find(|problem| problem.name() == name);
        found.ok_or_else(|| format!("`{name}` is none of single, multi, regression"))
    }
}
