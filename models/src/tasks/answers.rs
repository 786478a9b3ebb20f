//! The right answers of texts, and the tally of what a model says.

use super::Problem;
use crate::data::numbers;
use crate::evaluation::{ClassScores, Evaluation, Metric, MultiLabel, Regression, SingleLabel};
use crate::{Error, Labels, Result, Split};

/// What a model says of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// The ids of the labels; one, where a text has one.
    Labels(Vec<u32>),
    /// The number.
    Number(f32),
}

impl Given {
    /// As text: the names joined by `|`, or the number.
    pub fn show(&self, labels: &Labels) -> String {
        match self {
            Given::Labels(ids) => {
                let names = ids.iter().map(|&id| labels.name(id).unwrap_or_default());
                names.collect::<Vec<_>>().join("|")
            }
            Given::Number(number) => format!("{number:.4}"),
        }
    }
}

/// A prediction beside the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What the model says.
    pub given: Given,
    /// How sure it is: the probability of the label, or of the decision that is most wrong; of a
    /// number, its distance from the truth.
    pub score: f32,
    /// Whether it is wrong. A number always is.
    pub wrong: bool,
}

/// The right answers of some texts.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// One label id for each text.
    Single(Vec<u32>),
    /// Any number of label ids for each text.
    Multi(Vec<Vec<u32>>),
    /// A number for each text.
    Numbers(Vec<f32>),
}

impl Answers {
    /// The answers of a split. A regression has no labels.
    ///
    /// # Errors
    /// [`Error::Data`] with the line for a label that does not fit the problem.
    pub fn of(split: &Split, problem: Problem, labels: &Labels) -> Result<Answers> {
        Ok(match problem {
            Problem::Single => Answers::Single(labels.encode(split)?),
            Problem::Multi => Answers::Multi(labels.encode_sets(split)?),
            Problem::Regression => Answers::Numbers(numbers(split)?),
        })
    }

    /// What kind of answers they are.
    pub fn problem(&self) -> Problem {
        match self {
            Answers::Single(_) => Problem::Single,
            Answers::Multi(_) => Problem::Multi,
            Answers::Numbers(_) => Problem::Regression,
        }
    }

    /// How often each of `labels` labels occurs; 0 where the answers are numbers.
    pub fn counts(&self, labels: usize) -> Vec<usize> {
        let mut counts = vec![0; labels];
        let mut count = |id: &u32| counts[*id as usize] += 1;
        match self {
            Answers::Single(ids) => ids.iter().for_each(&mut count),
            Answers::Multi(sets) => sets.iter().flatten().for_each(&mut count),
            Answers::Numbers(_) => {}
        }
        counts
    }

    /// The loss of a model that knows only how often each answer occurs, in nats; of numbers, their
    /// variance, which is the loss of answering their mean.
    pub fn guessing_loss(&self, labels: usize) -> f64 {
        let entropy = |share: f64| if share > 0.0 { -share * share.ln() } else { 0.0 };
        let shares = |all: usize| {
            self.counts(labels).into_iter().map(move |count| count as f64 / all as f64)
        };
        match self {
            Answers::Single(ids) => shares(ids.len()).map(entropy).sum(),
            Answers::Multi(sets) => {
                let both = shares(sets.len()).map(|share| entropy(share) + entropy(1.0 - share));
                both.sum::<f64>() / labels as f64
            }
            Answers::Numbers(numbers) => {
                let n = numbers.len() as f64;
                let mean = numbers.iter().copied().map(f64::from).sum::<f64>() / n;
                numbers.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n
            }
        }
    }

    /// Weights with which a rare label counts as much as a frequent one: texts/(labels·count), as
    /// scikit-learn's `balanced`; where a text has several, how many texts lack a label for each
    /// that has it.
    ///
    /// # Errors
    /// [`Error::Recipe`] for numbers, and for a label that no text has.
    pub fn balanced_weights(&self, labels: usize) -> Result<Vec<f32>> {
        let refuse = |why| Err(Error::recipe("class_weights", "balanced", why));
        let texts = match self {
            Answers::Single(ids) => ids.len() as f64,
            Answers::Multi(sets) => sets.len() as f64,
            Answers::Numbers(_) => return refuse("a regression has no classes"),
        };
        let counts = self.counts(labels);
        if counts.contains(&0) {
            return refuse("a label has no text in the training set");
        }
        let weight = |count: f64| match self {
            Answers::Single(_) => texts / (labels as f64 * count),
            // A label that every text has would weigh 0.
            _ => (texts - count).max(1.0) / count,
        };
        Ok(counts.into_iter().map(|count| weight(count as f64) as f32).collect())
    }
}

/// The results of texts, one at a time in any order, against their answers.
pub enum Tally<'a> {
    /// One label a text.
    Single(&'a [u32], Box<SingleLabel>),
    /// Several labels a text.
    Multi(&'a [Vec<u32>], MultiLabel),
    /// A number a text.
    Numbers(&'a [f32], Regression),
}

impl<'a> Tally<'a> {
    /// An empty tally.
    pub fn new(answers: &'a Answers) -> Self {
        match answers {
            Answers::Single(labels) => Tally::Single(labels, Box::default()),
            Answers::Multi(sets) => Tally::Multi(sets, MultiLabel::default()),
            Answers::Numbers(numbers) => Tally::Numbers(numbers, Regression::default()),
        }
    }

    /// Counts the logits of text `i`, and judges them.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn add(&mut self, logits: &[f32], i: usize) -> Judged {
        match self {
            Tally::Single(truth, tally) => {
                let (label, probability) = tally.add(logits, truth[i]);
                let given = Given::Labels(vec![label]);
                Judged { given, score: probability as f32, wrong: label != truth[i] }
            }
            Tally::Multi(truth, tally) => {
                let predicted = tally.add(logits, &truth[i]);
                // The probability of the decision that is most wrong.
                let score = (0..logits.len() as u32)
                    .filter(|id| predicted.contains(id) != truth[i].contains(id))
                    .map(|id| 1.0 / (1.0 + (-logits[id as usize].abs()).exp()))
                    .fold(0.0, f32::max);
                Judged { given: Given::Labels(predicted), score, wrong: score > 0.0 }
            }
            Tally::Numbers(truth, tally) => {
                tally.add(f64::from(logits[0]), truth[i].into());
                let score = (logits[0] - truth[i]).abs();
                Judged { given: Given::Number(logits[0]), score, wrong: true }
            }
        }
    }

    /// The scores of every label, in the order of ids; none of a regression.
    pub fn scores(&self, labels: usize) -> Vec<ClassScores> {
        match self {
            Tally::Single(_, tally) => {
                (0..labels as u32).map(|id| tally.confusion.scores(id)).collect()
            }
            Tally::Multi(_, tally) => tally.scores(),
            Tally::Numbers(..) => Vec::new(),
        }
    }

    /// The metrics of its evaluation.
    pub fn metrics(&self) -> &'static [Metric] {
        match self {
            Tally::Single(..) => Problem::Single.metrics(),
            Tally::Multi(..) => Problem::Multi.metrics(),
            Tally::Numbers(..) => Problem::Regression.metrics(),
        }
    }

    /// The numbers of the texts counted so far.
    pub fn evaluation(&self) -> Evaluation {
        match self {
            Tally::Single(_, tally) => tally.evaluation(),
            Tally::Multi(_, tally) => tally.evaluation(),
            Tally::Numbers(_, tally) => tally.evaluation(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }

    #[test]
    fn guessing_by_frequency() {
        close(Answers::Single(vec![0, 1, 1, 1]).guessing_loss(2), 0.562_335_14); // H(¼)
        close(Answers::Single(vec![0, 1]).guessing_loss(3), 2f64.ln());
        let sets = Answers::Multi(vec![vec![0], vec![0, 1], vec![], vec![0]]);
        close(sets.guessing_loss(2), 0.562_335_14); // H(¾) and H(¼)
        close(Answers::Numbers(vec![1.0, 3.0]).guessing_loss(1), 1.0);
    }

    #[test]
    fn balanced() {
        let weights = Answers::Single(vec![0, 1, 1, 1]).balanced_weights(2).unwrap();
        assert_eq!(weights, [2.0, 2.0 / 3.0]);
        let sets = Answers::Multi(vec![vec![0], vec![0, 1], vec![0]]);
        assert_eq!(sets.balanced_weights(2).unwrap(), [1.0 / 3.0, 2.0]);
        let error = Answers::Single(vec![1]).balanced_weights(2).unwrap_err().to_string();
        assert!(error.contains("no text"), "{error}");
        assert!(Answers::Numbers(vec![1.0]).balanced_weights(1).is_err());
    }
}
