//! Forward, for rows x of n elements: `μ = Σx/n`, `v = Σ(x − μ)²/n`, `ρ = 1/√(v + ε)`,
//! `y = (x − μ)·ρ·w + b`; `x [rows, n]`, `w`, `b` `[n]`, `μ`, `ρ` `[rows]`.
//!
//! Backward, with `x̂ = (x − μ)·ρ` and `h = g·w`: `dx = ρ·(h − Σh/n − x̂·Σ(h·x̂)/n)`,
//! `dw = Σ_rows g·x̂`, `db = Σ_rows g`.
//!
//! Split: rows; in backward blocks of [`BLOCK`] rows, each with its own partial dw and db, in the
//! first-level cache.
//! Order of reduction: along a row element i goes to lane i mod 16 and the lanes join pairwise; dw
//! and db add rows one by one inside a block, then the blocks as `sum` does.
//! Numerics: the variance is taken in a second pass over the row, so it never cancels.

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd;
use crate::ops::layer_norm::LayerNormOutput;
use crate::storage::Output;
use crate::{Result, Tensor, dispatch_float};

/// Rows of one block of the backward pass.
const BLOCK: usize = 64;
/// Nanoseconds an element.
const FORWARD: f64 = 0.4;
const BACKWARD: f64 = 0.8;

/// All inputs contiguous and of fitting shapes; `lead` is x's shape without the last dimension.
pub(crate) fn forward(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    lead: &[usize],
) -> Result<LayerNormOutput> {
    let op = "layer_norm";
    dispatch_float!(op, x.dtype(), T => {
        let (n, rows) = (weight.numel(), lead.iter().product::<usize>());
        let (xs, w, b) = (x.cpu_slice::<T>(), weight.cpu_slice::<T>(), bias.cpu_slice::<T>());
        let mut out = Output::<T>::new(op, x.numel())?;
        let mut mean = Output::<T>::filled(op, rows, T::c(f64::NAN))?;
        let mut rstd = Output::<T>::filled(op, rows, T::c(f64::NAN))?;
        let (means, rstds) = (SharedMut::new(mean.slice_mut()), SharedMut::new(rstd.slice_mut()));
        let (count, eps) = (T::c(n as f64), T::c(eps));
        let ns = n as f64 * FORWARD;
        parallel::rows(out.slice_mut(), n, parallel::rows_per_task(n), ns, |first, out| {
            let taken = first..first + out.len() / n;
            // SAFETY: each row belongs to one task.
            let (means, rstds) = unsafe { (means.slice(taken.clone()), rstds.slice(taken)) };
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                let add = |a: T, b: T| a + b;
                for (i, y) in out.chunks_exact_mut(n).enumerate() {
                    let x = &xs[(first + i) * n..][..n];
                    let mean = simd::reduce(x, T::ZERO, add, add) / count;
                    let square = |a: T, x: T| a + (x - mean) * (x - mean);
                    let var = simd::reduce(x, T::ZERO, square, add) / count;
                    let rstd = T::ONE / (var + eps).sqrt();
                    (means[i], rstds[i]) = (mean, rstd);
                    let (w, b, y) = (&w[..n], &b[..n], &mut y[..n]);
                    for j in 0..n {
                        y[j] = (x[j] - mean) * rstd * w[j] + b[j];
                    }
                }
            });
        });
        Ok(LayerNormOutput {
            output: out.into_tensor(x.shape()),
            mean: mean.into_tensor(lead),
            rstd: rstd.into_tensor(lead),
        })
    })
}

/// All inputs contiguous and of fitting shapes.
pub(crate) fn backward(
    x: &Tensor,
    weight: &Tensor,
    mean: &Tensor,
    rstd: &Tensor,
    grad: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let op = "layer_norm_backward";
    dispatch_float!(op, x.dtype(), T => {
        let (n, rows) = (weight.numel(), mean.numel());
        let blocks = rows.div_ceil(BLOCK);
        let (xs, gs, w) = (x.cpu_slice::<T>(), grad.cpu_slice::<T>(), weight.cpu_slice::<T>());
        let (means, rstds) = (mean.cpu_slice::<T>(), rstd.cpu_slice::<T>());
        let mut dx = Output::<T>::new(op, x.numel())?;
        let mut dw = Output::<T>::filled(op, blocks * n, T::ZERO)?;
        let mut db = Output::<T>::filled(op, blocks * n, T::ZERO)?;
        let (dws, dbs) = (SharedMut::new(dw.slice_mut()), SharedMut::new(db.slice_mut()));
        let count = T::c(n as f64);
        parallel::rows(dx.slice_mut(), n, BLOCK, n as f64 * BACKWARD, |first, dx| {
            let part = first / BLOCK * n..(first / BLOCK + 1) * n;
            // SAFETY: a task is one block of rows, and each block has its own part.
            let (dw, db) = unsafe { (dws.slice(part.clone()), dbs.slice(part)) };
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                let add = |a: T, b: T| a + b;
                for (i, dx) in dx.chunks_exact_mut(n).enumerate() {
                    let row = first + i;
                    let (x, g) = (&xs[row * n..][..n], &gs[row * n..][..n]);
                    let (w, dw, db, dx) = (&w[..n], &mut dw[..n], &mut db[..n], &mut dx[..n]);
                    let (mean, rstd) = (means[row], rstds[row]);
                    // dx holds h for a moment, so that both sums read two slices.
                    for j in 0..n {
                        let normed = (x[j] - mean) * rstd;
                        dw[j] += g[j] * normed;
                        db[j] += g[j];
                        dx[j] = g[j] * w[j];
                    }
                    let sum = simd::reduce(dx, T::ZERO, add, add) / count;
                    let dot = |a: T, x: T, h: T| a + (x - mean) * rstd * h;
                    let dot = simd::reduce2(x, dx, T::ZERO, dot, add) / count;
                    for j in 0..n {
                        dx[j] = rstd * (dx[j] - sum - (x[j] - mean) * rstd * dot);
                    }
                }
            });
        });
        let total = |parts: Output<T>| parts.into_tensor(&[blocks, n]).sum(&[0], false);
        Ok((dx.into_tensor(x.shape()), total(dw)?, total(db)?))
    })
}
