//! composed: an operation at a time, each over the whole of x, as a graph of single operations
//! computes it.
//!
//! Adds: nothing yet. Forward: mean, x − mean, its square, the square's mean, 1/√, two products
//!   and a sum. Backward: the rule of each of them.
//! Why: slow, because every operation reads a tensor from memory and writes one: 12 MiB each for
//!   4,096 rows of 768, a dozen times.
//! Order: ascending, one sum; dw and db row by row

use super::{Problem, Results};

pub fn both(p: &Problem, r: Results) {
    let n = p.n;
    let per_row = |f: &dyn Fn(&[f32]) -> f32, of: &[f32]| -> Vec<f32> {
        of.chunks(n).map(|row| f(row) / n as f32).collect()
    };
    let sum = |row: &[f32]| row.iter().sum::<f32>();
    let map = |f: &dyn Fn(usize) -> f32| -> Vec<f32> { (0..p.x.len()).map(f).collect() };

    let means = per_row(&sum, &p.x);
    let centred = map(&|i| p.x[i] - means[i / n]);
    let squares = map(&|i| centred[i] * centred[i]);
    let variances = per_row(&sum, &squares);
    let scales: Vec<f32> = variances.iter().map(|v| 1.0 / (v + p.eps).sqrt()).collect();
    let normed = map(&|i| centred[i] * scales[i / n]);
    let weighted = map(&|i| normed[i] * p.w[i % n]);
    (0..r.y.len()).for_each(|i| r.y[i] = weighted[i] + p.b[i % n]);

    // db, dw, and the gradient of normed.
    r.db.fill(0.0);
    (0..p.g.len()).for_each(|i| r.db[i % n] += p.g[i]);
    let products = map(&|i| p.g[i] * normed[i]);
    r.dw.fill(0.0);
    (0..p.g.len()).for_each(|i| r.dw[i % n] += products[i]);
    let h = map(&|i| p.g[i] * p.w[i % n]);
    // Of x: what comes through the centred numbers, through the variance, and through the mean.
    let along = map(&|i| h[i] * normed[i]);
    let dots = per_row(&sum, &along);
    let sums = per_row(&sum, &h);
    let through = map(&|i| h[i] - normed[i] * dots[i / n]);
    (0..r.dx.len()).for_each(|i| r.dx[i] = scales[i / n] * (through[i] - sums[i / n]));
}
