//! How well the right answer is found among many.

/// Where the right answer of a query stands among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Wrong answers that are more similar to the query.
    pub above: usize,
    /// Wrong answers that are as similar as the right one.
    pub equal: usize,
}

impl Rank {
    /// The chance that the right answer is among the first `k`, where equal ones are in random
    /// order: 0 or 1 without ties.
    pub fn within(self, k: usize) -> f64 {
        let places = k.saturating_sub(self.above).min(self.equal + 1);
        places as f64 / (self.equal + 1) as f64
    }

    /// The mean of 1/place over the places that the right answer may have among equal ones.
    pub fn reciprocal(self) -> f64 {
        let places = self.above + 1..=self.above + self.equal + 1;
        places.map(|place| 1.0 / place as f64).sum::<f64>() / (self.equal + 1) as f64
    }
}

/// The ranks of some queries.
///
/// ```
/// use gradus_models::evaluation::{Rank, Retrieval};
///
/// let mut found = Retrieval::default();
/// found.add(Rank { above: 0, equal: 0 });
/// found.add(Rank { above: 3, equal: 0 }); // the right answer comes fourth
/// assert_eq!((found.recall_at(1), found.recall_at(5), found.mrr()), (0.5, 1.0, 0.625));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Retrieval {
    ranks: Vec<Rank>,
}

impl Retrieval {
    /// Adds a query.
    pub fn add(&mut self, rank: Rank) {
        self.ranks.push(rank);
    }

    /// The ranks, in the order in which they were added.
    pub fn ranks(&self) -> &[Rank] {
        &self.ranks
    }

    /// The share of queries whose right answer is among the first `k`; NaN without queries.
    pub fn recall_at(&self, k: usize) -> f64 {
        self.mean(|rank| rank.within(k))
    }

    /// The mean reciprocal rank, over the whole ranking; NaN without queries.
    pub fn mrr(&self) -> f64 {
        self.mean(Rank::reciprocal)
    }

    fn mean(&self, of: impl Fn(Rank) -> f64) -> f64 {
        self.ranks.iter().map(|&rank| of(rank)).sum::<f64>() / self.ranks.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_as_random_order() {
        // Second to fourth place.
        let rank = Rank { above: 1, equal: 2 };
        let within: Vec<f64> = (0..6).map(|k| rank.within(k)).collect();
        assert_eq!(within, [0.0, 0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
        assert!((rank.reciprocal() - (1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_model_that_knows_nothing_finds_nothing() {
        let mut found = Retrieval::default();
        (0..10).for_each(|_| found.add(Rank { above: 0, equal: 9 }));
        assert!((found.recall_at(1) - 0.1).abs() < 1e-12);
        assert!((found.recall_at(10) - 1.0).abs() < 1e-12);
        assert!(Retrieval::default().mrr().is_nan());
    }
}
