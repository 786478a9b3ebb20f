//! How fast the model computes, from its last batches.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are remembered.
const KEPT: usize = 9;
/// Least samples of a size for a prediction.
const FEWEST: usize = 3;
/// Least seconds of computing in a sample. Shorter batches are taken together, for one of them says
/// little.
const SAMPLE: f64 = 0.1;

/// Batches one after the other.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    batches: usize,
    tokens: usize,
    seconds: f64,
}

/// The last batches of a model.
#[derive(Debug, Default)]
pub struct Pace {
    last: VecDeque<Sample>,
    /// The batches that become the next sample.
    next: Sample,
}

impl Pace {
    /// Remembers a batch.
    pub fn note(&mut self, tokens: usize, duration: Duration) {
        // Batches of other sizes begin another sample.
        let like = |mean: usize| tokens <= 2 * mean && mean <= 2 * tokens;
        if self.next.batches > 0 && !like(self.next.tokens / self.next.batches) {
            self.next = Sample::default();
        }
        self.next.batches += 1;
        self.next.tokens += tokens;
        self.next.seconds += duration.as_secs_f64();
        if self.next.seconds >= SAMPLE && self.next.tokens > 0 {
            self.last.push_back(std::mem::take(&mut self.next));
        }
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    /// Seconds that `tokens` take in batches of `batch` tokens, one after the other. `None` while
    /// there are few samples of batches with at least half this size: smaller batches take longer
    /// per token.
    ///
    /// It takes the median, so a batch that was held up (by the disk, say) does not count.
    pub fn seconds(&self, tokens: u64, batch: usize) -> Option<f64> {
        let size = usize::try_from(tokens).unwrap_or(usize::MAX).min(batch);
        let like = self
            .last
            .iter()
            .filter(|s| s.tokens.saturating_mul(2) >= size.saturating_mul(s.batches));
        let mut rates: Vec<f64> = like.map(|s| s.seconds / s.tokens as f64).collect();
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).filter(|_| rates.len() >= FEWEST)?;
        Some(median * tokens as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_batches_say_nothing_of_large_ones() {
        let mut pace = Pace::default();
        (0..5).for_each(|_| pace.note(10, Duration::from_secs(1)));
        assert_eq!(pace.seconds(20, 100), Some(2.0));
        assert_eq!(pace.seconds(21, 100), None);
        assert_eq!(pace.seconds(1000, 20), Some(100.0));
    }

    #[test]
    fn three_batches_are_asked_for_and_one_that_was_held_up_does_not_count() {
        let mut pace = Pace::default();
        pace.note(100, Duration::from_secs(60));
        pace.note(100, Duration::from_secs(1));
        assert_eq!(pace.seconds(100, 100), None);
        pace.note(80, Duration::from_millis(800));
        assert_eq!(pace.seconds(100, 100), Some(1.0));
        assert_eq!(pace.seconds(5000, 100), Some(50.0));
    }

    #[test]
    fn short_batches_are_taken_together() {
        let mut pace = Pace::default();
        // Ten batches of a hundredth of a second are a sample. Batches of another size begin a new
        // sample.
        let quick = Duration::from_nanos(10_000_001);
        (0..29).for_each(|_| pace.note(10, quick));
        assert_eq!(pace.seconds(10, 10), None);
        pace.note(10, quick);
        assert!((pace.seconds(1000, 10).unwrap() - 1.0).abs() < 1e-6);
        (0..9).for_each(|_| pace.note(100, quick));
        (0..9).for_each(|_| pace.note(10, quick));
        assert_eq!(pace.seconds(100, 100), None);
        assert_eq!(pace.last.len(), 3);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut pace = Pace::default();
        (0..KEPT).for_each(|_| pace.note(100, Duration::from_secs(1)));
        (0..KEPT).for_each(|_| pace.note(100, Duration::from_secs(4)));
        assert_eq!(pace.seconds(100, 100), Some(4.0));
        (0..KEPT).for_each(|_| pace.note(1, Duration::from_secs(4)));
        assert_eq!(pace.seconds(100, 100), None);
    }
}
