//! How often a classifier gives each label for each; accuracy, precision, recall, F1.

use std::collections::BTreeMap;

use serde::Serialize;

/// How often each label was predicted for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// By (true label, predicted label).
    counts: BTreeMap<(u32, u32), u64>,
}

/// How well one label is found. A ratio without any case is 0, as in scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The share of the texts with this prediction that have the label.
    pub precision: f64,
    /// The share of the texts with the label that the model predicts so.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of texts that have the label.
    pub support: u64,
}

impl ClassScores {
    /// The scores of a label that was rightly predicted `right` times, predicted `predicted` times,
    /// and occurs `support` times.
    pub fn of(right: u64, predicted: u64, support: u64) -> ClassScores {
        ClassScores {
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, predicted + support),
            support,
        }
    }

    /// The mean F1 of labels, each weighed by its support.
    pub fn weighted_f1(scores: &[ClassScores]) -> f64 {
        let support: u64 = scores.iter().map(|s| s.support).sum();
        let sum: f64 = scores.iter().map(|s| s.support as f64 * s.f1).sum();
        sum / support.max(1) as f64
    }
}

impl Confusion {
    /// Counts one text.
    pub fn add(&mut self, truth: u32, predicted: u32) {
        *self.counts.entry((truth, predicted)).or_default() += 1;
    }

    /// How many texts of the label `truth` were predicted to have the label `predicted`.
    pub fn count(&self, truth: u32, predicted: u32) -> u64 {
        self.counts.get(&(truth, predicted)).copied().unwrap_or(0)
    }

    /// How many texts were predicted to have a label.
    pub fn predicted(&self, label: u32) -> u64 {
        self.sum(|_, predicted| predicted == label)
    }

    /// Number of texts.
    pub fn examples(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Share of texts whose prediction is right; 0 for none.
    pub fn accuracy(&self) -> f64 {
        ratio(self.sum(|truth, predicted| truth == predicted), self.examples())
    }

    /// The scores of one label.
    pub fn scores(&self, label: u32) -> ClassScores {
        let right = self.sum(|truth, predicted| truth == label && predicted == label);
        let predicted = self.predicted(label);
        let support = self.sum(|truth, _| truth == label);
        ClassScores::of(right, predicted, support)
    }

    /// The scores of every label that occurs or was predicted, in the order of ids.
    fn all_scores(&self) -> Vec<ClassScores> {
        let mut labels: Vec<u32> = self.counts.keys().flat_map(|&(a, b)| [a, b]).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.into_iter().map(|label| self.scores(label)).collect()
    }

    /// Mean F1 over the labels that occur or were predicted, as scikit-learn's
    /// `f1_score(average="macro")`.
    pub fn macro_f1(&self) -> f64 {
        let scores = self.all_scores();
        scores.iter().map(|s| s.f1).sum::<f64>() / scores.len().max(1) as f64
    }

    /// Mean F1 over the texts, each with the F1 of its label, as scikit-learn's
    /// `f1_score(average="weighted")`.
    pub fn weighted_f1(&self) -> f64 {
        ClassScores::weighted_f1(&self.all_scores())
    }

    /// The `most` most frequent mistakes: true label, predicted label, how often.
    pub fn worst(&self, most: usize) -> Vec<(u32, u32, u64)> {
        let mistakes = self.counts.iter().filter(|((truth, predicted), _)| truth != predicted);
        let mut cells: Vec<(u32, u32, u64)> =
            mistakes.map(|(&(truth, predicted), &count)| (truth, predicted, count)).collect();
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.2));
        cells.truncate(most);
        cells
    }

    fn sum(&self, of: impl Fn(u32, u32) -> bool) -> u64 {
        self.counts
            .iter()
            .filter(|((truth, predicted), _)| of(*truth, *predicted))
            .map(|(_, n)| n)
            .sum()
    }
}

/// A share; 0 of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are scikit-learn's `precision_recall_fscore_support`,
    /// `f1_score(average="macro")`.
    #[test]
    fn scores_are_those_of_scikit_learn() {
        let truth = [0, 0, 0, 1, 1, 2, 2, 2, 2, 4];
        let predicted = [0, 0, 1, 1, 2, 2, 2, 0, 3, 4];
        let mut confusion = Confusion::default();
        truth.iter().zip(&predicted).for_each(|(&t, &p)| confusion.add(t, p));
        assert_eq!((confusion.examples(), confusion.accuracy()), (10, 0.6));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
        for (label, precision, recall, f1, support) in [
            (0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3),
            (1, 0.5, 0.5, 0.5, 2),
            (2, 2.0 / 3.0, 0.5, 4.0 / 7.0, 4),
            (3, 0.0, 0.0, 0.0, 0),
            (4, 1.0, 1.0, 1.0, 1),
        ] {
            let scores = confusion.scores(label);
            close(scores.precision, precision);
            close(scores.recall, recall);
            close(scores.f1, f1);
            assert_eq!(scores.support, support);
        }
        close(confusion.macro_f1(), 0.547_619_047_619_047_6);
        close(confusion.weighted_f1(), 0.628_571_428_571_428_6);
        confusion.add(2, 0);
        assert_eq!(confusion.worst(2), [(2, 0, 2), (0, 1, 1)]);
    }
}
