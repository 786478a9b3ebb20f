//! Tallies of classifiers: one label a text, or several.

use super::{Calibration, ClassScores, Confusion, Evaluation};

/// The results of a classifier that chooses one label for each text.
#[derive(Clone, Debug, Default)]
pub struct SingleLabel {
    /// How often each label was predicted for each.
    pub confusion: Confusion,
    /// How often the probabilities are right.
    pub calibration: Calibration,
    loss: f64,
}

impl SingleLabel {
    /// Counts a text with these logits and this true label. Returns the predicted label and its
    /// probability.
    ///
    /// # Panics
    /// If there is no logit for the true label.
    pub fn add(&mut self, logits: &[f32], truth: u32) -> (u32, f64) {
        // Of equal logits the first, like `argmax`.
        let mut best = (0, f32::NEG_INFINITY);
        for (label, &logit) in logits.iter().enumerate() {
            if logit > best.1 {
                best = (label as u32, logit);
            }
        }
        let (label, highest) = (best.0, f64::from(best.1));
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - highest).exp()).sum();
        let probability = 1.0 / sum;
        self.confusion.add(truth, label);
        self.calibration.add(probability, label == truth);
        self.loss += highest + sum.ln() - f64::from(logits[truth as usize]);
        (label, probability)
    }

    /// `accuracy`, `macro_f1`, `weighted_f1`, `calibration_error`; the loss is the mean
    /// cross-entropy, without label smoothing and class weights.
    pub fn evaluation(&self) -> Evaluation {
        let examples = self.confusion.examples() as usize;
        let values = [
            ("accuracy", self.confusion.accuracy()),
            ("macro_f1", self.confusion.macro_f1()),
            ("weighted_f1", self.confusion.weighted_f1()),
            ("calibration_error", self.calibration.error()),
        ];
        Evaluation::new(examples, self.loss / examples.max(1) as f64, values)
    }
}

/// The results of a classifier that gives each text any number of labels: those whose logit is
/// above 0, a probability of ½.
#[derive(Clone, Debug, Default)]
pub struct MultiLabel {
    counts: Vec<Counts>,
    loss: f64,
    exact: u64,
    examples: usize,
}

/// How often a label was given, rightly or wrongly.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    right: u64,
    predicted: u64,
    support: u64,
}

impl Counts {
    fn scores(self) -> ClassScores {
        ClassScores::of(self.right, self.predicted, self.support)
    }
}

impl MultiLabel {
    /// Counts a text with these logits and these true labels. Returns the predicted labels.
    pub fn add(&mut self, logits: &[f32], truth: &[u32]) -> Vec<u32> {
        self.counts.resize(self.counts.len().max(logits.len()), Counts::default());
        let (mut predicted, mut loss) = (Vec::new(), 0.0);
        for (label, (&logit, counts)) in logits.iter().zip(&mut self.counts).enumerate() {
            let (has, gets) = (truth.contains(&(label as u32)), logit > 0.0);
            counts.right += u64::from(has && gets);
            counts.predicted += u64::from(gets);
            counts.support += u64::from(has);
            if gets {
                predicted.push(label as u32);
            }
            // ln(1 + e^−z) where the label is there, ln(1 + e^z) where it is not.
            let z = if has { -f64::from(logit) } else { f64::from(logit) };
            loss += z.max(0.0) + (-z.abs()).exp().ln_1p();
        }
        self.loss += loss / logits.len().max(1) as f64;
        let mut sorted = truth.to_vec();
        sorted.sort_unstable();
        self.exact += u64::from(sorted == predicted);
        self.examples += 1;
        predicted
    }

    /// The scores of each label.
    pub fn scores(&self) -> Vec<ClassScores> {
        self.counts.iter().map(|counts| counts.scores()).collect()
    }

    /// `micro_f1`, `macro_f1`, `weighted_f1` as scikit-learn counts them with `zero_division=0`, and
    /// `accuracy`, the share of texts whose labels are all right. The loss is the mean binary
    /// cross-entropy of texts and labels.
    pub fn evaluation(&self) -> Evaluation {
        let scores = self.scores();
        let sum = |of: fn(&Counts) -> u64| self.counts.iter().map(of).sum::<u64>();
        let micro = ClassScores::of(sum(|c| c.right), sum(|c| c.predicted), sum(|c| c.support));
        let macro_f1 = scores.iter().map(|s| s.f1).sum::<f64>() / scores.len().max(1) as f64;
        let examples = self.examples.max(1) as f64;
        let values = [
            ("micro_f1", micro.f1),
            ("macro_f1", macro_f1),
            ("weighted_f1", ClassScores::weighted_f1(&scores)),
            ("accuracy", self.exact as f64 / examples),
        ];
        Evaluation::new(self.examples, self.loss / examples, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-7, "{a:?} and {b}");
    }

    #[test]
    fn one_label() {
        let mut tally = SingleLabel::default();
        let (label, probability) = tally.add(&[0.0, 3f32.ln(), 0.0], 1);
        assert_eq!(label, 1);
        close(Some(probability), 3.0 / 5.0);
        // Of equal logits the first counts.
        assert_eq!(tally.add(&[2.0, 2.0, -1e4], 1).0, 0);
        let result = tally.evaluation();
        close(result.get("accuracy"), 0.5);
        close(Some(result.loss), ((5f64 / 3.0).ln() + 2f64.ln()) / 2.0);
        close(result.get("calibration_error"), (0.4 + 0.5) / 2.0);
    }

    /// The values are scikit-learn's.
    #[test]
    fn several_labels() {
        let mut tally = MultiLabel::default();
        let (yes, no) = (1.0, -1.0);
        tally.add(&[yes, no, no], &[2, 0]);
        tally.add(&[no, yes, no], &[1]);
        assert_eq!(tally.add(&[yes, yes, yes], &[1, 0]), [0, 1, 2]);
        tally.add(&[no, yes, no], &[]);
        tally.add(&[no, no, no], &[0]);
        let result = tally.evaluation();
        close(result.get("micro_f1"), 2.0 / 3.0);
        close(result.get("macro_f1"), 1.6 / 3.0);
        close(result.get("weighted_f1"), 2.0 / 3.0);
        close(result.get("accuracy"), 0.2);
        let scores = tally.scores();
        assert_eq!((scores[0].precision, scores[1].recall, scores[2].f1), (1.0, 1.0, 0.0));
        // 11 of 15 decisions are right: their loss is ln(1 + 1/e), that of the others ln(1 + e).
        let (right, wrong) = ((-1f64).exp().ln_1p(), 1f64.exp().ln_1p());
        close(Some(result.loss), (11.0 * right + 4.0 * wrong) / 15.0);
    }
}
