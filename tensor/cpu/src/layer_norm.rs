//! Forward, for rows x of n elements: `μ = Σx/n`, `v = Σ(x − μ)²/n`, `ρ = 1/√(v + ε)`,
//! `y = (x − μ)·ρ·w + b`; `x [rows, n]`, `w`, `b` `[n]`, `μ`, `ρ` `[rows]`. With a residual r, x is
//! `dropout(a) + r`, made in the same pass: kept if a derivative will need it, else in y's place.
//! RMS norm has 0 for μ. b may be missing.
//!
//! Backward, with `x̂ = (x − μ)·ρ` and `h = g·w`: `dx = ρ·(h − Σh/n − x̂·Σ(h·x̂)/n)`,
//! `dw = Σ_rows g·x̂`, `db = Σ_rows g`, where g may be the sum of two gradients. With dropout also
//! `da = dropout(dx)`; `dr = dx`. RMS norm has 0 for Σh.
//!
//! Split: rows; in backward blocks of [`BLOCK`] rows, each with its own partial dw and db, in the
//! first-level cache.
//! Order of reduction: along a row element i goes to lane i mod 16 and the lanes join pairwise
//! ([`simd::reduce`]); dw and db add rows one by one inside a block, then the blocks as `sum` does.
//! Numerics: the mean is the first element plus the mean distance from it, so a constant row has no
//! variance, and a row far from 0 has its own; the variance takes a second pass over the row, so
//! nothing cancels. Dropout uses the words of `dropout`, by the element's index in row-major order.

use gradus_base::op::layer_norm::{LayerNormOutput, Operands, Residual, Saved};
use gradus_base::{Element, Result, RngKey, dispatch_float};

use super::dropout::{RowDropout, RowWords};
use super::math::Float;
use super::parallel::{self, SharedMut};
use super::reduce;
use super::simd;
use super::storage::Output;
use super::view::{Array, View};

/// Rows of one block of the backward pass.
const BLOCK: usize = 64;
/// Nanoseconds an element, of one more tensor read or written, and of a random word.
const FORWARD: f64 = 0.4;
const BACKWARD: f64 = 0.8;
const TENSOR: f64 = 0.2;
const WORD: f64 = 0.5;

/// Mean and biased variance of a row. The mean is the first element plus the mean distance from it:
/// exact for equal elements, and far from 0 too. The squares are those of the distances from the
/// rounded mean; the square of its rounding error is subtracted.
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

/// 0 and the mean square of a row: its moments around 0.
#[inline(always)]
fn mean_square<T: Float>(x: &[T], count: T) -> (T, T) {
    let squares = simd::reduce(x, T::ZERO, |a, x| a + x * x, |a: T, b: T| a + b);
    (T::ZERO, squares / count)
}

/// What the forward kernel reads for each row, and where it writes, except y.
struct Forward<'a, T> {
    x: &'a [T],
    residual: Option<&'a [T]>,
    dropout: Option<RowDropout<T>>,
    weight: &'a [T],
    bias: Option<&'a [T]>,
    eps: T,
    rms: bool,
    means: SharedMut<'a, T>,
    rstds: SharedMut<'a, T>,
    /// Where the sums x + r go, if they are kept.
    sums: Option<SharedMut<'a, T>>,
}

impl<T: Float> Forward<'_, T> {
    /// Nanoseconds of a row.
    fn ns(&self) -> f64 {
        let tensors = self.residual.is_some() as usize + self.sums.is_some() as usize;
        let words = if self.dropout.is_some() { WORD } else { 0.0 };
        self.weight.len() as f64 * (FORWARD + tensors as f64 * TENSOR + words)
    }

    /// The rows from `first` on, as many as `y` has.
    #[inline(always)]
    fn rows(&self, first: usize, y: &mut [T]) {
        let n = self.weight.len();
        let rows = first..first + y.len() / n;
        // SAFETY: each row belongs to one task.
        let (means, rstds) = unsafe { (self.means.slice(rows.clone()), self.rstds.slice(rows)) };
        for (i, y) in y.chunks_exact_mut(n).enumerate() {
            (means[i], rstds[i]) = self.row((first + i) * n, &mut y[..n]);
        }
    }

    /// The row that begins at element `at`; returns its mean and 1/√(variance + ε).
    #[inline(always)]
    fn row(&self, at: usize, y: &mut [T]) -> (T, T) {
        let n = y.len();
        // The row to normalise; `None` where it lies in y.
        let row = match (self.residual, &self.sums) {
            (None, _) => Some(&self.x[at..][..n]),
            (Some(r), Some(sums)) => {
                // SAFETY: the row is this task's.
                let s = unsafe { sums.slice(at..at + n) };
                self.add(r, at, s);
                Some(&*s)
            }
            (Some(r), None) => {
                self.add(r, at, y);
                None
            }
        };
        let (x, count) = (row.unwrap_or(y), T::c(n as f64));
        let (mean, var) = if self.rms { mean_square(x, count) } else { moments(x, count) };
        let rstd = T::ONE / (var + self.eps).sqrt();
        let w = &self.weight[..n];
        match self.bias {
            Some(b) => {
                let b = &b[..n];
                write(row, y, |x, j| (x - mean) * rstd * w[j] + b[j]);
            }
            None => write(row, y, |x, j| (x - mean) * rstd * w[j]),
        }
        (mean, rstd)
    }

    /// `s = dropout(x) + r` of the row that begins at element `at`.
    #[inline(always)]
    fn add(&self, r: &[T], at: usize, s: &mut [T]) {
        let n = s.len();
        let (x, r) = (&self.x[at..][..n], &r[at..][..n]);
        match &self.dropout {
            Some(dropout) => dropout.map(RowWords::from_element(at), x, s, |x, j| x + r[j]),
            None => (0..n).for_each(|j| s[j] = x[j] + r[j]),
        }
    }
}

/// `y[j] = f(x[j], j)`; `None` for x where it lies in y.
#[inline(always)]
fn write<T: Float>(x: Option<&[T]>, y: &mut [T], f: impl Fn(T, usize) -> T) {
    let n = y.len();
    match x {
        Some(x) => (0..n).for_each(|j| y[j] = f(x[j], j)),
        None => (0..n).for_each(|j| y[j] = f(y[j], j)),
    }
}

/// All inputs contiguous and of fitting shapes; x has at least one dimension.
pub fn forward(
    operands: Operands<View>,
    residual: Option<Residual<View>>,
) -> Result<LayerNormOutput<Array>> {
    dispatch_float!("layer_norm", operands.x.dtype(), forward_of::<T>(operands, residual))
}

fn forward_of<T: Float>(
    operands: Operands<View>,
    residual: Option<Residual<View>>,
) -> Result<LayerNormOutput<Array>> {
    let Operands { x, weight, bias, eps, rms } = operands;
    let (op, n) = ("layer_norm", weight.numel());
    let lead = &x.shape()[..x.shape().len() - 1];
    let keep = residual.is_some_and(|r| r.keep);
    let mut kept = keep.then(|| Output::<T>::new(op, x.shape())).transpose()?;
    let mut out = Output::<T>::new(op, x.shape())?;
    let mut mean = Output::<T>::filled(op, lead, T::c(f64::NAN))?;
    let mut rstd = Output::<T>::filled(op, lead, T::c(f64::NAN))?;
    let kernel = Forward {
        x: x.slice::<T>(),
        residual: residual.map(|r| r.tensor.slice::<T>()),
        dropout: residual.and_then(|r| r.dropout).map(RowDropout::new),
        weight: weight.slice::<T>(),
        bias: bias.map(|bias| bias.slice::<T>()),
        eps: T::c(eps),
        rms,
        means: SharedMut::new(mean.slice_mut()),
        rstds: SharedMut::new(rstd.slice_mut()),
        sums: kept.as_mut().map(|kept| SharedMut::new(kept.slice_mut())),
    };
    let per_task = parallel::rows_per_task(n);
    parallel::rows(out.slice_mut(), n, per_task, kernel.ns(), |first, y| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || kernel.rows(first, y),
        );
    });
    Ok(LayerNormOutput {
        output: out.into_array(x.shape()),
        mean: mean.into_array(lead),
        rstd: rstd.into_array(lead),
        sum: kept.map(|kept| kept.into_array(x.shape())),
    })
}

/// What the backward kernel reads for each row, and where it writes, except dx.
struct Backward<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    means: &'a [T],
    rstds: &'a [T],
    grad: &'a [T],
    /// A second gradient, added to the first.
    more: Option<&'a [T]>,
    dropout: Option<RowDropout<T>>,
    /// Where dropout(dx) goes.
    da: Option<SharedMut<'a, T>>,
    /// Of each block, dw then db.
    parts: SharedMut<'a, T>,
    rms: bool,
}

impl<T: Float> Backward<'_, T> {
    /// Nanoseconds of a row.
    fn ns(&self) -> f64 {
        let dropout = if self.dropout.is_some() { WORD + TENSOR } else { 0.0 };
        let more = if self.more.is_some() { TENSOR } else { 0.0 };
        self.weight.len() as f64 * (BACKWARD + dropout + more)
    }

    /// The block of rows that begins with row `first`.
    #[inline(always)]
    fn block(&self, first: usize, dx: &mut [T]) {
        let n = self.weight.len();
        let part = first / BLOCK * 2 * n;
        // SAFETY: a task is one block of rows, and each block has its own part.
        let (dw, db) = unsafe { self.parts.slice(part..part + 2 * n) }.split_at_mut(n);
        for (i, dx) in dx.chunks_exact_mut(n).enumerate() {
            let (row, at) = (first + i, (first + i) * n);
            self.row(row, &mut dx[..n], &mut dw[..n], &mut db[..n]);
            if let (Some(dropout), Some(da)) = (&self.dropout, &self.da) {
                // SAFETY: the row is this task's.
                let da = unsafe { da.slice(at..at + n) };
                dropout.map(RowWords::from_element(at), dx, da, |x, _| x);
            }
        }
    }

    /// dx of one row; adds the row's part to dw and db.
    #[inline(always)]
    fn row(&self, row: usize, dx: &mut [T], dw: &mut [T], db: &mut [T]) {
        let n = self.weight.len();
        let (x, w) = (&self.x[row * n..][..n], &self.weight[..n]);
        let (dx, dw, db) = (&mut dx[..n], &mut dw[..n], &mut db[..n]);
        let mean = if self.rms { T::ZERO } else { self.means[row] };
        let rstd = self.rstds[row];
        let (count, add) = (T::c(n as f64), |a: T, b: T| a + b);
        // dx holds g for a moment, then h, so that both sums read two slices.
        self.gradient(row * n, dx);
        for j in 0..n {
            let normed = (x[j] - mean) * rstd;
            dw[j] += dx[j] * normed;
            db[j] += dx[j];
            dx[j] *= w[j];
        }
        let sum = if self.rms { T::ZERO } else { simd::reduce(dx, T::ZERO, add, add) / count };
        let dot = |a: T, x: T, h: T| a + (x - mean) * rstd * h;
        let dot = simd::reduce2(x, dx, T::ZERO, dot, add) / count;
        for j in 0..n {
            dx[j] = rstd * (dx[j] - sum - (x[j] - mean) * rstd * dot);
        }
    }

    /// The gradient of the row that begins at element `at`.
    #[inline(always)]
    fn gradient(&self, at: usize, out: &mut [T]) {
        let n = out.len();
        let g = &self.grad[at..][..n];
        match self.more {
            None => out.copy_from_slice(g),
            Some(more) => {
                let more = &more[at..][..n];
                (0..n).for_each(|j| out[j] = g[j] + more[j]);
            }
        }
    }
}

/// All inputs contiguous and of fitting shapes; `grads` one or two, which are added. With dropout
/// also returns dropout(dx).
pub fn backward(
    saved: Saved<View>,
    grads: Vec<View>,
    dropout: Option<(f64, RngKey)>,
) -> Result<(Array, Option<Array>, Array, Array)> {
    let op = "layer_norm_backward";
    dispatch_float!(op, saved.x.dtype(), backward_of::<T>(saved, &grads, dropout))
}

fn backward_of<T: Float>(
    saved: Saved<View>,
    grads: &[View],
    dropout: Option<(f64, RngKey)>,
) -> Result<(Array, Option<Array>, Array, Array)> {
    let Saved { x, weight, mean, rstd, rms } = saved;
    let (op, n) = ("layer_norm_backward", weight.numel());
    let blocks = mean.numel().div_ceil(BLOCK);
    let mut dx = Output::<T>::new(op, x.shape())?;
    let mut da = dropout.is_some().then(|| Output::<T>::new(op, x.shape())).transpose()?;
    let mut parts = Output::<T>::filled(op, &[blocks, 2, n], T::ZERO)?;
    let kernel = Backward {
        x: x.slice::<T>(),
        weight: weight.slice::<T>(),
        means: mean.slice::<T>(),
        rstds: rstd.slice::<T>(),
        grad: grads[0].slice::<T>(),
        more: grads.get(1).map(|more| more.slice::<T>()),
        dropout: dropout.map(RowDropout::new),
        da: da.as_mut().map(|da| SharedMut::new(da.slice_mut())),
        parts: SharedMut::new(parts.slice_mut()),
        rms,
    };
    parallel::rows(dx.slice_mut(), n, BLOCK, kernel.ns(), |first, dx| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || kernel.block(first, dx),
        );
    });
    let sums = reduce::sum(parts.into_array(&[blocks, 2 * n]).view(), &[0])?;
    let (dw, db) = sums.view().slice::<T>().split_at(n);
    let da = da.map(|da| da.into_array(x.shape()));
    Ok((dx.into_array(x.shape()), da, vector(op, dw)?, vector(op, db)?))
}

fn vector<T: Element>(op: &'static str, values: &[T]) -> Result<Array> {
    let mut out = Output::new(op, &[values.len()])?;
    out.slice_mut().copy_from_slice(values);
    Ok(out.into_array(&[values.len()]))
}
