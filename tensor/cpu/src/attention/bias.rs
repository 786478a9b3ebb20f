//! What is added to the scores by the distance of query and key, and its gradient.

use gradus_base::Result;

use super::task::{Call, Head, ScoreRow};
use crate::math::Float;
use crate::parallel::SharedMut;
use crate::reduce;
use crate::simd::LANES;
use crate::storage::Output;
use crate::view::{Array, View};

/// Elements of the memory in which a task of `n` tokens has a number for each distance: of every
/// pair of its tokens, and of the columns after the last token in padded rows.
pub(super) fn distances(n: usize) -> usize {
    2 * n + LANES
}

/// The place of a row's first distance in such memory: distance r = key − query lies at n − 1 + r.
#[inline(always)]
fn first<T>(head: &Head<T>, row: ScoreRow) -> usize {
    head.n - 1 + row.key - row.query
}

/// The numbers of all heads, `[heads, 2·m + 1]`.
#[derive(Clone, Copy)]
pub(super) struct Bias<'a, T> {
    table: &'a [T],
    width: usize,
}

impl<'a, T: Float> Bias<'a, T> {
    /// The view must be contiguous.
    pub(super) fn new(bias: View<'a>) -> Self {
        Bias { table: bias.slice(), width: bias.shape()[1] }
    }

    /// Writes the number of each distance: one row of the table, its ends repeated.
    #[inline(always)]
    pub(super) fn spread(self, head: &Head<T>, out: &mut [T]) {
        let row = &self.table[head.number * self.width..][..self.width];
        for (at, out) in out[..distances(head.n)].iter_mut().enumerate() {
            *out = row[slot(at, head.n, self.width)];
        }
    }
}

/// The element of a row of `width` that belongs to the place of a distance.
#[inline(always)]
fn slot(at: usize, n: usize, width: usize) -> usize {
    (at + width / 2 + 1).saturating_sub(n).min(width - 1)
}

/// Turns a row of raw scores into scaled ones with the bias, `scores·scale + bias`.
#[inline(always)]
pub(super) fn add<T: Float>(head: &Head<T>, row: ScoreRow, spread: &[T], scores: &mut [T]) {
    let bias = &spread[first(head, row)..][..scores.len()];
    for (score, &bias) in scores.iter_mut().zip(bias) {
        *score = *score * head.scale + bias;
    }
}

/// The gradients of the table, one for each sequence; [`total`](Gradients::total) adds them.
pub(super) struct Gradients<T> {
    parts: Output<T>,
    shape: [usize; 3],
}

/// Where the tasks write them.
pub(super) struct Parts<'a, T> {
    parts: SharedMut<'a, T>,
    heads: usize,
    width: usize,
}

impl<T: Float> Gradients<T> {
    pub(super) fn new(call: &Call, bias: View) -> Result<Self> {
        let (heads, width) = (bias.shape()[0], bias.shape()[1]);
        let shape = [call.bounds.len() - 1, heads, width];
        Ok(Gradients { parts: Output::filled("attention", &shape, T::ZERO)?, shape })
    }

    pub(super) fn parts(&mut self) -> Parts<'_, T> {
        let [_, heads, width] = self.shape;
        Parts { parts: SharedMut::new(self.parts.slice_mut()), heads, width }
    }

    /// Their sum, `[heads, 2·m + 1]`.
    pub(super) fn total(self) -> Result<Array> {
        let [sequences, heads, width] = self.shape;
        let parts = self.parts.into_array(&[sequences, heads * width]);
        Ok(reduce::sum(parts.view(), &[0])?.reshape(&[heads, width]))
    }
}

impl<T: Float> Parts<'_, T> {
    /// Writes the gradient of a head's row of the table, from the `sums` over all pairs of tokens
    /// of each distance.
    #[inline(always)]
    pub(super) fn write(&self, head: &Head<T>, sums: &[T]) {
        let at = (head.sequence * self.heads + head.number) * self.width;
        // SAFETY: this task alone writes this head of this sequence.
        let part = unsafe { self.parts.slice(at..at + self.width) };
        for (at, &sum) in sums[..2 * head.n - 1].iter().enumerate() {
            part[slot(at, head.n, self.width)] += sum;
        }
    }
}

/// Adds a row of dS, not yet scaled, to the sums of its distances.
#[inline(always)]
pub(super) fn collect<T: Float>(head: &Head<T>, row: ScoreRow, ds: &[T], sums: &mut [T]) {
    for (sum, &ds) in sums[first(head, row)..][..ds.len()].iter_mut().zip(ds) {
        *sum += ds;
    }
}
