//! fused: a row at a time, everything that it needs while it is in the first cache.
//!
//! Adds: no tensor between the operations. Forward keeps the mean and 1/√(variance + ε) of each
//!   row, and backward computes the normalised numbers again from them.
//! Why: x is read from memory once and y written once; backward reads x and g and writes dx. To
//!   compute (x − mean)·scale again is cheaper than to read it from memory.
//! Order: ascending, one sum; dw and db row by row

use super::{Problem, Results};

pub fn both(p: &Problem, r: Results) {
    let n = p.n;
    let statistics: Vec<(f32, f32)> =
        p.x.chunks(n).zip(r.y.chunks_mut(n)).map(|(x, y)| forward(p, x, y)).collect();
    r.dw.fill(0.0);
    r.db.fill(0.0);
    for (row, dx) in r.dx.chunks_mut(n).enumerate() {
        let (x, g) = (&p.x[row * n..][..n], &p.g[row * n..][..n]);
        backward(p, (x, g), statistics[row], dx);
        let (mean, scale) = statistics[row];
        for j in 0..n {
            r.dw[j] += g[j] * (x[j] - mean) * scale;
            r.db[j] += g[j];
        }
    }
}

/// Writes a row of y; returns the row's mean and 1/√(variance + ε).
fn forward(p: &Problem, x: &[f32], y: &mut [f32]) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = x.iter().sum::<f32>() / count;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / count;
    let scale = 1.0 / (variance + p.eps).sqrt();
    for j in 0..x.len() {
        y[j] = (x[j] - mean) * scale * p.w[j] + p.b[j];
    }
    (mean, scale)
}

/// Writes a row of dx.
fn backward(p: &Problem, (x, g): (&[f32], &[f32]), (mean, scale): (f32, f32), dx: &mut [f32]) {
    let (mut sum, mut dot) = (0.0, 0.0);
    for j in 0..x.len() {
        let h = g[j] * p.w[j];
        sum += h;
        dot += h * (x[j] - mean) * scale;
    }
    let count = x.len() as f32;
    for j in 0..x.len() {
        let h = g[j] * p.w[j];
        dx[j] = scale * (h - sum / count - (x[j] - mean) * scale * dot / count);
    }
}
