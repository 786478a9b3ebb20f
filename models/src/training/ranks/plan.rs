//! Who computes which micro-batches, and who adds which gradients.

use std::ops::Range;

/// A part of the numbers of one item: a gradient, or the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::training) struct Slice {
    pub item: usize,
    pub range: Range<usize>,
}

/// Slices that travel in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::training) struct Bucket {
    /// The rank that adds them.
    pub owner: usize,
    pub slices: Vec<Slice>,
}

impl Bucket {
    /// The numbers of each slice.
    pub fn numels(&self) -> Vec<usize> {
        self.slices.iter().map(|slice| slice.range.len()).collect()
    }

    fn numel(&self) -> usize {
        self.slices.iter().map(|slice| slice.range.len()).sum()
    }
}

/// The micro-batches of a rank, of a step that has `all`.
pub(super) fn own(all: usize, rank: usize, ranks: usize) -> Range<usize> {
    rank * all / ranks..(rank + 1) * all / ranks
}

/// Puts the items into buckets of at most `limit` numbers, the last item first, because backward
/// ends with the first parameters. An item that is larger is cut, unless it must stay `whole`: then
/// it is a bucket alone. Each bucket goes to the rank that has the fewest numbers so far.
pub(super) fn buckets(items: &[usize], limit: usize, whole: bool, ranks: usize) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut open = Bucket { owner: 0, slices: Vec::new() };
    for (item, &numel) in items.iter().enumerate().rev() {
        let step = if whole { numel.max(1) } else { limit };
        for start in (0..numel).step_by(step) {
            let range = start..numel.min(start + step);
            if !open.slices.is_empty() && open.numel() + range.len() > limit {
                let full = Bucket { owner: 0, slices: std::mem::take(&mut open.slices) };
                buckets.push(full);
            }
            open.slices.push(Slice { item, range });
        }
    }
    buckets.extend((!open.slices.is_empty()).then_some(open));
    let mut load = vec![0; ranks];
    for bucket in &mut buckets {
        let least = (0..ranks).min_by_key(|rank| load[*rank]).unwrap_or(0);
        bucket.owner = least;
        load[least] += bucket.numel();
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket's owner, and its slices: items with the ranges of their elements.
    type Shown = (usize, Vec<(usize, Range<usize>)>);

    fn shown(buckets: &[Bucket]) -> Vec<Shown> {
        let slices = |bucket: &Bucket| {
            bucket.slices.iter().map(|slice| (slice.item, slice.range.clone())).collect()
        };
        buckets.iter().map(|bucket| (bucket.owner, slices(bucket))).collect()
    }

    #[test]
    fn buckets_hold_every_number_once_and_their_owners_share_the_work() {
        let cut = buckets(&[5, 2, 3, 1], 4, false, 2);
        assert_eq!(
            shown(&cut),
            [
                (0, vec![(3, 0..1), (2, 0..3)]),
                (1, vec![(1, 0..2)]),
                (1, vec![(0, 0..4)]),
                (0, vec![(0, 4..5)])
            ]
        );
        let whole = buckets(&[5, 2, 3, 1], 4, true, 2);
        assert_eq!(
            shown(&whole),
            [(0, vec![(3, 0..1), (2, 0..3)]), (1, vec![(1, 0..2)]), (1, vec![(0, 0..5)])]
        );
    }

    #[test]
    fn every_micro_batch_has_one_rank() {
        for (all, ranks) in [(4, 2), (5, 3), (2, 4)] {
            let of = (0..ranks).flat_map(|rank| own(all, rank, ranks));
            assert_eq!(of.collect::<Vec<_>>(), (0..all).collect::<Vec<_>>());
        }
    }
}
