//! A dev set drawn from the training set.

use std::collections::BTreeMap;

use super::{Row, Split};
use crate::batch::shuffle;

/// The streams of the epochs count from 0, and never come this far.
const STREAM: u64 = 1 << 40;

/// Divides a split in two: the second part has about the share `fraction` of every kind of
/// examples, but never all of them. Fractions of an example go to the kinds with the largest
/// remainders, so that the total is right. Both parts keep the order of the file.
pub(super) fn by_kind<E: Row>(split: &Split<E>, fraction: f64, seed: u64) -> (Split<E>, Split<E>) {
    let mut by_kind: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for (i, example) in split.examples.iter().enumerate() {
        by_kind.entry(example.kind()).or_default().push(i);
    }
    divide(split, by_kind.into_values().collect(), fraction, seed)
}

/// Divides a split in two without regard to the kinds.
pub(super) fn any<E: Row>(split: &Split<E>, fraction: f64, seed: u64) -> (Split<E>, Split<E>) {
    divide(split, vec![(0..split.examples.len()).collect()], fraction, seed)
}

fn divide<E: Row>(
    split: &Split<E>,
    mut groups: Vec<Vec<usize>>,
    fraction: f64,
    seed: u64,
) -> (Split<E>, Split<E>) {
    for (stream, group) in (STREAM + 1..).zip(&mut groups) {
        shuffle(group, seed, stream);
    }
    let mut held = vec![false; split.examples.len()];
    for (group, count) in groups.iter().zip(shares(&groups, fraction, seed)) {
        group.iter().take(count).for_each(|&i| held[i] = true);
    }
    let part = |of: bool| Split {
        path: split.path.clone(),
        examples: (split.examples.iter().zip(&held))
            .filter(|(_, held)| **held == of)
            .map(|(example, _)| example.clone())
            .collect(),
    };
    (part(false), part(true))
}

/// How many examples of each group are set aside.
fn shares(groups: &[Vec<usize>], fraction: f64, seed: u64) -> Vec<usize> {
    let exact: Vec<f64> = groups.iter().map(|group| fraction * group.len() as f64).collect();
    let most = |i: usize| groups[i].len() - 1;
    let mut shares: Vec<usize> =
        (0..groups.len()).map(|i| (exact[i] as usize).min(most(i))).collect();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    shuffle(&mut order, seed, STREAM);
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let wanted = exact.iter().sum::<f64>().round() as usize;
    let missing = wanted.saturating_sub(shares.iter().sum());
    for i in order.into_iter().filter(|&i| exact[i].fract() > 0.0).take(missing) {
        shares[i] = (shares[i] + 1).min(most(i));
    }
    shares
}
