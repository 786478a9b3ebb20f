//! The formulas in f64.

use super::Attention;
use crate::check::{Expected, likely};

/// O, dQ, dK and dV. Each is a sum of products with P or dS: its bound is the sum of their
/// magnitudes times the error that a term may have: that of its own sum, and of the exponential of
/// a score that is off.
pub fn of(a: &Attention) -> Vec<Expected> {
    let shape = vec![a.heads, a.n, a.d];
    let numbers = a.heads * a.n * a.d;
    let new = |name| Expected {
        name,
        shape: shape.clone(),
        values: vec![0.0; numbers],
        bounds: vec![0.0; numbers],
    };
    let mut all = ["O", "dQ", "dK", "dV"].map(new);
    for head in 0..a.heads {
        one(a, head, &mut all);
    }
    all.into()
}

fn one(a: &Attention, head: usize, [o, dq, dk, dv]: &mut [Expected; 4]) {
    let (n, d, at) = (a.n, a.d, head * a.n * a.d);
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (q, k, v, g) = a.head(head);
    let (q, k, v, g) = (wide(q), wide(k), wide(v), wide(g));
    let scale = f64::from(a.scale);
    for i in 0..n {
        let (q, g) = (&q[i * d..][..d], &g[i * d..][..d]);
        let scores: Vec<(f64, f64)> = (0..n).map(|j| dot(q, &k[j * d..][..d])).collect();
        let largest = scores.iter().map(|s| s.0).fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = scores.iter().map(|s| (scale * (s.0 - largest)).exp()).collect();
        let sum: f64 = e.iter().sum();
        let widest = scores.iter().map(|s| s.1).fold(0.0, f64::max);
        let error = 2.0 * likely(n + 8) + 4.0 * scale * widest * likely(d + 8) + 1e-6;
        let slopes: Vec<(f64, f64)> = (0..n).map(|j| dot(g, &v[j * d..][..d])).collect();
        let p: Vec<f64> = e.iter().map(|e| e / sum).collect();
        let mean: f64 = (0..n).map(|j| p[j] * slopes[j].0).sum();
        let size: f64 = (0..n).map(|j| p[j] * slopes[j].1).sum();
        for j in 0..n {
            let ds = scale * p[j] * (slopes[j].0 - mean);
            let ds_size = scale * p[j] * (slopes[j].1 + size);
            for c in 0..d {
                let (query, key) = (at + i * d + c, at + j * d + c);
                let add = |to: &mut Expected, at: usize, value: f64, size: f64| {
                    to.values[at] += value;
                    to.bounds[at] += size.abs() * error;
                };
                let (q, k, v, g) = (q[c], k[j * d + c], v[j * d + c], g[c]);
                add(o, query, p[j] * v, p[j] * v);
                add(dq, query, ds * k, ds_size * k);
                add(dk, key, ds * q, ds_size * q);
                add(dv, key, p[j] * g, p[j] * g);
            }
        }
    }
}

/// Σ x·y and Σ |x·y|.
fn dot(x: &[f64], y: &[f64]) -> (f64, f64) {
    let products = x.iter().zip(y).map(|(x, y)| x * y);
    products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
}
