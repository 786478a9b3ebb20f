//! How well predicted numbers fit the true ones.

use super::Evaluation;

/// Pairs of a predicted and a true number.
#[derive(Clone, Debug, Default)]
pub struct Regression {
    predicted: Vec<f64>,
    truth: Vec<f64>,
}

impl Regression {
    /// Adds an example.
    pub fn add(&mut self, predicted: f64, truth: f64) {
        self.predicted.push(predicted);
        self.truth.push(truth);
    }

    /// The mean squared error; 0 without examples.
    pub fn mse(&self) -> f64 {
        let pairs = self.predicted.iter().zip(&self.truth);
        pairs.map(|(p, t)| (p - t).powi(2)).sum::<f64>() / self.truth.len().max(1) as f64
    }

    /// Pearson's correlation; NaN where either side is constant.
    pub fn pearson(&self) -> f64 {
        pearson(&self.predicted, &self.truth)
    }

    /// Spearman's rank correlation: Pearson's of the ranks, where equal numbers share their mean
    /// rank. NaN where either side is constant.
    pub fn spearman(&self) -> f64 {
        pearson(&ranks(&self.predicted), &ranks(&self.truth))
    }

    /// `pearson`, `spearman` and `mse`, which is the loss.
    pub fn evaluation(&self) -> Evaluation {
        let (examples, mse) = (self.truth.len(), self.mse());
        let values = [("pearson", self.pearson()), ("spearman", self.spearman()), ("mse", mse)];
        Evaluation::new(examples, mse, values)
    }
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut cross, mut var_a, mut var_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        cross += a * b;
        var_a += a * a;
        var_b += b * b;
    }
    cross / (var_a * var_b).sqrt()
}

/// The rank of each number, from 1; equal numbers share their mean rank.
///
/// ```
/// use gradus_models::evaluation::ranks;
///
/// assert_eq!(ranks(&[0.5, 0.1, 0.5]), [2.5, 1.0, 2.5]);
/// ```
pub fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut before = 0;
    for equal in order.chunk_by(|&a, &b| numbers[a] == numbers[b]) {
        let shared = before as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = shared);
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Regression {
        let mut regression = Regression::default();
        pairs.iter().for_each(|&(p, t)| regression.add(p, t));
        regression
    }

    /// The values are scipy's `pearsonr` and `spearmanr`, scikit-learn's `mean_squared_error`.
    #[test]
    fn correlations_are_those_of_scipy() {
        let regression =
            of(&[(0.1, 0.0), (2.5, 1.0), (2.5, 2.0), (3.0, 4.0), (-1.0, 3.0), (4.0, 5.0)]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
        close(regression.pearson(), PEARSON);
        close(regression.spearman(), SPEARMAN);
        close(regression.mse(), MSE);
    }

    const PEARSON: f64 = 0.493_349_371_364_059_7;
    const SPEARMAN: f64 = 0.637_748_139_217_693_2;
    const MSE: f64 = 3.418_333_333_333_333;

    #[test]
    fn a_constant_correlates_with_nothing() {
        let constant = of(&[(1.0, 0.0), (1.0, 1.0)]);
        assert!(constant.pearson().is_nan() && constant.spearman().is_nan());
        assert!(of(&[]).pearson().is_nan());
    }
}
