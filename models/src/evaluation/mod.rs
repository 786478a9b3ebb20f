//! How well a model does: named numbers, one of which decides which model is best.
//!
//! ```
//! use gradus_models::evaluation::{Confusion, Evaluation, Metric};
//!
//! let mut confusion = Confusion::default();
//! for (truth, predicted) in [(0, 0), (0, 1), (1, 1), (1, 1)] {
//!     confusion.add(truth, predicted);
//! }
//! assert_eq!(confusion.accuracy(), 0.75);
//! assert_eq!(confusion.scores(0).recall, 0.5);
//! assert_eq!(confusion.worst(1), [(0, 1, 1)]); // once 1 instead of 0
//!
//! let accuracy = Metric::percent("accuracy", "accuracy");
//! let first = Evaluation::new(4, 0.6, [("accuracy", 0.5)]);
//! let second = Evaluation::new(4, 0.4, [("accuracy", confusion.accuracy())]);
//! assert!(second.better_than(Some(&first), &accuracy));
//! ```

mod calibration;
mod confusion;
mod entities;
mod examiner;
mod labels;
mod regression;
mod retrieval;
mod spans;
mod squad;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use calibration::{BINS, Bin, Calibration};
pub use confusion::{ClassScores, Confusion};
pub use entities::{Entity, EntityScores, Scheme, entities};
pub use examiner::Examiner;
pub use labels::{MultiLabel, SingleLabel};
pub use regression::{Regression, ranks};
pub use retrieval::{Rank, Retrieval};
pub use spans::{BestSpan, SpanLogits, best_span};
pub(crate) use squad::best_agreement;
pub use squad::{SquadScores, compare_answers, normalize_answer};

/// The name of the loss among the numbers of an [`Evaluation`].
pub const LOSS: &str = "loss";

/// A number by which models are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name among the numbers of an [`Evaluation`], such as `macro_f1`.
    pub name: &'static str,
    /// Its name on a screen, such as `macro F1`.
    pub title: &'static str,
    /// Whether a screen shows it in percent.
    pub in_percent: bool,
    /// Whether less is better.
    pub lower_is_better: bool,
}

impl Metric {
    /// A share, of which more is better.
    pub const fn percent(name: &'static str, title: &'static str) -> Metric {
        Metric { name, title, in_percent: true, lower_is_better: false }
    }

    /// Another number, of which more is better.
    pub const fn number(name: &'static str, title: &'static str) -> Metric {
        Metric { name, title, in_percent: false, lower_is_better: false }
    }

    /// The same number, of which less is better.
    pub const fn lower_is_better(mut self) -> Metric {
        self.lower_is_better = true;
        self
    }

    /// A value of this metric, for a screen.
    pub fn show(&self, value: f64) -> String {
        if self.in_percent { format!("{:.2}%", value * 100.0) } else { format!("{value:.4}") }
    }
}

/// The results of a model on some examples.
///
/// JSON has the numbers as strings: readers of JSON may round the last bit of a number, and a
/// resumed run must compare the same bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of examples.
    pub examples: usize,
    /// Mean loss, as the task defines it.
    pub loss: f64,
    values: Vec<(String, f64)>,
}

impl Evaluation {
    /// The results on `examples` examples: the mean loss, and other numbers by name.
    pub fn new<'a>(
        examples: usize,
        loss: f64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Evaluation {
        let values = values.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        Evaluation { examples, loss, values }
    }

    /// The number of this name; `loss` is one of them.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Every number with its name; the loss comes last.
    pub fn values(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value)).chain([(LOSS, self.loss)])
    }

    /// Whether this is better than `other` by `metric`, or equal by it with a lower loss. A result
    /// whose metric or loss is not a number is never better.
    pub fn better_than(&self, other: Option<&Evaluation>, metric: &Metric) -> bool {
        let value = |of: &Evaluation| of.get(metric.name).unwrap_or(f64::NAN);
        let mine = value(self);
        if !self.loss.is_finite() || mine.is_nan() {
            return false;
        }
        let Some(other) = other else { return true };
        let theirs = value(other);
        let wins = if metric.lower_is_better { mine < theirs } else { mine > theirs };
        wins || theirs.is_nan() || (mine == theirs && self.loss < other.loss)
    }
}

impl Serialize for Evaluation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.values() {
            map.serialize_entry(name, &value.to_string())?;
        }
        map.serialize_entry(EXAMPLES, &self.examples)?;
        map.end()
    }
}

const EXAMPLES: &str = "examples";

impl<'de> Deserialize<'de> for Evaluation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Evaluation, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        let missing = |name: &str| D::Error::custom(format!("`{name}` is missing or no number"));
        let examples = map.get(EXAMPLES).and_then(serde_json::Value::as_u64);
        let mut evaluation =
            Evaluation::new(examples.ok_or_else(|| missing(EXAMPLES))? as usize, f64::NAN, []);
        let mut loss = None;
        for (name, value) in map.iter().filter(|(name, _)| *name != EXAMPLES) {
            let number = value.as_str().and_then(|text| text.parse().ok());
            let number: f64 = number.ok_or_else(|| missing(name))?;
            match name.as_str() {
                LOSS => loss = Some(number),
                _ => evaluation.values.push((name.clone(), number)),
            }
        }
        evaluation.loss = loss.ok_or_else(|| missing(LOSS))?;
        Ok(evaluation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCURACY: Metric = Metric::percent("accuracy", "accuracy");
    const ERROR: Metric = Metric::number("mse", "squared error").lower_is_better();

    #[test]
    fn a_tie_is_decided_by_the_loss() {
        let of = |accuracy, loss| Evaluation::new(1, loss, [("accuracy", accuracy)]);
        let best = of(0.5, 1.0);
        let better = |result: Evaluation| result.better_than(Some(&best), &ACCURACY);
        assert!(better(of(0.6, 9.0)) && better(of(0.5, 0.9)));
        assert!(!better(of(0.5, 1.0)) && !better(of(0.4, 0.1)));
        assert!(of(0.0, 1.0).better_than(None, &ACCURACY));
        assert!(!of(1.0, f64::NAN).better_than(None, &ACCURACY));
        assert!(!of(f64::NAN, 1.0).better_than(None, &ACCURACY));
        assert!(
            better(of(0.6, 2.0)) && of(0.1, 2.0).better_than(Some(&of(f64::NAN, 1.0)), &ACCURACY)
        );
    }

    #[test]
    fn of_errors_the_smaller_is_better() {
        let of = |error| Evaluation::new(1, 1.0, [("mse", error)]);
        assert!(of(0.1).better_than(Some(&of(0.2)), &ERROR));
        assert!(!of(0.3).better_than(Some(&of(0.2)), &ERROR));
        assert_eq!((ERROR.show(0.25), ACCURACY.show(0.25)), ("0.2500".into(), "25.00%".into()));
    }

    #[test]
    fn an_evaluation_survives_json_bit_for_bit() {
        let before = Evaluation::new(
            60,
            0.1 + 0.2,
            [("accuracy", 49.0 / 60.0), ("macro_f1", 1e-300 / 3.0), ("pearson", f64::NEG_INFINITY)],
        );
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), before);
        let error = serde_json::from_str::<Evaluation>(r#"{"examples":1}"#).unwrap_err();
        assert!(error.to_string().contains("`loss` is missing"), "{error}");
    }
}
