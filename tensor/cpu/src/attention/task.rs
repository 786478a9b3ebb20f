//! What a task of attention computes: one head of one sequence, by blocks of query rows.

use std::ops::Range;

use gradus_base::op::attention::{Attention, Sight};
use gradus_base::{Result, sizes};

use crate::dropout::{RowDropout, RowWords};
use crate::mat::Mat;
use crate::math::Float;
use crate::parallel::{self, SharedMut};
use crate::simd::{self, LANES};
use crate::storage::Output;
use crate::view::View;

/// Query rows handled at once: bounds the scores kept to `BLOCK × length`, which for 128 tokens fit
/// the first cache. A multiple of the rows of a tile.
pub(super) const BLOCK: usize = 48;

/// The elements of a padded row: whole vectors.
pub(super) fn pad(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// A matrix whose columns lie next to each other: its elements, and the distance of its rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) data: &'a [T],
    pub(super) stride: usize,
}

impl<'a, T: Float> Rows<'a, T> {
    /// The view must have unit stride along its last dimension (see [`View::unit_columns`]).
    pub(super) fn new(x: View<'a>) -> Self {
        let Mat { data, row, .. } = x.mat();
        Rows { data, stride: row }
    }

    #[inline(always)]
    pub(super) fn mat(self) -> Mat<'a, T> {
        Mat { data: self.data, row: self.stride, col: 1 }
    }

    /// Copies `n` rows of `d` elements to rows of `pad(d)`.
    #[inline(always)]
    pub(super) fn pack(self, n: usize, d: usize, out: &mut [T]) {
        let width = pad(d);
        for i in 0..n {
            let row = &mut out[i * width..(i + 1) * width];
            row[..d].copy_from_slice(&self.data[i * self.stride..][..d]);
            row[d..].fill(T::ZERO);
        }
    }

    /// The transpose of what [`pack`](Self::pack) copies: `[d, pad(n)]`.
    #[inline(always)]
    pub(super) fn transpose(self, n: usize, d: usize, out: &mut [T]) {
        let (data, stride, tall) = (self.data, self.stride, pad(n));
        let (done_n, done_d) = super::product::transpose_blocks((data, stride), n, d, out, tall);
        for j in 0..d {
            let row = &mut out[j * tall..(j + 1) * tall];
            for i in if j < done_d { done_n } else { 0 }..n {
                row[i] = data[i * stride + j];
            }
            row[n..].fill(T::ZERO);
        }
    }
}

/// What a call asks for: which sequences, how many heads, and the factors.
pub(super) struct Call<'a> {
    /// Where each sequence begins, and the last one ends.
    pub(super) bounds: &'a [usize],
    pub(super) tokens: usize,
    pub(super) hidden: usize,
    /// Elements of a head.
    pub(super) d: usize,
    pub(super) options: &'a Attention,
}

/// One head of one sequence: what one task computes.
pub(super) struct Head<T> {
    /// The number of the sequence.
    pub(super) sequence: usize,
    /// The sequence's first token, and how many it has: at least one.
    pub(super) start: usize,
    pub(super) n: usize,
    /// The number of the head, and its first column.
    pub(super) number: usize,
    pub(super) column: usize,
    pub(super) scale: T,
    pub(super) dropout: Option<RowDropout<T>>,
    sight: Sight,
}

/// A query's row of scores: the query, and the key of the first column, both in the sequence.
#[derive(Clone, Copy)]
pub(super) struct ScoreRow {
    pub(super) query: usize,
    pub(super) key: usize,
}

impl<T> Head<T> {
    /// The head's columns of an operand, from row `first` of the sequence on.
    #[inline(always)]
    pub(super) fn part<'a>(&self, Rows { data, stride }: Rows<'a, T>, first: usize) -> Rows<'a, T> {
        Rows { data: &data[(self.start + first) * stride + self.column..], stride }
    }

    /// The first row and the number of rows of each block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<T> {
        let n = self.n;
        (0..n).step_by(BLOCK).map(move |first| (first, BLOCK.min(n - first)))
    }

    /// The keys that the `m` queries from `first` on see, all in the sequence.
    #[inline(always)]
    pub(super) fn keys(&self, first: usize, m: usize) -> Range<usize> {
        self.sight.range(first, first + m, self.n)
    }

    /// The columns of a row whose keys the query sees.
    #[inline(always)]
    pub(super) fn seen(&self, row: ScoreRow) -> Range<usize> {
        let keys = self.keys(row.query, 1);
        keys.start - row.key..keys.end - row.key
    }

    /// The random words of a row.
    pub(super) fn words(&self, row: ScoreRow) -> RowWords {
        RowWords::of_probabilities(self.start + row.query, self.number, row.key)
    }
}

impl<'a> Call<'a> {
    /// `q` is `[tokens, hidden]`.
    ///
    /// # Panics
    /// If the bounds do not ascend within the tokens: two tasks would then write one row.
    pub(super) fn new(q: View, bounds: &'a [usize], options: &'a Attention) -> Result<Self> {
        let (tokens, hidden) = (q.shape()[0], q.shape()[1]);
        let within = bounds.is_sorted() && bounds.last().is_none_or(|&end| end <= tokens);
        assert!(within, "the bounds {bounds:?} of the sequences do not ascend up to {tokens}");
        let call = Call { bounds, tokens, hidden, d: hidden / options.heads, options };
        sizes::numel("attention", &[pad(call.longest()) + BLOCK, pad(call.d)])?;
        Ok(call)
    }

    /// The most keys that a block of queries sees.
    pub(super) fn widest(&self) -> usize {
        let Sight { before, after } = self.options.sight();
        self.longest().min(BLOCK.saturating_add(before).saturating_add(after))
    }

    /// Tokens of the longest sequence.
    pub(super) fn longest(&self) -> usize {
        self.bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
    }

    /// What `task` computes; `None` if its sequence has no tokens.
    pub(super) fn head<T: Float>(&self, task: usize) -> Option<Head<T>> {
        let (sequence, number) = (task / self.options.heads, task % self.options.heads);
        let (start, end) = (self.bounds[sequence], self.bounds[sequence + 1]);
        (start < end).then(|| Head {
            sequence,
            start,
            n: end - start,
            number,
            column: number * self.d,
            scale: T::c(self.options.scale),
            dropout: self.options.dropout.map(RowDropout::new),
            sight: self.options.sight(),
        })
    }

    /// Time of one task of average length with so many products, in nanoseconds.
    pub(super) fn task_ns(&self, products: usize) -> usize {
        let sequences = self.bounds.len().saturating_sub(1).max(1);
        let sight = self.options.sight();
        let pairs = |w: &[usize]| sight.pairs(w[1] - w[0]).try_into().unwrap_or(usize::MAX);
        let pairs = self.bounds.windows(2).map(pairs).fold(0, usize::saturating_add);
        sizes::work(&[pairs, self.d, products]) / 20 / sequences + 200
    }

    /// Calls `body(head, memory)` for every head of every sequence, in parallel if worth it; each
    /// task has pieces of memory of `sizes` elements. Mark `body` `#[inline(always)]`.
    #[inline(always)]
    pub(super) fn run<T: Float, const N: usize>(
        &self,
        products: usize,
        sizes: [usize; N],
        body: impl Fn(Head<T>, [&mut [T]; N]) + Sync,
    ) -> Result<()> {
        let len: usize = sizes.iter().sum();
        // A task cannot return an error, so check here that there is memory for one.
        drop(Output::<T>::new("attention", &[len])?);
        let tasks = (self.bounds.len() - 1) * self.options.heads;
        parallel::run(tasks, self.task_ns(products), &|task| {
            let Some(head) = self.head(task) else { return };
            let mut memory =
                Output::<T>::new("attention", &[len]).expect("as much was available a moment ago");
            let mut rest = memory.slice_mut();
            let pieces =
                sizes.map(|size| rest.split_off_mut(..size).expect("the memory has all sizes"));
            simd::dispatch::<true, T, _>(
                #[inline(always)]
                || body(head, pieces),
            );
        });
        Ok(())
    }
}

/// `x = e^(x·scale − shift)` for each x of a row, as a power of 2.
#[inline(always)]
pub(super) fn powers<T: Float>(row: &mut [T], scale: T, shift: T) {
    let log2_e = T::c(std::f64::consts::LOG2_E);
    for x in row.iter_mut() {
        // Rounded before the difference, as the shift was: the largest score leaves exactly 0, however
        // large it is. Neither a fused multiply-add nor log₂e in the scale would do that.
        *x = ((*x * scale - shift) * log2_e).exp2();
    }
}

/// Row `i` of a matrix with rows of `width` elements.
#[inline(always)]
pub(super) fn row<T>(matrix: &mut [T], i: usize, width: usize) -> &mut [T] {
    &mut matrix[i * width..(i + 1) * width]
}

/// Rows of a packed matrix that are written to rows of an output.
pub(super) struct Target<'a, 'b, T> {
    pub(super) out: &'b SharedMut<'a, T>,
    /// Where the first row begins, and the distance of the rows.
    pub(super) first: usize,
    pub(super) stride: usize,
}

impl<T: Float> Target<'_, '_, T> {
    /// Writes `d` elements of each of the `n` rows of `matrix`, which are `width` apart.
    ///
    /// # Safety
    /// No other task may write these elements.
    #[inline(always)]
    pub(super) unsafe fn write(&self, (matrix, width): (&[T], usize), n: usize, d: usize) {
        for i in 0..n {
            let at = self.first + i * self.stride;
            // SAFETY: the caller's promise.
            unsafe { self.out.slice(at..at + d) }.copy_from_slice(&matrix[i * width..][..d]);
        }
    }
}
