//! How well the right answer is found among many.

/// Where the first right answer of a query stands among all answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Wrong answers that are more similar to the query than every right one.
    pub above: usize,
    /// Wrong answers that are as similar as the most similar right one.
    pub equal: usize,
    /// Right answers that are as similar as that: it and its equals, so at least 1.
    pub right: usize,
}

impl Rank {
    /// The chance that a right answer is among the first `k`, where equal ones are in random order:
    /// 0 or 1 without ties.
    pub fn within(self, k: usize) -> f64 {
        self.chances().take(k.saturating_sub(self.above)).sum()
    }

    /// The mean of 1/place over the places that the first right answer may have among equal ones.
    pub fn reciprocal(self) -> f64 {
        let places = self.chances().zip(self.above + 1..);
        places.map(|(chance, place)| chance / place as f64).sum()
    }

    /// The chances that none, one, two … of the equal wrong answers come before a right one.
    fn chances(self) -> impl Iterator<Item = f64> {
        let Rank { equal, right, .. } = self;
        let mut before = 1.0; // the chance that the first ones are all wrong
        (0..=equal).map(move |wrong| {
            let left = (equal + right - wrong) as f64;
            let chance = before * right as f64 / left;
            before *= (equal - wrong) as f64 / left;
            chance
        })
    }
}

/// The ranks of some queries.
///
/// ```
/// use gradus_models::evaluation::{Rank, Retrieval};
///
/// let mut found = Retrieval::default();
/// found.add(Rank { above: 0, equal: 0, right: 1 });
/// found.add(Rank { above: 3, equal: 0, right: 1 }); // the right answer comes fourth
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

    /// The share of queries with a right answer among the first `k`; NaN without queries.
    pub fn recall_at(&self, k: usize) -> f64 {
        self.mean(|rank| rank.within(k))
    }

    /// The mean reciprocal rank of the first right answer, over the whole ranking; NaN without
    /// queries.
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

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
    }

    #[test]
    fn ties_count_as_random_order() {
        // Second to fourth place.
        let rank = Rank { above: 1, equal: 2, right: 1 };
        for (k, wanted) in [0.0, 0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0].into_iter().enumerate() {
            close(rank.within(k), wanted);
        }
        close(rank.reciprocal(), (1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0) / 3.0);
        // Of two right ones and two wrong ones the first right one comes first in 3 of 6 orders,
        // second in 2, third in 1.
        let rank = Rank { above: 0, equal: 2, right: 2 };
        close(rank.within(1), 0.5);
        close(rank.within(2), 5.0 / 6.0);
        close(rank.reciprocal(), (3.0 + 2.0 / 2.0 + 1.0 / 3.0) / 6.0);
    }

    #[test]
    fn a_model_that_knows_nothing_finds_nothing() {
        let mut found = Retrieval::default();
        (0..10).for_each(|_| found.add(Rank { above: 0, equal: 9, right: 1 }));
        close(found.recall_at(1), 0.1);
        close(found.recall_at(10), 1.0);
        assert!(Retrieval::default().mrr().is_nan());
    }
}
