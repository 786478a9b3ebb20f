//! Whether the probabilities of a classifier are right as often as they say.

use serde::Serialize;

/// The number of bins of equal width, as in Guo et al., arXiv:1706.04599.
pub const BINS: usize = 15;

/// Predictions whose probability lies in one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Number of predictions.
    pub count: u64,
    /// The sum of their probabilities.
    pub confidence: f64,
    /// How many of them are right.
    pub right: u64,
}

/// Predictions, sorted into bins by their probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    bins: [Bin; BINS],
}

impl Default for Calibration {
    fn default() -> Self {
        Calibration { bins: [Bin::default(); BINS] }
    }
}

impl Calibration {
    /// Counts a prediction of the given probability.
    pub fn add(&mut self, probability: f64, right: bool) {
        // A bin holds its upper end: (0, 1/15], …, (14/15, 1].
        let place = (probability * BINS as f64).ceil().max(1.0) as usize - 1;
        let bin = &mut self.bins[place.min(BINS - 1)];
        bin.count += 1;
        bin.confidence += probability;
        bin.right += u64::from(right);
    }

    /// The bins, from the lowest probability to the highest.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// The expected calibration error: the mean distance between the probability of a bin and the
    /// share of it that is right, weighed by the predictions. 0 without predictions.
    pub fn error(&self) -> f64 {
        let all: u64 = self.bins.iter().map(|bin| bin.count).sum();
        let gaps: f64 = self.bins.iter().map(|bin| (bin.confidence - bin.right as f64).abs()).sum();
        gaps / all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_mean_gap() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.error(), 0.0);
        // Two predictions of 0.9, one right; two of 0.5, one right: gaps of 0.8 and 0.
        for (probability, right) in [(0.9, true), (0.9, false), (0.5, true), (0.5, false)] {
            calibration.add(probability, right);
        }
        assert!((calibration.error() - 0.8 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_bin_holds_its_upper_end() {
        let mut calibration = Calibration::default();
        for probability in [0.0, 1.0 / 15.0, 1.0 / 15.0 + 1e-9, 1.0, f64::NAN] {
            calibration.add(probability, true);
        }
        let counts: Vec<u64> = calibration.bins().iter().map(|bin| bin.count).collect();
        assert_eq!((counts[0], counts[1], counts[14]), (3, 1, 1));
    }
}
