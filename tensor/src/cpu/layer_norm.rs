//! Forward, for rows x of n elements: `μ = Σx/n`, `v = Σ(x − μ)²/n`, `ρ = 1/√(v + ε)`,
//! `y = (x − μ)·ρ·w + b`; `x [rows, n]`, `w`, `b` `[n]`, `μ`, `ρ` `[rows]`. With a residual r, x is
//! `dropout(a) + r`, made in the same pass: kept if a derivative will need it, else in y's place.
//!
//! Backward, with `x̂ = (x − μ)·ρ` and `h = g·w`: `dx = ρ·(h − Σh/n − x̂·Σ(h·x̂)/n)`,
//! `dw = Σ_rows g·x̂`, `db = Σ_rows g`, where g may be given as two that are added. With dropout also `da = dropout(dx)`; `dr = dx`.
//!
//! Split: rows; in backward blocks of [`BLOCK`] rows, each with its own partial dw and db, in the
//! first-level cache.
//! Order of reduction: along a row element i goes to lane i mod 16 and the lanes join pairwise ([`simd::reduce`]); dw
//! and db add rows one by one inside a block, then the blocks as `sum` does.
//! Numerics: the mean is taken from the first element on, so that a constant row has no variance and a row far from 0 has
//! its own; the variance in a second pass over the row, so it never cancels. Dropout takes the words of
//! `dropout`, by the element's index in row-major order.

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd;
use crate::ops::layer_norm::{LayerNormOutput, Residual};
use crate::random::{self, PIECE, RngKey, least_kept};
use crate::storage::Output;
use crate::{Result, Tensor, dispatch_float};

/// Rows of one block of the backward pass.
const BLOCK: usize = 64;
/// Nanoseconds an element, and of one more tensor read or written, and of a random word.
const FORWARD: f64 = 0.4;
const BACKWARD: f64 = 0.8;
const TENSOR: f64 = 0.2;
const WORD: f64 = 0.5;

/// Which elements are dropped.
struct Dropped<T> {
    /// The least word that is kept; `None` where every element is dropped.
    least: Option<u32>,
    scale: T,
    key: RngKey,
}

impl<T: Float> Dropped<T> {
    fn new((p, key): (f64, RngKey)) -> Self {
        Dropped { least: least_kept(p), scale: T::c(1.0 / (1.0 - p)), key }
    }

    /// `out[j] = join(dropout(x)[j], j)` for the elements from index `first` on.
    #[inline(always)]
    fn apply(&self, first: usize, x: &[T], out: &mut [T], join: impl Fn(T, usize) -> T) {
        let n = out.len();
        let Some(least) = self.least else {
            return (0..n).for_each(|j| out[j] = join(T::ZERO, j));
        };
        let mut buffer = [0u32; PIECE + 4];
        for from in (0..n).step_by(PIECE) {
            let to = n.min(from + PIECE);
            let words = random::element_words(self.key, first + from, to - from, &mut buffer);
            let (x, out) = (&x[from..to], &mut out[from..to]);
            for j in 0..to - from {
                let scaled = x[j] * self.scale; // outside the branch, so that the loop vectorises
                out[j] = join(if words[j] >= least { scaled } else { T::ZERO }, from + j);
            }
        }
    }
}

/// `s = dropout(x) + r` of the row that begins at element `at`.
#[inline(always)]
fn add_row<T: Float>(dropped: &Option<Dropped<T>>, at: usize, x: &[T], r: &[T], s: &mut [T]) {
    let n = s.len();
    let (x, r) = (&x[at..][..n], &r[at..][..n]);
    match dropped {
        Some(dropped) => dropped.apply(at, x, s, |x, j| x + r[j]),
        None => (0..n).for_each(|j| s[j] = x[j] + r[j]),
    }
}

/// Mean and biased variance of a row. The mean is the first element and the mean distance from it: exact for equal
/// elements, and far from 0 too. Squares are taken about the mean as it was rounded, and its rounding away from them.
#[inline(always)]
fn moments<T: Float>(x: &[T], count: T) -> (T, T) {
    let (first, add) = (x[0], |a: T, b: T| a + b);
    let distance = simd::reduce(x, T::ZERO, |a, x| a + (x - first), add) / count;
    let mean = first + distance;
    let left = (first - mean) + distance;
    let square = |a: T, x: T| a + (x - mean) * (x - mean);
    let spread = simd::reduce(x, T::ZERO, square, add) / count;
    (mean, simd::without(spread, left * left))
}

/// All inputs contiguous and of fitting shapes; `lead` is x's shape without the last dimension.
pub(crate) fn forward(
    x: &Tensor,
    residual: Option<&Residual>,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    lead: &[usize],
) -> Result<LayerNormOutput> {
    let op = "layer_norm";
    dispatch_float!(op, x.dtype(), T => {
        let n = weight.numel();
        let (xs, w, b) = (x.cpu_slice::<T>(), weight.cpu_slice::<T>(), bias.cpu_slice::<T>());
        let rs = residual.map(|r| r.tensor.cpu_slice::<T>());
        let dropped = residual.and_then(|r| r.dropout).map(Dropped::<T>::new);
        let mut kept = match residual {
            Some(Residual { keep: true, .. }) => Some(Output::<T>::new(op, x.shape())?),
            _ => None,
        };
        let mut out = Output::<T>::new(op, x.shape())?;
        let mut mean = Output::<T>::filled(op, lead, T::c(f64::NAN))?;
        let mut rstd = Output::<T>::filled(op, lead, T::c(f64::NAN))?;
        let (means, rstds) = (SharedMut::new(mean.slice_mut()), SharedMut::new(rstd.slice_mut()));
        let sums = kept.as_mut().map(|kept| SharedMut::new(kept.slice_mut()));
        let (count, eps) = (T::c(n as f64), T::c(eps));
        let tensors = rs.is_some() as usize + sums.is_some() as usize;
        let words = if dropped.is_some() { WORD } else { 0.0 };
        let ns = n as f64 * (FORWARD + tensors as f64 * TENSOR + words);
        parallel::rows(out.slice_mut(), n, parallel::rows_per_task(n), ns, |first, out| {
            let taken = first..first + out.len() / n;
            // SAFETY: each row belongs to one task.
            let (means, rstds) = unsafe { (means.slice(taken.clone()), rstds.slice(taken)) };
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                for (i, y) in out.chunks_exact_mut(n).enumerate() {
                    let (at, y) = ((first + i) * n, &mut y[..n]);
                    // The row to normalise; `None` where it lies in y.
                    let row = match (rs, &sums) {
                        (None, _) => Some(&xs[at..][..n]),
                        (Some(r), Some(sums)) => {
                            // SAFETY: the row is this task's.
                            let s = unsafe { sums.slice(at..at + n) };
                            add_row(&dropped, at, xs, r, s);
                            Some(&*s)
                        }
                        (Some(r), None) => {
                            add_row(&dropped, at, xs, r, y);
                            None
                        }
                    };
                    let x = row.unwrap_or(y);
                    let (mean, var) = moments(x, count);
                    let rstd = T::ONE / (var + eps).sqrt();
                    (means[i], rstds[i]) = (mean, rstd);
                    let (w, b) = (&w[..n], &b[..n]);
                    let normed = |x: T, j: usize| (x - mean) * rstd * w[j] + b[j];
                    match row {
                        Some(x) => (0..n).for_each(|j| y[j] = normed(x[j], j)),
                        None => (0..n).for_each(|j| y[j] = normed(y[j], j)),
                    }
                }
            });
        });
        Ok(LayerNormOutput {
            output: out.into_tensor(x.shape()),
            mean: mean.into_tensor(lead),
            rstd: rstd.into_tensor(lead),
            sum: kept.map(|kept| kept.into_tensor(x.shape())),
        })
    })
}

/// All inputs contiguous and of fitting shapes; `grads` one or two, which are added. With dropout also returns dx
/// dropped out.
pub(crate) fn backward(
    x: &Tensor,
    weight: &Tensor,
    mean: &Tensor,
    rstd: &Tensor,
    grads: &[&Tensor],
    dropout: Option<(f64, RngKey)>,
) -> Result<(Tensor, Option<Tensor>, Tensor, Tensor)> {
    let op = "layer_norm_backward";
    dispatch_float!(op, x.dtype(), T => {
        let (n, rows) = (weight.numel(), mean.numel());
        let blocks = rows.div_ceil(BLOCK);
        let (xs, gs, w) = (x.cpu_slice::<T>(), grads[0].cpu_slice::<T>(), weight.cpu_slice::<T>());
        let more = grads.get(1).map(|more| more.cpu_slice::<T>());
        let (means, rstds) = (mean.cpu_slice::<T>(), rstd.cpu_slice::<T>());
        let dropped = dropout.map(Dropped::<T>::new);
        let mut dx = Output::<T>::new(op, x.shape())?;
        let mut da = dropped.is_some().then(|| Output::<T>::new(op, x.shape())).transpose()?;
        // Of each block, dw then db.
        let mut parts = Output::<T>::filled(op, &[blocks, 2, n], T::ZERO)?;
        let of_blocks = SharedMut::new(parts.slice_mut());
        let das = da.as_mut().map(|da| SharedMut::new(da.slice_mut()));
        let count = T::c(n as f64);
        let ns = BACKWARD
            + if dropped.is_some() { WORD + TENSOR } else { 0.0 }
            + if more.is_some() { TENSOR } else { 0.0 };
        parallel::rows(dx.slice_mut(), n, BLOCK, n as f64 * ns, |first, dx| {
            let part = first / BLOCK * 2 * n;
            // SAFETY: a task is one block of rows, and each block has its own part.
            let (dw, db) = unsafe { of_blocks.slice(part..part + 2 * n) }.split_at_mut(n);
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                let add = |a: T, b: T| a + b;
                for (i, dx) in dx.chunks_exact_mut(n).enumerate() {
                    let row = first + i;
                    let (x, g) = (&xs[row * n..][..n], &gs[row * n..][..n]);
                    let (w, dw, db, dx) = (&w[..n], &mut dw[..n], &mut db[..n], &mut dx[..n]);
                    let (mean, rstd) = (means[row], rstds[row]);
                    // dx holds g for a moment, then h, so that both sums read two slices.
                    match more {
                        None => dx.copy_from_slice(g),
                        Some(more) => {
                            let more = &more[row * n..][..n];
                            (0..n).for_each(|j| dx[j] = g[j] + more[j]);
                        }
                    }
                    for j in 0..n {
                        let normed = (x[j] - mean) * rstd;
                        dw[j] += dx[j] * normed;
                        db[j] += dx[j];
                        dx[j] *= w[j];
                    }
                    let sum = simd::reduce(dx, T::ZERO, add, add) / count;
                    let dot = |a: T, x: T, h: T| a + (x - mean) * rstd * h;
                    let dot = simd::reduce2(x, dx, T::ZERO, dot, add) / count;
                    for j in 0..n {
                        dx[j] = rstd * (dx[j] - sum - (x[j] - mean) * rstd * dot);
                    }
                    if let (Some(dropped), Some(das)) = (&dropped, &das) {
                        // SAFETY: the row is this task's.
                        let da = unsafe { das.slice(row * n..(row + 1) * n) };
                        dropped.apply(row * n, dx, da, |x, _| x);
                    }
                }
            });
        });
        let sums = parts.into_tensor(&[blocks, 2 * n]).sum(&[0], false)?;
        let da = da.map(|da| da.into_tensor(x.shape()));
        Ok((dx.into_tensor(x.shape()), da, sums.narrow(0, 0, n)?, sums.narrow(0, n, n)?))
    })
}
