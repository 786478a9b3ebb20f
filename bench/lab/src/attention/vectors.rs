//! vectors: rows of scores again, all loops over whole vectors.
//!
//! Adds: K and V of a head are transposed once, so that the scores of 16 keys are one vector. The
//!   exponential is a polynomial. Everything is compiled for the widest registers.
//! Why: a dot product of 64 numbers is a chain of additions, one after the other; as columns of a
//!   row of scores they are n chains side by side.
//! Order: ascending over d and over keys; Σ dP·P in 16 lanes

use gradus_cpu::Float;

use super::{Attention, Results};

const LANES: usize = 16;

pub fn both(a: &Attention, r: Results) {
    r.heads(a.n * a.d).enumerate().for_each(|(number, head)| one(a, number, head));
}

/// One head, forward and backward.
pub fn one(a: &Attention, number: usize, mut head: Results) {
    let (n, d) = (a.n, a.d);
    let (q, k, v, g) = a.head(number);
    let (kt, vt) = (transposed(k, n, d), transposed(v, n, d));
    let (mut row, mut slopes) = (vec![0.0; n], vec![0.0; n]);
    let mut sums = vec![0.0; n];
    gradus_cpu::widest(
        #[inline(always)]
        || {
            head.all_zero();
            for i in 0..n {
                scores(a.scale, &q[i * d..][..d], &kt, &mut row);
                sums[i] = softmax(&mut row);
                let o = &mut head.o[i * d..][..d];
                for j in 0..n {
                    add(row[j], &v[j * d..][..d], o);
                }
            }
            for i in 0..n {
                let (q, g) = (&q[i * d..][..d], &g[i * d..][..d]);
                scores(a.scale, q, &kt, &mut row);
                for p in &mut row {
                    *p = Float::exp(*p - sums[i]);
                }
                scores(1.0, g, &vt, &mut slopes);
                let sum = dot(&slopes, &row);
                for j in 0..n {
                    let ds = row[j] * (slopes[j] - sum) * a.scale;
                    add(row[j], g, &mut head.dv[j * d..][..d]);
                    add(ds, q, &mut head.dk[j * d..][..d]);
                    add(ds, &k[j * d..][..d], &mut head.dq[i * d..][..d]);
                }
            }
        },
    );
}

/// `[n, d]` as `[d, n]`.
fn transposed(x: &[f32], n: usize, d: usize) -> Vec<f32> {
    (0..d * n).map(|at| x[at % n * d + at / n]).collect()
}

/// `row[j] = scale·Σ x[c]·columns[c][j]`
#[inline(always)]
fn scores(scale: f32, x: &[f32], columns: &[f32], row: &mut [f32]) {
    row.fill(0.0);
    let n = row.len();
    for (c, &x) in x.iter().enumerate() {
        add(scale * x, &columns[c * n..][..n], row);
    }
}

/// y += factor·x
#[inline(always)]
fn add(factor: f32, x: &[f32], y: &mut [f32]) {
    for i in 0..y.len() {
        y[i] += factor * x[i];
    }
}

/// Σ x·y in lanes.
#[inline(always)]
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Softmax in place; returns the logarithm of Σeˣ.
#[inline(always)]
fn softmax(x: &mut [f32]) -> f32 {
    let m = <f32 as Float>::largest(x.iter().copied());
    for i in 0..x.len() {
        x[i] = Float::exp(x[i] - m);
    }
    let mut lanes = [0.0; LANES];
    let (vectors, rest) = x.as_chunks::<LANES>();
    for vector in vectors {
        for lane in 0..LANES {
            lanes[lane] += vector[lane];
        }
    }
    let sum = lanes.iter().sum::<f32>() + rest.iter().sum::<f32>();
    x.iter_mut().for_each(|x| *x /= sum);
    m + sum.ln()
}
