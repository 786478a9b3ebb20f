//! Attention over packed sequences, forward and backward.
//!
//! Forward, per sequence and head, over blocks of query rows:
//!   S = Q·Kᵀ·scale;  L = ln Σeˢ;  P = e^(S − L);  O = dropout(P)·V
//! Backward (Dao et al., arXiv:2205.14135, recomputing P from L):
//!   dV = dropout(P)ᵀ·dO;  dP = dropout(dO·Vᵀ);  dS = P·(dP − Σ dP·P)·scale;
//!   dQ = dS·K;  dK = dSᵀ·Q
//!
//! Shapes: Q, K, V, O `[tokens, heads·d]`, any row stride; L `[heads, tokens]`.
//! A task is one sequence and one head: it alone writes its block of every output. It copies its
//! operands into small contiguous matrices (rows padded to whole vectors), and all products run on
//! one register-blocked kernel, `C += A·B` with B's rows in vectors.
//! Sums run over k in ascending order; softmax subtracts the row's maximum.

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd::{self, LANES};
use crate::ops::attention::Attention;
use crate::random::{RngKey, drop_threshold};
use crate::storage::Output;
use crate::{Result, Tensor, dispatch_float};

/// Query rows handled at once: bounds the scores kept to `BLOCK × length`.
const BLOCK: usize = 64;

/// The random word of one attention probability: query token (in the batch), key token (in the
/// sequence), head.
#[inline(always)]
pub(crate) fn word(key: RngKey, head: usize, query: usize, k: usize) -> u32 {
    key.block([(k / 4) as u32, query as u32, head as u32, 1])[k % 4]
}

fn pad(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// A matrix operand of [`product`]: element (i, j) at `data[i·row + j·col]`.
#[derive(Clone, Copy)]
struct A<'a, T> {
    data: &'a [T],
    row: usize,
    col: usize,
}

/// `R` rows of `C (+)= A·B`, all columns; B and C have rows of `width` elements, whole vectors.
#[inline(always)]
fn rows<T: Float, const R: usize>(
    first: usize,
    k: usize,
    width: usize,
    a: A<T>,
    b: &[T],
    c: &mut [T],
    add: bool,
) {
    for column in (0..width).step_by(LANES) {
        let mut acc = [[T::ZERO; LANES]; R];
        if add {
            for r in 0..R {
                acc[r].copy_from_slice(&c[(first + r) * width + column..][..LANES]);
            }
        }
        for i in 0..k {
            let b = &b[i * width + column..][..LANES];
            for r in 0..R {
                let x = a.data[(first + r) * a.row + i * a.col];
                for l in 0..LANES {
                    acc[r][l] = x.mul_add(b[l], acc[r][l]);
                }
            }
        }
        for r in 0..R {
            c[(first + r) * width + column..][..LANES].copy_from_slice(&acc[r]);
        }
    }
}

/// `C (+)= A·B`: A `[m, k]`, B `[k, width]`, C `[m, width]`. As many rows at once as the registers
/// have room for sums: with AVX2 a row of lanes is two registers of sixteen. The result does not
/// depend on it.
#[inline(always)]
fn product<T: Float>(m: usize, k: usize, width: usize, a: A<T>, b: &[T], c: &mut [T], add: bool) {
    let mut i = 0;
    if simd::has_avx512() {
        while i + 8 <= m {
            rows::<T, 8>(i, k, width, a, b, c, add);
            i += 8;
        }
    } else {
        while i + 6 <= m {
            rows::<T, 6>(i, k, width, a, b, c, add);
            i += 6;
        }
    }
    while i + 4 <= m {
        rows::<T, 4>(i, k, width, a, b, c, add);
        i += 4;
    }
    if i + 2 <= m {
        rows::<T, 2>(i, k, width, a, b, c, add);
        i += 2;
    }
    if i < m {
        rows::<T, 1>(i, k, width, a, b, c, add);
    }
}

/// Tokens `start..start + n`, columns `column..column + d` of a matrix with rows `stride` apart,
/// copied to rows of `pad(d)`.
#[inline(always)]
fn pack<T: Float>(
    src: &[T],
    stride: usize,
    start: usize,
    n: usize,
    column: usize,
    d: usize,
    out: &mut [T],
) {
    let width = pad(d);
    for i in 0..n {
        let row = &mut out[i * width..(i + 1) * width];
        row[..d].copy_from_slice(&src[(start + i) * stride + column..][..d]);
        row[d..].fill(T::ZERO);
    }
}

/// The transpose of a packed `[n, pad(d)]` matrix: `[d, pad(n)]`.
#[inline(always)]
fn transpose<T: Float>(packed: &[T], n: usize, d: usize, out: &mut [T]) {
    let (width, tall) = (pad(d), pad(n));
    for j in 0..d {
        let row = &mut out[j * tall..(j + 1) * tall];
        for i in 0..n {
            row[i] = packed[i * width + j];
        }
        row[n..].fill(T::ZERO);
    }
}

/// Multiplies a row of probabilities (or their gradients) by the dropout mask and 1/(1 − p).
#[inline(always)]
fn drop_row<T: Float>(row: &mut [T], dropout: Option<(f64, RngKey)>, head: usize, query: usize) {
    let Some((p, key)) = dropout else { return };
    let threshold = drop_threshold(p);
    let scale = if p < 1.0 { T::c(1.0 / (1.0 - p)) } else { T::ZERO };
    // `row` is padded to whole vectors, so to whole counters.
    let mut words = [[0u32; 4]; LANES / 4];
    for (chunk, out) in row.chunks_exact_mut(LANES).enumerate() {
        for (b, w) in words.iter_mut().enumerate() {
            let counter = (chunk * LANES / 4 + b) as u32;
            *w = key.block([counter, query as u32, head as u32, 1]);
        }
        for (x, &w) in out.iter_mut().zip(words.as_flattened()) {
            *x = if w as u64 >= threshold { *x * scale } else { T::ZERO };
        }
    }
}

/// One operand: its elements from its offset on, and the distance of its rows.
struct Rows<'a, T> {
    data: &'a [T],
    stride: usize,
}

impl<'a, T: Float> Rows<'a, T> {
    /// The tensor must have unit stride along its last dimension (see [`unit_columns`]).
    fn new(t: &'a Tensor) -> Self {
        let data = t.cpu_view::<T>().data;
        Rows { data: &data[t.layout.offset.min(data.len())..], stride: t.layout.strides[0] }
    }
}

/// A view whose columns lie next to each other; a copy where they do not.
fn unit_columns(t: &Tensor) -> Result<Tensor> {
    if t.layout.strides[1] == 1 { Ok(t.clone()) } else { t.copy() }
}

/// Time of one task of average length, in nanoseconds.
fn task_ns(bounds: &[usize], d: usize, products: usize) -> usize {
    let sequences = bounds.len().saturating_sub(1).max(1);
    let squares: usize = bounds.windows(2).map(|w| (w[1] - w[0]).pow(2)).sum();
    squares * d * products / 20 / sequences + 200
}

pub(crate) fn forward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    _offsets: &Tensor,
    bounds: &[usize],
    options: &Attention,
) -> Result<(Tensor, Tensor)> {
    let (tokens, hidden) = (q.shape()[0], q.shape()[1]);
    let (heads, d) = (options.heads, hidden / options.heads);
    let (q, k, v) = (unit_columns(q)?, unit_columns(k)?, unit_columns(v)?);
    dispatch_float!("attention", q.dtype(), T => {
        let (q, k, v) = (Rows::<T>::new(&q), Rows::<T>::new(&k), Rows::<T>::new(&v));
        let mut out = Output::<T>::new("attention", tokens * hidden)?;
        let mut lse = Output::<T>::new("attention", heads * tokens)?;
        let (o, l) = (SharedMut::new(out.slice_mut()), SharedMut::new(lse.slice_mut()));
        let longest = bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let width = pad(d);
        let sizes = [longest * width, d * pad(longest), BLOCK * pad(longest), BLOCK * width];
        let tasks = (bounds.len() - 1) * heads;
        let scratch = Scratch::<T>::check("attention", &sizes)?;
        parallel::run(tasks, task_ns(bounds, d, 2), &|task| {
            let (sequence, head) = (task / heads, task % heads);
            let (start, end) = (bounds[sequence], bounds[sequence + 1]);
            let n = end - start;
            if n == 0 {
                return;
            }
            let mut memory = scratch.get();
            let [vp, kt, s, op] = memory.split(sizes);
            let column = head * d;
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                // K is packed where V goes afterwards: only its transpose is needed.
                pack(k.data, k.stride, start, n, column, d, vp);
                transpose(vp, n, d, kt);
                pack(v.data, v.stride, start, n, column, d, vp);
                let tall = pad(n);
                for first in (0..n).step_by(BLOCK) {
                    let m = BLOCK.min(n - first);
                    let a = A { data: &q.data[(start + first) * q.stride + column..], row: q.stride, col: 1 };
                    product(m, d, tall, a, kt, s, false);
                    for i in 0..m {
                        let row = &mut s[i * tall..(i + 1) * tall];
                        let query = start + first + i;
                        // SAFETY: this task alone writes this head of this sequence.
                        let l = unsafe { l.slice(head * tokens + query..head * tokens + query + 1) };
                        l[0] = softmax_row(row, n, T::c(options.scale));
                        drop_row(row, options.dropout, head, query);
                    }
                    product(m, n, width, A { data: s, row: tall, col: 1 }, vp, op, false);
                    for i in 0..m {
                        let at = (start + first + i) * hidden + column;
                        // SAFETY: as above.
                        unsafe { o.slice(at..at + d) }.copy_from_slice(&op[i * width..][..d]);
                    }
                }
            });
        });
        Ok((out.into_tensor(&[tokens, hidden]), lse.into_tensor(&[heads, tokens])))
    })
}

/// Turns a row of raw scores into probabilities; returns the logarithm of the denominator. Columns
/// from `n` on become 0.
#[inline(always)]
fn softmax_row<T: Float>(row: &mut [T], n: usize, scale: T) -> T {
    for x in row.iter_mut() {
        *x *= scale;
    }
    let max = simd::reduce(&row[..n], T::NEG_INFINITY, Float::max, Float::max);
    for x in row.iter_mut() {
        *x = (*x - max).exp();
    }
    row[n..].fill(T::ZERO);
    let sum = simd::reduce(row, T::ZERO, |a, x| a + x, |a, b| a + b);
    let factor = T::ONE / sum;
    for x in row.iter_mut() {
        *x *= factor;
    }
    max + sum.ln()
}

pub(crate) fn backward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    _offsets: &Tensor,
    bounds: &[usize],
    lse: &Tensor,
    grad: &Tensor,
    options: &Attention,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (tokens, hidden) = (q.shape()[0], q.shape()[1]);
    let (heads, d) = (options.heads, hidden / options.heads);
    let (q, k, v, g) = (unit_columns(q)?, unit_columns(k)?, unit_columns(v)?, unit_columns(grad)?);
    let lse = lse.contiguous()?;
    dispatch_float!("attention", q.dtype(), T => {
        let lse = lse.cpu_slice::<T>();
        let (q, k) = (Rows::<T>::new(&q), Rows::<T>::new(&k));
        let (v, g) = (Rows::<T>::new(&v), Rows::<T>::new(&g));
        let mut outs = [
            Output::<T>::new("attention", tokens * hidden)?,
            Output::<T>::new("attention", tokens * hidden)?,
            Output::<T>::new("attention", tokens * hidden)?,
        ];
        let [dq, dk, dv] = outs.each_mut().map(|o| SharedMut::new(o.slice_mut()));
        let longest = bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let width = pad(d);
        let (flat, tall_max) = (longest * width, pad(longest));
        let sizes = [
            flat, flat, flat, d * tall_max, d * tall_max, // Q, K, dO by rows; Kᵀ, Vᵀ
            BLOCK * tall_max, BLOCK * tall_max, BLOCK * width, flat, flat, // P, dP, dQ; dK, dV
        ];
        let tasks = (bounds.len() - 1) * heads;
        let scratch = Scratch::<T>::check("attention", &sizes)?;
        let scale = T::c(options.scale);
        parallel::run(tasks, task_ns(bounds, d, 5), &|task| {
            let (sequence, head) = (task / heads, task % heads);
            let (start, end) = (bounds[sequence], bounds[sequence + 1]);
            let n = end - start;
            if n == 0 {
                return;
            }
            let (column, tall) = (head * d, pad(n));
            let mut memory = scratch.get();
            let [qp, kp, gp, kt, vt, p, dp, dqp, dkp, dvp] = memory.split(sizes);
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                pack(v.data, v.stride, start, n, column, d, qp);
                transpose(qp, n, d, vt);
                pack(q.data, q.stride, start, n, column, d, qp);
                pack(k.data, k.stride, start, n, column, d, kp);
                transpose(kp, n, d, kt);
                pack(g.data, g.stride, start, n, column, d, gp);
                for first in (0..n).step_by(BLOCK) {
                    let m = BLOCK.min(n - first);
                    let block = |x| A { data: x, row: width, col: 1 };
                    product(m, d, tall, block(&qp[first * width..]), kt, p, false);
                    product(m, d, tall, block(&gp[first * width..]), vt, dp, false);
                    for i in 0..m {
                        let query = start + first + i;
                        let p = &mut p[i * tall..(i + 1) * tall];
                        let dp = &mut dp[i * tall..(i + 1) * tall];
                        let l = lse[head * tokens + query];
                        for x in p.iter_mut() {
                            *x = (*x * scale - l).exp();
                        }
                        p[n..].fill(T::ZERO);
                        drop_row(dp, options.dropout, head, query);
                        // Σ dP·P, then dS into dp.
                        let mut lanes = [T::ZERO; LANES];
                        for (x, y) in p.chunks_exact(LANES).zip(dp.chunks_exact(LANES)) {
                            for l in 0..LANES {
                                lanes[l] += x[l] * y[l];
                            }
                        }
                        let dot = simd::reduce(&lanes, T::ZERO, |a, x| a + x, |a, b| a + b);
                        for j in 0..tall {
                            dp[j] = p[j] * (dp[j] - dot) * scale;
                        }
                        drop_row(p, options.dropout, head, query);
                    }
                    let add = first > 0;
                    product(m, n, width, A { data: dp, row: tall, col: 1 }, kp, dqp, false);
                    for i in 0..m {
                        let at = (start + first + i) * hidden + column;
                        // SAFETY: this task alone writes this head of this sequence.
                        unsafe { dq.slice(at..at + d) }.copy_from_slice(&dqp[i * width..][..d]);
                    }
                    product(n, m, width, A { data: dp, row: 1, col: tall }, &qp[first * width..], dkp, add);
                    product(n, m, width, A { data: p, row: 1, col: tall }, &gp[first * width..], dvp, add);
                }
                for i in 0..n {
                    let at = (start + i) * hidden + column;
                    // SAFETY: as above.
                    unsafe {
                        dk.slice(at..at + d).copy_from_slice(&dkp[i * width..][..d]);
                        dv.slice(at..at + d).copy_from_slice(&dvp[i * width..][..d]);
                    }
                }
            });
        });
        let [dq, dk, dv] = outs.map(|o| o.into_tensor(&[tokens, hidden]));
        Ok((dq, dk, dv))
    })
}

/// Working memory of the tasks, one block each, from the pool.
struct Scratch<T> {
    len: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Float> Scratch<T> {
    /// Fails now, where an error can be returned, if a task's memory cannot be had.
    fn check(op: &'static str, sizes: &[usize]) -> Result<Self> {
        let len = sizes.iter().sum();
        Output::<T>::new(op, len)?;
        Ok(Scratch { len, element: std::marker::PhantomData })
    }

    fn get(&self) -> Memory<T> {
        Memory(Output::new("attention", self.len).expect("as much was available a moment ago"))
    }
}

struct Memory<T>(Output<T>);

impl<T: Float> Memory<T> {
    fn split<const N: usize>(&mut self, sizes: [usize; N]) -> [&mut [T]; N] {
        let mut rest = self.0.slice_mut();
        sizes.map(|size| rest.split_off_mut(..size).expect("the sizes add up to the memory"))
    }
}
