//! The formulas in f64.

use super::{EPS, Problem};
use crate::check::{Expected, likely};

/// y, dx, dw and db. A sum of n numbers in f32 is off by at most [`likely`]·Σ|terms|; of what is
/// made of sums the bounds add up, with a factor for the few roundings besides.
pub fn of(p: &Problem) -> Vec<Expected> {
    let (n, rows) = (p.n, p.x.len() / p.n);
    let new = |name, shape: Vec<usize>| {
        let numbers: usize = shape.iter().product();
        Expected { name, shape, values: vec![0.0; numbers], bounds: vec![0.0; numbers] }
    };
    let mut y = new("y", vec![rows, n]);
    let mut dx = new("dx", vec![rows, n]);
    let (mut dw, mut db) = (new("dw", vec![n]), new("db", vec![n]));
    let (along, down) = (4.0 * likely(n + 8), likely(rows + 8));
    for row in 0..rows {
        let x: Vec<f64> = p.x[row * n..][..n].iter().map(|&x| x.into()).collect();
        let count = n as f64;
        let mean = x.iter().sum::<f64>() / count;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + EPS).sqrt();
        let size = x.iter().map(|x| x.abs()).sum::<f64>() / count * scale;
        // A variance of almost nothing makes a large scale of a small error.
        let error = along * (1.0 + size);
        let normed: Vec<f64> = x.iter().map(|x| (x - mean) * scale).collect();
        let h: Vec<f64> = (0..n).map(|j| f64::from(p.g[row * n + j]) * f64::from(p.w[j])).collect();
        let (mean_h, size_h) = means(h.iter().copied());
        let (dot, size_dot) = means(h.iter().zip(&normed).map(|(h, x)| h * x));
        for j in 0..n {
            let at = row * n + j;
            let (g, w, b) = (f64::from(p.g[at]), f64::from(p.w[j]), f64::from(p.b[j]));
            y.values[at] = normed[j] * w + b;
            y.bounds[at] = error * (w.abs() * (1.0 + normed[j].abs()) + b.abs());
            dx.values[at] = scale * (h[j] - mean_h - normed[j] * dot);
            let around = h[j].abs() + size_h + (1.0 + normed[j].abs()) * (size_dot + size_h);
            dx.bounds[at] = error * scale * around;
            dw.values[j] += g * normed[j];
            dw.bounds[j] += (down + error) * g.abs() * (1.0 + normed[j].abs());
            db.values[j] += g;
            db.bounds[j] += down * g.abs();
        }
    }
    vec![y, dx, dw, db]
}

/// The mean, and the mean of the magnitudes.
fn means(of: impl ExactSizeIterator<Item = f64>) -> (f64, f64) {
    let count = of.len() as f64;
    let (sum, size) = of.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
    (sum / count, size / count)
}
