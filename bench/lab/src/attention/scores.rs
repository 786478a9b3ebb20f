//! scores in memory: three matrices of n × n a head, as the formulas are written.
//!
//! Adds: nothing yet. S = Q·Kᵀ·scale, P = softmax(S), O = P·V; backward dV = Pᵀ·dO, dP = dO·Vᵀ,
//!   dS = P·(dP − Σ dP·P), dQ = dS·K·scale, dK = dSᵀ·Q·scale. P waits in memory for the backward
//!   pass.
//! Why: slow, because for 512 tokens each of these matrices is 1 MiB a head: it leaves the cache
//!   and comes back for every step. And its memory grows with the square of the length.
//! Order: ascending, one sum

use super::{Attention, Results};

pub fn both(a: &Attention, mut r: Results) {
    let (n, d) = (a.n, a.d);
    let mut p = vec![0.0; a.heads * n * n];
    for (head, p) in p.chunks_mut(n * n).enumerate() {
        let (q, k, v, _) = a.head(head);
        for i in 0..n {
            for j in 0..n {
                p[i * n + j] = a.scale * dot(&q[i * d..][..d], &k[j * d..][..d]);
            }
            softmax(&mut p[i * n..][..n]);
        }
        let o = &mut r.o[head * n * d..][..n * d];
        o.fill(0.0);
        for i in 0..n {
            for j in 0..n {
                add(p[i * n + j], &v[j * d..][..d], &mut o[i * d..][..d]);
            }
        }
    }
    for (head, p) in p.chunks(n * n).enumerate() {
        backward(a, head, p, &mut r);
    }
}

fn backward(a: &Attention, head: usize, p: &[f32], r: &mut Results) {
    let (n, d, at) = (a.n, a.d, head * a.n * a.d);
    let (q, k, v, g) = a.head(head);
    let mut ds = vec![0.0; n * n];
    let [dq, dk, dv] = [&mut r.dq, &mut r.dk, &mut r.dv].map(|all| &mut all[at..at + n * d]);
    for gradient in [&mut *dq, &mut *dk, &mut *dv] {
        gradient.fill(0.0);
    }
    for i in 0..n {
        let (p, ds) = (&p[i * n..][..n], &mut ds[i * n..][..n]);
        let g = &g[i * d..][..d];
        for j in 0..n {
            add(p[j], g, &mut dv[j * d..][..d]);
            ds[j] = dot(g, &v[j * d..][..d]);
        }
        let sum = dot(ds, p);
        for j in 0..n {
            ds[j] = p[j] * (ds[j] - sum) * a.scale;
        }
    }
    for i in 0..n {
        for j in 0..n {
            add(ds[i * n + j], &k[j * d..][..d], &mut dq[i * d..][..d]);
            add(ds[i * n + j], &q[i * d..][..d], &mut dk[j * d..][..d]);
        }
    }
}

/// Σ x·y.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// y += factor·x
pub fn add(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Softmax in place; returns the logarithm of Σeˣ.
pub fn softmax(x: &mut [f32]) -> f32 {
    let m = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in &mut *x {
        *x = (*x - m).exp();
        sum += *x;
    }
    x.iter_mut().for_each(|x| *x /= sum);
    m + sum.ln()
}
