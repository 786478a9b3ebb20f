//! vectors: sums in 16 lanes, compiled for the widest registers.
//!
//! Adds: element i of a row goes to lane i mod 16 of a sum; the lanes join at the end.
//! Why: one sum lets every addition wait for the one before, and the compiler may not change the
//!   order of additions by itself. In lanes the order is written down, and 16 of them are a vector.
//! Order: element i to lane i mod 16, each ascending, then the lanes; dw and db row by row

use super::{Problem, Results};

const LANES: usize = 16;

pub fn both(p: &Problem, r: Results) {
    r.dw.fill(0.0);
    r.db.fill(0.0);
    rows(p, 0, r);
}

/// Forward and backward of the rows from `first` on, as many as y has; adds their part of dw and
/// db.
pub fn rows(p: &Problem, first: usize, r: Results) {
    let n = p.n;
    gradus_cpu::widest(
        #[inline(always)]
        || {
            let rows = r.y.chunks_exact_mut(n).zip(r.dx.chunks_exact_mut(n));
            for (row, (y, dx)) in (first..).zip(rows) {
                let (x, g) = (&p.x[row * n..][..n], &p.g[row * n..][..n]);
                let (mean, scale) = forward(p, x, y);
                backward(p, (x, g), (mean, scale), dx);
                let (dw, db) = (&mut r.dw[..n], &mut r.db[..n]);
                for j in 0..n {
                    dw[j] += g[j] * (x[j] - mean) * scale;
                    db[j] += g[j];
                }
            }
        },
    );
}

/// Σ of(i) for i below n, in lanes.
#[inline(always)]
fn sum(n: usize, of: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = n / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            lanes[lane] += of(at + lane);
        }
    }
    for i in whole..n {
        lanes[i - whole] += of(i);
    }
    lanes.iter().sum()
}

#[inline(always)]
fn forward(p: &Problem, x: &[f32], y: &mut [f32]) -> (f32, f32) {
    let (n, count) = (x.len(), x.len() as f32);
    let (w, b, y) = (&p.w[..n], &p.b[..n], &mut y[..n]);
    let mean = sum(
        n,
        #[inline(always)]
        |j| x[j],
    ) / count;
    let variance = sum(
        n,
        #[inline(always)]
        |j| (x[j] - mean) * (x[j] - mean),
    ) / count;
    let scale = 1.0 / (variance + p.eps).sqrt();
    for j in 0..n {
        y[j] = (x[j] - mean) * scale * w[j] + b[j];
    }
    (mean, scale)
}

#[inline(always)]
fn backward(p: &Problem, (x, g): (&[f32], &[f32]), (mean, scale): (f32, f32), dx: &mut [f32]) {
    let (n, count) = (x.len(), x.len() as f32);
    let (w, g, dx) = (&p.w[..n], &g[..n], &mut dx[..n]);
    let mean_h = sum(
        n,
        #[inline(always)]
        |j| g[j] * w[j],
    ) / count;
    let mean_dot = sum(
        n,
        #[inline(always)]
        |j| g[j] * w[j] * (x[j] - mean) * scale,
    ) / count;
    for j in 0..n {
        dx[j] = scale * (g[j] * w[j] - mean_h - (x[j] - mean) * scale * mean_dot);
    }
}
