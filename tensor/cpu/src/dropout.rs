//! Dropout: `y[i] = x[i] · 1/(1−p)` where `word(i) ≥ p·2³²`, else 0.
//!
//! One pass: a block of 1,024 words is made in the first-level cache ([`map_words`]) and
//! consumed at once, so no mask is ever written to memory. Elements count in row-major order; the
//! word of an element depends on the key and its index alone, so neither threads nor the split
//! matter. A dropped element is 0 even where x is infinite or NaN.
//!
//! [`RowDropout`] is the same inside other kernels: layer norm's residual and attention's
//! probabilities.

use std::ops::Range;

use gradus_base::random::{self, RngKey, least_kept};
use gradus_base::{DType, Result, dispatch_float};

use super::create;
use super::math::Float;
use super::random::{fill_words, map_words};
use super::storage::Output;
use super::view::{Array, View};

/// What a kept element is multiplied by, and which words keep one.
#[derive(Clone, Copy)]
struct Kept<T> {
    least: u32,
    scale: T,
}

impl<T: Float> Kept<T> {
    /// `None` where every element is dropped.
    fn new(p: f64) -> Option<Self> {
        least_kept(p).map(|least| Kept { least, scale: T::c(1.0 / (1.0 - p)) })
    }

    /// x after dropout.
    #[inline(always)]
    fn apply(self, x: T, word: u32) -> T {
        let scaled = x * self.scale; // outside the branch, so that the loop vectorises
        if word >= self.least { scaled } else { T::ZERO }
    }
}

/// Each element 0 with probability `p`, else divided by 1 − p.
pub fn dropout(x: View, p: f64, key: RngKey) -> Result<Array> {
    dispatch_float!("dropout", x.dtype(), dropout_of::<T>(x, p, key))
}

fn dropout_of<T: Float>(x: View, p: f64, key: RngKey) -> Result<Array> {
    let Some(kept) = Kept::<T>::new(p) else { return create::full(x.shape(), 0.0, x.dtype()) };
    let dense = x.contiguous()?;
    let xs = dense.view().slice::<T>();
    let mut out = Output::<T>::new("dropout", x.shape())?;
    map_words(
        out.slice_mut(),
        key,
        #[inline(always)]
        |first, words, out| {
            let n = out.len();
            let (xs, words) = (&xs[first..first + n], &words[..n]);
            for i in 0..n {
                out[i] = kept.apply(xs[i], words[i]);
            }
        },
    );
    Ok(out.into_array(x.shape()))
}

/// 1 with probability 1 − p, else 0 (u8).
pub fn mask(shape: &[usize], p: f64, key: RngKey) -> Result<Array> {
    let Some(least) = least_kept(p) else { return create::full(shape, 0.0, DType::U8) };
    let mut out = Output::<u8>::new("bernoulli_mask", shape)?;
    fill_words(out.slice_mut(), key, |words, out| {
        for (m, &w) in out.iter_mut().zip(words) {
            *m = (w >= least) as u8;
        }
    });
    Ok(out.into_array(shape))
}

/// Elements of a row whose random words are made at a time.
const PIECE: usize = 256;

/// The random words of a row: the counter of the first one, its place among the counter's four, and
/// the counter's upper half.
#[derive(Clone, Copy)]
pub(crate) struct RowWords {
    counter: u64,
    skip: usize,
    upper: [u32; 2],
}

impl RowWords {
    /// The words of the elements from index `first` on, as [`RngKey::word`] gives them.
    #[inline(always)]
    pub(crate) fn from_element(first: usize) -> Self {
        RowWords { counter: (first / 4) as u64, skip: first % 4, upper: [0; 2] }
    }

    /// The words of attention's probabilities from key token `key` (in the sequence) on: query
    /// token (in the batch) and head. The word of key token k is word k.
    #[inline(always)]
    pub(crate) fn of_probabilities(query: usize, head: usize, key: usize) -> Self {
        let counter = ((query as u64) << 32) + (key / 4) as u64;
        RowWords { counter, skip: key % 4, upper: [head as u32, 1] }
    }

    /// Calls `body(range, words)` for pieces of the words of a row of `len` elements.
    #[inline(always)]
    fn pieces(self, key: RngKey, len: usize, mut body: impl FnMut(Range<usize>, &[u32])) {
        let mut buffer = [0u32; PIECE + 4];
        for from in (0..len).step_by(PIECE) {
            let to = len.min(from + PIECE);
            let words = &mut buffer[..self.skip + to - from];
            random::words(key, self.counter + (from / 4) as u64, self.upper, words);
            body(from..to, &words[self.skip..]);
        }
    }
}

/// Dropout of rows inside another kernel. Inline into [`simd::dispatch`](super::simd::dispatch).
#[derive(Clone, Copy)]
pub(crate) struct RowDropout<T> {
    /// `None` where every element is dropped.
    kept: Option<Kept<T>>,
    key: RngKey,
}

impl<T: Float> RowDropout<T> {
    pub(crate) fn new((p, key): (f64, RngKey)) -> Self {
        RowDropout { kept: Kept::new(p), key }
    }

    /// `out[j] = join(dropout(x)[j], j)`.
    #[inline(always)]
    pub(crate) fn map(
        &self,
        words: RowWords,
        x: &[T],
        out: &mut [T],
        join: impl Fn(T, usize) -> T,
    ) {
        let n = out.len();
        let Some(kept) = self.kept else {
            return (0..n).for_each(|j| out[j] = join(T::ZERO, j));
        };
        words.pieces(
            self.key,
            n,
            #[inline(always)]
            |range, words| {
                let (from, len) = (range.start, words.len());
                // Slices of one length, so that the loop vectorises.
                let (x, out) = (&x[range.clone()][..len], &mut out[range][..len]);
                for j in 0..len {
                    out[j] = join(kept.apply(x[j], words[j]), from + j);
                }
            },
        );
    }

    /// Drops elements of `row` in place.
    #[inline(always)]
    pub(crate) fn apply(&self, words: RowWords, row: &mut [T]) {
        let Some(kept) = self.kept else { return row.fill(T::ZERO) };
        words.pieces(
            self.key,
            row.len(),
            #[inline(always)]
            |range, words| {
                for (x, &word) in row[range].iter_mut().zip(words) {
                    *x = kept.apply(*x, word);
                }
            },
        );
    }

    /// [`apply`](Self::apply) to a row of gradients; also gives the dropped elements of `p` a
    /// minus. Probabilities have none, so the minus is the mask for
    /// [`apply_marked`](Self::apply_marked): the words are made once for both rows.
    #[inline(always)]
    pub(crate) fn apply_and_mark(&self, words: RowWords, gradients: &mut [T], p: &mut [T]) {
        let Some(kept) = self.kept else {
            gradients.fill(T::ZERO);
            return p.iter_mut().for_each(|p| *p = -*p);
        };
        words.pieces(
            self.key,
            p.len(),
            #[inline(always)]
            |range, words| {
                let len = words.len();
                let gradients = &mut gradients[range.clone()][..len];
                let p = &mut p[range][..len];
                for j in 0..len {
                    let minus = -p[j];
                    gradients[j] = kept.apply(gradients[j], words[j]);
                    p[j] = if words[j] >= kept.least { p[j] } else { minus };
                }
            },
        );
    }

    /// Drops the elements of `p` that [`apply_and_mark`](Self::apply_and_mark) marked.
    #[inline(always)]
    pub(crate) fn apply_marked(&self, p: &mut [T]) {
        let scale = self.kept.map_or(T::ZERO, |kept| kept.scale);
        for p in p {
            let scaled = *p * scale;
            *p = if *p < T::ZERO { T::ZERO } else { scaled };
        }
    }
}
