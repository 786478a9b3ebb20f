//! Attention over packed sequences, forward and backward.
//!
//! Forward, per sequence and head, over blocks of query rows:
//!   S = Q·Kᵀ·scale;  L = ln Σeˢ;  P = e^(S − L);  O = dropout(P)·V
//! Backward (Dao et al., arXiv:2205.14135, recomputing P from L):
//!   dV = dropout(P)ᵀ·dO;  dP = dropout(dO·Vᵀ);  dS = P·(dP − Σ dP·P)·scale;
//!   dQ = dS·K;  dK = dSᵀ·Q
//!
//! Shapes: Q, K, V, O `[tokens, heads·d]`, any row stride; L `[heads, tokens]`; dQ, dK and dV in one tensor,
//! one after another or side by side.
//! A task is one sequence and one head: it alone writes its block of every output. It copies its
//! operands into small contiguous matrices (rows padded to whole vectors), and all products run on
//! one register-blocked kernel, `C += A·B` with B's rows in vectors.
//! Sums run over k in ascending order and are then added to C; softmax subtracts the row's maximum.

use super::math::Float;
use super::matmul::Mat;
#[cfg(target_arch = "x86_64")]
use super::packed;
use super::parallel::{self, SharedMut};
use super::simd::{self, LANES};
use crate::ops::attention::{Attention, GradientLayout};
use crate::random::{self, RngKey, least_kept};
use crate::sizes;
use crate::storage::Output;
use crate::{DType, Result, Tensor, dispatch_float};

/// Query rows handled at once: bounds the scores kept to `BLOCK × length`, which for 128 tokens fit the
/// first cache. A multiple of the rows of a tile.
const BLOCK: usize = 48;

/// The random word of one attention probability: query token (in the batch), key token (in the
/// sequence), head.
#[inline(always)]
pub(crate) fn word(key: RngKey, head: usize, query: usize, k: usize) -> u32 {
    key.block([(k / 4) as u32, query as u32, head as u32, 1])[k % 4]
}

fn pad(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// `R` rows of `C (+)= A·B`, all columns; B and C have rows of `width` elements, whole vectors.
///
/// # Safety
/// `a` is valid for reading at `r·row + i·col` for `r < R`, `i < k`; `b` for `k` rows of `width`
/// elements, `c` for reading and writing `R` of them.
#[inline(always)]
unsafe fn rows<T: Float, const R: usize>(
    k: usize,
    width: usize,
    a: *const T,
    (row, col): (usize, usize),
    b: *const T,
    c: *mut T,
    add: bool,
) {
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        for column in (0..width).step_by(LANES) {
            let lanes = |r: usize| c.add(r * width + column).cast::<[T; LANES]>();
            let (mut a, mut b) = (a, b.add(column));
            let mut acc = [[T::ZERO; LANES]; R];
            for _ in 0..k {
                let y = b.cast::<[T; LANES]>().read();
                for r in 0..R {
                    let x = *a.add(r * row);
                    for l in 0..LANES {
                        acc[r][l] = x.mul_add(y[l], acc[r][l]);
                    }
                }
                (a, b) = (a.wrapping_add(col), b.wrapping_add(width));
            }
            for r in 0..R {
                if add {
                    let before = lanes(r).read();
                    for l in 0..LANES {
                        acc[r][l] = before[l] + acc[r][l];
                    }
                }
                lanes(r).write(acc[r]);
            }
        }
    }
}

/// `C (+)= A·B`: A `[m, k]`, B `[k, width]`, C `[m, width]`. On x86 f32 goes to the tiles of [`super::packed`]; the
/// result does not depend on it.
#[inline(always)]
fn product<T: Float>(m: usize, k: usize, width: usize, a: Mat<T>, b: &[T], c: &mut [T], add: bool) {
    #[cfg(target_arch = "x86_64")]
    if T::DTYPE == DType::F32
        && let Some(isa) = packed::Isa::detect()
    {
        let a = Mat { data: bytemuck::cast_slice(a.data), row: a.row, col: a.col };
        let (b, c) = (bytemuck::cast_slice(b), bytemuck::cast_slice_mut(c));
        return packed::small(isa, (m, k, width), a, b, c, add);
    }
    assert!(m > 0 && k > 0 && width.is_multiple_of(LANES), "whole vectors, and some");
    a.check(m, k);
    assert!(b.len() >= k * width && c.len() >= m * width, "B and C hold their rows");
    let mut i = 0;
    macro_rules! rows_by {
        ($r:literal) => {{
            // SAFETY: rows i..i + r lie inside A and C, all of B inside its slice (asserted above).
            unsafe {
                let (a_row, c_row) =
                    (a.data.as_ptr().add(i * a.row), c.as_mut_ptr().add(i * width));
                rows::<T, $r>(k, width, a_row, (a.row, a.col), b.as_ptr(), c_row, add);
            }
            i += $r;
        }};
    }
    while i + 6 <= m {
        rows_by!(6);
    }
    while i + 4 <= m {
        rows_by!(4);
    }
    if i + 2 <= m {
        rows_by!(2);
    }
    if i < m {
        rows_by!(1);
    }
    assert_eq!(i, m);
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

/// The transpose of what [`pack`] copies: `[d, pad(n)]`.
#[inline(always)]
fn transpose<T: Float>(
    src: &[T],
    stride: usize,
    start: usize,
    n: usize,
    column: usize,
    d: usize,
    out: &mut [T],
) {
    let (src, tall) = (&src[start * stride + column..], pad(n));
    #[cfg(target_arch = "x86_64")]
    let (done_n, done_d) = super::packed::transpose_blocks(src, stride, n, d, out, tall);
    #[cfg(not(target_arch = "x86_64"))]
    let (done_n, done_d) = (0, 0);
    for j in 0..d {
        let row = &mut out[j * tall..(j + 1) * tall];
        for i in if j < done_d { done_n } else { 0 }..n {
            row[i] = src[i * stride + j];
        }
        row[n..].fill(T::ZERO);
    }
}

/// Dropout of one head's probabilities.
struct Dropped<T> {
    /// The least word that is kept; `None` where every element is dropped.
    least: Option<u32>,
    scale: T,
    key: RngKey,
    head: u32,
}

impl<T: Float> Dropped<T> {
    fn new((p, key): (f64, RngKey), head: usize) -> Self {
        let least = least_kept(p);
        let scale = if least.is_some() { T::c(1.0 / (1.0 - p)) } else { T::ZERO };
        Dropped { least, scale, key, head: head as u32 }
    }

    /// Calls `body(first, words)` for every vector of a row of `len` elements: whole vectors, so whole
    /// counters.
    #[inline(always)]
    fn words(&self, len: usize, query: usize, mut body: impl FnMut(usize, &[u32; LANES])) {
        const PIECE: usize = 4 * LANES;
        let mut words = [0u32; PIECE];
        for first in (0..len).step_by(PIECE) {
            let words = &mut words[..PIECE.min(len - first)];
            let counter = (first / 4) as u64 | (query as u64) << 32;
            random::words(self.key, counter, [self.head, 1], words);
            for (i, words) in words.as_chunks::<LANES>().0.iter().enumerate() {
                body(first + i * LANES, words);
            }
        }
    }

    /// Multiplies a row by the mask and 1/(1 − p).
    #[inline(always)]
    fn apply(&self, row: &mut [T], query: usize) {
        let Some(least) = self.least else { return row.fill(T::ZERO) };
        self.words(
            row.len(),
            query,
            #[inline(always)]
            |first, words| {
                let row = &mut row[first..first + LANES];
                for l in 0..LANES {
                    let scaled = row[l] * self.scale; // outside the branch, so that the loop vectorises
                    row[l] = if words[l] >= least { scaled } else { T::ZERO };
                }
            },
        );
    }

    /// [`apply`](Self::apply) to a row of gradients, and marks in `p` what was dropped by a minus:
    /// probabilities have none, and so the words are made once for both.
    #[inline(always)]
    fn apply_and_mark(&self, gradients: &mut [T], p: &mut [T], query: usize) {
        let Some(least) = self.least else {
            gradients.fill(T::ZERO);
            return p.iter_mut().for_each(|p| *p = -*p);
        };
        self.words(
            p.len(),
            query,
            #[inline(always)]
            |first, words| {
                let (g, p) = (&mut gradients[first..first + LANES], &mut p[first..first + LANES]);
                for l in 0..LANES {
                    let (scaled, minus) = (g[l] * self.scale, -p[l]);
                    g[l] = if words[l] >= least { scaled } else { T::ZERO };
                    p[l] = if words[l] >= least { p[l] } else { minus };
                }
            },
        );
    }
}

/// One operand: its elements from its offset on, and the distance of its rows.
struct Rows<'a, T> {
    data: &'a [T],
    stride: usize,
}

impl<'a, T: Float> Rows<'a, T> {
    /// The tensor must have unit stride along its last dimension (see [`Tensor::unit_columns`]).
    fn new(t: &'a Tensor) -> Self {
        let data = t.cpu_view::<T>().data;
        Rows { data: &data[t.layout.offset.min(data.len())..], stride: t.layout.strides[0] }
    }
}

/// Time of one task of average length, in nanoseconds.
fn task_ns(bounds: &[usize], d: usize, products: usize) -> usize {
    let sequences = bounds.len().saturating_sub(1).max(1);
    let square = |w: &[usize]| sizes::work(&[w[1] - w[0], w[1] - w[0]]);
    let squares = bounds.windows(2).map(square).fold(0, usize::saturating_add);
    sizes::work(&[squares, d, products]) / 20 / sequences + 200
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
    if tokens == 0 {
        let lse = Tensor::zeros(&[heads, 0], q.dtype())?;
        return Ok((Tensor::zeros(q.shape(), q.dtype())?, lse));
    }
    let (q, k, v) = (q.unit_columns()?, k.unit_columns()?, v.unit_columns()?);
    dispatch_float!("attention", q.dtype(), T => {
        let (q, k, v) = (Rows::<T>::new(&q), Rows::<T>::new(&k), Rows::<T>::new(&v));
        let mut out = Output::<T>::new("attention", &[tokens, hidden])?;
        let mut lse = Output::<T>::new("attention", &[heads, tokens])?;
        let (o, l) = (SharedMut::new(out.slice_mut()), SharedMut::new(lse.slice_mut()));
        let longest = bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let width = pad(d);
        sizes::numel("attention", &[pad(longest) + BLOCK, width])?;
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
            let dropped = options.dropout.map(|dropout| Dropped::<T>::new(dropout, head));
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                transpose(k.data, k.stride, start, n, column, d, kt);
                pack(v.data, v.stride, start, n, column, d, vp);
                let tall = pad(n);
                for first in (0..n).step_by(BLOCK) {
                    let m = BLOCK.min(n - first);
                    let a = Mat { data: &q.data[(start + first) * q.stride + column..], row: q.stride, col: 1 };
                    product(m, d, tall, a, kt, s, false);
                    for i in 0..m {
                        let row = &mut s[i * tall..(i + 1) * tall];
                        let query = start + first + i;
                        // SAFETY: this task alone writes this head of this sequence.
                        let l = unsafe { l.slice(head * tokens + query..head * tokens + query + 1) };
                        l[0] = softmax_row(row, n, T::c(options.scale));
                        if let Some(dropped) = &dropped {
                            dropped.apply(row, query);
                        }
                    }
                    product(m, n, width, Mat { data: s, row: tall, col: 1 }, vp, op, false);
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
    let max = T::largest(row[..n].iter().map(
        #[inline(always)]
        |&x| x * scale,
    ));
    for x in row.iter_mut() {
        *x = (*x * scale - max).exp();
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
    layout: GradientLayout,
) -> Result<Tensor> {
    let (tokens, hidden) = (q.shape()[0], q.shape()[1]);
    let (heads, d) = (options.heads, hidden / options.heads);
    if tokens == 0 {
        return Tensor::zeros(&[0], q.dtype());
    }
    let (q, k, v, g) =
        (q.unit_columns()?, k.unit_columns()?, v.unit_columns()?, grad.unit_columns()?);
    let lse = lse.contiguous()?;
    dispatch_float!("attention", q.dtype(), T => {
        let lse = lse.cpu_slice::<T>();
        let (q, k) = (Rows::<T>::new(&q), Rows::<T>::new(&k));
        let (v, g) = (Rows::<T>::new(&v), Rows::<T>::new(&g));
        let mut out = Output::<T>::new("attention", &[3, tokens, hidden])?;
        let grads = SharedMut::new(out.slice_mut());
        let longest = bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let width = pad(d);
        sizes::numel("attention", &[pad(longest) + BLOCK, width])?;
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
            let dropped = options.dropout.map(|dropout| Dropped::<T>::new(dropout, head));
            let mut memory = scratch.get();
            let [qp, kp, gp, kt, vt, p, dp, dqp, dkp, dvp] = memory.split(sizes);
            simd::dispatch::<true, T, _>(#[inline(always)] || {
                transpose(v.data, v.stride, start, n, column, d, vt);
                pack(q.data, q.stride, start, n, column, d, qp);
                pack(k.data, k.stride, start, n, column, d, kp);
                transpose(k.data, k.stride, start, n, column, d, kt);
                pack(g.data, g.stride, start, n, column, d, gp);
                for first in (0..n).step_by(BLOCK) {
                    let m = BLOCK.min(n - first);
                    let block = |x| Mat { data: x, row: width, col: 1 };
                    product(m, d, tall, block(&qp[first * width..]), kt, p, false);
                    product(m, d, tall, block(&gp[first * width..]), vt, dp, false);
                    for i in 0..m {
                        let query = start + first + i;
                        let p = &mut p[i * tall..(i + 1) * tall];
                        let dp = &mut dp[i * tall..(i + 1) * tall];
                        let l = lse[head * tokens + query];
                        for x in p.iter_mut() {
                            *x = Float::exp(*x * scale - l); // the method would be the library's
                        }
                        p[n..].fill(T::ZERO);
                        if let Some(dropped) = &dropped {
                            dropped.apply_and_mark(dp, p, query);
                        }
                        // Σ dP·P, then dS into dp and dropout(P) into p.
                        let dot = simd::reduce2(p, dp, T::ZERO, |sum, p, dp| sum + Float::abs(p) * dp, |a, b| a + b);
                        for (p, dp) in p.iter_mut().zip(dp.iter_mut()) {
                            *dp = Float::abs(*p) * (*dp - dot) * scale;
                        }
                        if let Some(dropped) = &dropped {
                            for p in p.iter_mut() {
                                let scaled = *p * dropped.scale;
                                *p = if *p < T::ZERO { T::ZERO } else { scaled };
                            }
                        }
                    }
                    let add = first > 0;
                    product(m, n, width, Mat { data: dp, row: tall, col: 1 }, kp, dqp, false);
                    for i in 0..m {
                        let at = (start + first + i) * layout.row + column;
                        // SAFETY: this task alone writes this head of this sequence.
                        unsafe { grads.slice(at..at + d) }.copy_from_slice(&dqp[i * width..][..d]);
                    }
                    product(n, m, width, Mat { data: dp, row: 1, col: tall }, &qp[first * width..], dkp, add);
                    product(n, m, width, Mat { data: p, row: 1, col: tall }, &gp[first * width..], dvp, add);
                }
                for i in 0..n {
                    let dk = layout.part + (start + i) * layout.row + column;
                    let dv = layout.part + dk;
                    // SAFETY: as above.
                    unsafe {
                        grads.slice(dk..dk + d).copy_from_slice(&dkp[i * width..][..d]);
                        grads.slice(dv..dv + d).copy_from_slice(&dvp[i * width..][..d]);
                    }
                }
            });
        });
        Ok(out.into_tensor(&[3 * tokens * hidden]))
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
        Output::<T>::new(op, &[len])?;
        Ok(Scratch { len, element: std::marker::PhantomData })
    }

    fn get(&self) -> Memory<T> {
        Memory(Output::new("attention", &[self.len]).expect("as much was available a moment ago"))
    }
}

struct Memory<T>(Output<T>);

impl<T: Float> Memory<T> {
    fn split<const N: usize>(&mut self, sizes: [usize; N]) -> [&mut [T]; N] {
        let mut rest = self.0.slice_mut();
        sizes.map(|size| rest.split_off_mut(..size).expect("the sizes add up to the memory"))
    }
}
