//! `y[o, i] = finish(join of map(x[o, r, i]) over r)` for `x [outer, n, inner]`, all merged dimensions.
//!
//! Any view is brought to this form: without a copy where its dimensions, in the order of memory,
//! read kept–reduced–kept (each part may be missing), else by a copy with the reduced ones last.
//!
//! Split: r into blocks of [`BLOCK`]; a task takes some blocks of some outputs. `inner = 1` reduces
//! rows along memory; `inner > 1` (the bias gradient `[tokens, hidden] → [hidden]`) walks down tiles
//! of [`TILE`] columns with the accumulators in the first-level cache.
//!
//! Order of reduction: in a block, element r goes to lane r mod 16 and the lanes join pairwise
//! ([`simd::reduce`]); the blocks' results are combined the same way, again in blocks. The order is the same for both
//! forms, so it depends on n alone: not on the strides, nor on the threads.
//!
//! Numerics: accumulated in the dtype itself (u8 in u32). The rounding error of a sum is that of 64 additions, and
//! of eight more for each factor of 128 beyond 1024. Means are sums of distances from the first element: of equal elements they are that element, and
//! far from 0 no digits are lost. The variance takes the mean in a first pass, and what its rounding adds (n times its
//! square) away again (Chan, Golub & LeVeque, The American Statistician 37, 1983); log-sum-exp takes the maximum.

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd::{self, LANES};
use crate::dtype::Element;
use crate::layout::Layout;
use crate::ops::reduce::ReduceOp;
use crate::storage::Output;
use crate::{DType, Result, Tensor, dispatch_float, dispatch_number};

/// Elements of the reduced dimension that are combined at a time.
const BLOCK: usize = simd::BLOCK;
/// Blocks whose results are combined at a time.
const PARTS: usize = 128;
/// Columns that are reduced side by side.
const TILE: usize = 128;

/// Nanoseconds an element.
const CHEAP: f64 = 0.1;
const EXP: f64 = 0.5;

/// The dtypes that can be reduced, with their accumulator.
trait Number: Element {
    type Sum: Element;
    const ZERO: Self::Sum;
    const ONE: Self::Sum;
    const LOWEST: Self;
    const HIGHEST: Self;
    fn widen(self) -> Self::Sum;
    fn add(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    fn mul(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
    fn nan(self) -> bool;
}
macro_rules! number {
    (float: $($t:ty)*) => {$(impl Number for $t {
        type Sum = $t;
        const ZERO: $t = 0.0;
        const ONE: $t = 1.0;
        const LOWEST: $t = <$t>::NEG_INFINITY;
        const HIGHEST: $t = <$t>::INFINITY;
        #[inline(always)]
        fn widen(self) -> $t { self }
        #[inline(always)]
        fn add(a: $t, b: $t) -> $t { a + b }
        #[inline(always)]
        fn mul(a: $t, b: $t) -> $t { a * b }
        #[inline(always)]
        fn larger(self, other: $t) -> $t { Float::max(self, other) }
        #[inline(always)]
        fn smaller(self, other: $t) -> $t { Float::min(self, other) }
        #[inline(always)]
        fn nan(self) -> bool { self.is_nan() }
    })*};
    (integer: $($t:ty)*) => {$(impl Number for $t {
        type Sum = u32;
        const ZERO: u32 = 0;
        const ONE: u32 = 1;
        const LOWEST: $t = <$t>::MIN;
        const HIGHEST: $t = <$t>::MAX;
        #[inline(always)]
        fn widen(self) -> u32 { self as u32 }
        #[inline(always)]
        fn add(a: u32, b: u32) -> u32 { a.wrapping_add(b) }
        #[inline(always)]
        fn mul(a: u32, b: u32) -> u32 { a.wrapping_mul(b) }
        #[inline(always)]
        fn larger(self, other: $t) -> $t { Ord::max(self, other) }
        #[inline(always)]
        fn smaller(self, other: $t) -> $t { Ord::min(self, other) }
        #[inline(always)]
        fn nan(self) -> bool { false }
    })*};
}
number!(float: f32 f64);
number!(integer: u32 u8);

/// An input brought to `[outer, n, inner]`, row-major.
struct Nest {
    x: Tensor,
    outer: usize,
    n: usize,
    inner: usize,
}

impl Nest {
    /// `dims` are resolved, and `x` has elements.
    fn new(x: &Tensor, dims: &[usize], n: usize) -> Result<Nest> {
        let Layout { shape, strides, offset } = &x.layout;
        let mut order: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(strides[d]));
        let flat = Layout {
            shape: order.iter().map(|&d| shape[d]).collect(),
            strides: order.iter().map(|&d| strides[d]).collect(),
            offset: *offset,
        };
        // Kept dimensions must come out in their order; reduced ones too, lest the order of
        // summation depend on the strides.
        let (reduced, kept): (Vec<usize>, Vec<usize>) =
            order.iter().partition(|d| dims.contains(d));
        if flat.is_contiguous() && kept.is_sorted() && reduced.is_sorted() {
            let runs: Vec<bool> = order.iter().map(|d| dims.contains(d)).collect();
            let first = runs.iter().position(|&r| r).unwrap_or(runs.len());
            let last = first + runs[first..].iter().position(|&r| !r).unwrap_or(runs.len() - first);
            if !runs[last..].contains(&true) {
                let outer = flat.shape[..first].iter().product();
                let inner = flat.shape[last..].iter().product();
                return Ok(Nest { x: x.view(flat), outer, n, inner });
            }
        }
        let kept_first = (0..shape.len()).filter(|d| !dims.contains(d)).chain(dims.iter().copied());
        let order: Vec<isize> = kept_first.map(|d| d as isize).collect();
        Ok(Nest { x: x.permute(&order)?.contiguous()?, outer: x.numel() / n, n, inner: 1 })
    }

    /// Reduces in blocks, combines the blocks. `params` holds one value for each output. `HEAVY`: the
    /// map is worth wider registers and a loop of its own (an exponential), at [`EXP`] an element.
    fn reduce<const HEAVY: bool, T: Element, P: Copy + Sync, A: Element>(
        &self,
        op: &'static str,
        params: &[P],
        identity: A,
        map: impl Fn(T, P) -> A + Copy + Sync + Send,
        join: impl Fn(A, A) -> A + Copy + Sync + Send,
    ) -> Result<Output<A>> {
        let Nest { outer, n, inner, .. } = *self;
        let xs = self.x.cpu_slice::<T>();
        let blocks = n.div_ceil(BLOCK);
        let mut parts = Output::<A>::new(op, &[outer, blocks, inner])?;
        let slice = parts.slice_mut();
        level::<HEAVY, _, _, _>(xs, [outer, n, inner], BLOCK, params, slice, identity, map, join);
        let (mut left, none) = (blocks, vec![(); outer * inner]);
        while left > 1 {
            let shape = [outer, left, inner];
            left = left.div_ceil(PARTS);
            let mut out = Output::<A>::new(op, &[outer, left, inner])?;
            let (all, slice) = (parts.slice_mut(), out.slice_mut());
            level::<false, _, _, _>(all, shape, PARTS, &none, slice, identity, same::<A>, join);
            parts = out;
        }
        Ok(parts)
    }

    /// The first element of each output as a centre: what is taken from all elements leaves small numbers, and none of a
    /// constant. 0 instead of what is not finite.
    fn first<T: Float>(&self) -> Vec<T> {
        let xs = self.x.cpu_slice::<T>();
        let rows = xs.chunks_exact(self.n * self.inner);
        let finite = |x: T| if x.to_f64().is_finite() { x } else { <T as Float>::ZERO };
        rows.flat_map(|row| row[..self.inner].iter().map(|&x| finite(x))).collect()
    }

    /// [`Nest::reduce`] without a value for each output.
    fn plain<T: Element, A: Element>(
        &self,
        op: &'static str,
        identity: A,
        map: impl Fn(T, ()) -> A + Copy + Sync + Send,
        join: impl Fn(A, A) -> A + Copy + Sync + Send,
    ) -> Result<Output<A>> {
        let none = vec![(); self.outer * self.inner];
        self.reduce::<false, _, _, _>(op, &none, identity, map, join)
    }
}

/// The map of a reduction of the elements themselves. One function, not a closure each time: every
/// reduction with one `join` is then the same code.
#[inline(always)]
fn same<T>(x: T, (): ()) -> T {
    x
}

#[inline(always)]
fn widen<T: Number>(x: T, (): ()) -> T::Sum {
    x.widen()
}

/// `y[i] = f(y[i], params[i])`: what is left to do with what the reduction gathered.
fn finish<T: Element, P: Copy + Sync>(
    mut out: Output<T>,
    params: &[P],
    f: impl Fn(T, P) -> T + Copy + Sync + Send,
) -> Tensor {
    let ys = out.slice_mut();
    parallel::rows_ragged(ys, 16 * 1024, EXP, |first, ys| {
        for (y, &p) in ys.iter_mut().zip(&params[first..]) {
            *y = f(*y, p);
        }
    });
    flat(out)
}

fn flat<T: Element>(mut out: Output<T>) -> Tensor {
    let len = out.slice_mut().len();
    out.into_tensor(&[len])
}

/// Reduces every block of `block` elements of `xs [outer, n, inner]`: `out [outer, blocks, inner]`.
fn level<const HEAVY: bool, T: Element, P: Copy + Sync, A: Element>(
    xs: &[T],
    [outer, n, inner]: [usize; 3],
    block: usize,
    params: &[P],
    out: &mut [A],
    identity: A,
    map: impl Fn(T, P) -> A + Copy + Sync + Send,
    join: impl Fn(A, A) -> A + Copy + Sync + Send,
) {
    let ns = if HEAVY { EXP } else { CHEAP };
    let blocks = n.div_ceil(block);
    // The elements r of block q % blocks of outer index q / blocks.
    let place = |q: usize| (q / blocks, q % blocks * block, n.min((q % blocks + 1) * block));
    if inner == 1 {
        let per_task = parallel::rows_per_task(block.min(n));
        parallel::rows(out, 1, per_task, block.min(n) as f64 * ns, |first, out| {
            simd::dispatch::<HEAVY, T, _>(
                #[inline(always)]
                || {
                    for (q, y) in (first..).zip(out) {
                        let (o, from, to) = place(q);
                        let p = params[o];
                        let xs = &xs[o * n + from..o * n + to];
                        *y = if HEAVY {
                            simd::map_reduce(
                                xs,
                                identity,
                                #[inline(always)]
                                |x| map(x, p),
                                join,
                            )
                        } else {
                            simd::reduce(
                                xs,
                                identity,
                                #[inline(always)]
                                |a, x| join(a, map(x, p)),
                                join,
                            )
                        };
                    }
                },
            );
        });
        return;
    }
    let tiles = inner.div_ceil(TILE);
    let task_elements = block.min(n) * inner.min(TILE);
    let per_task = parallel::rows_per_task(task_elements);
    let shared = SharedMut::new(out);
    parallel::ranges(outer * blocks * tiles, per_task, task_elements as f64 * ns, |tasks| {
        simd::dispatch::<HEAVY, T, _>(
            #[inline(always)]
            || {
                let mut lanes = [[identity; TILE]; LANES];
                for task in tasks {
                    let (q, tile) = (task / tiles, task % tiles);
                    let (o, from, to) = place(q);
                    let (first, width) = (tile * TILE, TILE.min(inner - tile * TILE));
                    let used = LANES.min(to - from);
                    for lane in &mut lanes[..used] {
                        lane[..width].fill(identity);
                    }
                    let p = &params[o * inner + first..][..width];
                    for r in from..to {
                        let row = &xs[(o * n + r) * inner + first..][..width];
                        let lane = &mut lanes[(r - from) % LANES][..width];
                        for j in 0..width {
                            lane[j] = join(lane[j], map(row[j], p[j]));
                        }
                    }
                    let mut half = LANES / 2;
                    while half > 0 {
                        let (low, high) = lanes.split_at_mut(half);
                        for (low, high) in
                            low.iter_mut().zip(&high[..half.min(used.saturating_sub(half))])
                        {
                            for j in 0..width {
                                low[j] = join(low[j], high[j]);
                            }
                        }
                        half /= 2;
                    }
                    let at = q * inner + first;
                    // SAFETY: each (q, tile) belongs to one task.
                    let out = unsafe { shared.slice(at..at + width) };
                    out.copy_from_slice(&lanes[0][..width]);
                }
            },
        );
    });
}

/// Refuses the dtypes that `op` cannot compute on.
pub(crate) fn check_dtype(op: ReduceOp, dtype: DType) -> Result<()> {
    match op {
        ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => {
            dispatch_number!(op.name(), dtype, T => { let _ = T::DTYPE; Ok(()) })
        }
        ReduceOp::Mean | ReduceOp::Var { .. } | ReduceOp::LogSumExp => {
            dispatch_float!(op.name(), dtype, T => { let _ = T::DTYPE; Ok(()) })
        }
    }
}

/// Reduces `dims` (resolved), which hold `n > 0` elements. `x` has elements. The result is flat.
pub(crate) fn forward(x: &Tensor, op: ReduceOp, dims: &[usize], n: usize) -> Result<Tensor> {
    let nest = Nest::new(x, dims, n)?;
    let name = op.name();
    match op {
        ReduceOp::Sum => dispatch_number!(name, x.dtype(), T => {
            Ok(flat(nest.plain(name, <T as Number>::ZERO, widen::<T>, T::add)?))
        }),
        ReduceOp::Prod => dispatch_number!(name, x.dtype(), T => {
            Ok(flat(nest.plain(name, <T as Number>::ONE, widen::<T>, T::mul)?))
        }),
        ReduceOp::Max => dispatch_number!(name, x.dtype(), T => {
            Ok(flat(nest.plain(name, T::LOWEST, same::<T>, T::larger)?))
        }),
        ReduceOp::Min => dispatch_number!(name, x.dtype(), T => {
            Ok(flat(nest.plain(name, T::HIGHEST, same::<T>, T::smaller)?))
        }),
        ReduceOp::Mean => dispatch_float!(name, x.dtype(), T => {
            let mut centres = nest.first::<T>();
            // Lest a distance be infinite where the sum is not.
            centres.iter_mut().filter(|c| !(**c + **c).is_finite()).for_each(|c| *c = <T as Float>::ZERO);
            Ok(finish(distances(&nest, name, &centres)?, &centres, |d, c| c + d))
        }),
        ReduceOp::Var { correction } => dispatch_float!(name, x.dtype(), T => {
            let centres = nest.first::<T>();
            let mut distances = distances(&nest, name, &centres)?;
            // Each mean, and what rounding left of it.
            let means: Vec<(T, T)> = centres
                .iter()
                .zip(distances.slice_mut())
                .map(|(&c, &mut d)| (c + d, (c - (c + d)) + d))
                .collect();
            let (count, divisor) = (T::c(n as f64), T::c(n.saturating_sub(correction) as f64));
            let sum = nest.reduce::<false, _, _, _>(name, &means, <T as Float>::ZERO, #[inline(always)] |x: T, (m, _): (T, T)| (x - m) * (x - m), <T as Number>::add)?;
            Ok(finish(sum, &means, |a, (_, left)| {
                simd::without(a, count * left * left) / divisor
            }))
        }),
        ReduceOp::LogSumExp => dispatch_float!(name, x.dtype(), T => {
            let finite = |m: T| if m.is_finite() { m } else { <T as Float>::ZERO };
            let mut max = nest.plain(name, T::NEG_INFINITY, same::<T>, T::larger)?;
            max.slice_mut().iter_mut().for_each(|m| *m = finite(*m));
            let sum = nest.reduce::<true, _, _, _>(name, max.slice_mut(), <T as Float>::ZERO, #[inline(always)] |x: T, m: T| Float::exp(x - m), <T as Number>::add)?;
            Ok(finish(sum, max.slice_mut(), |a, m| Float::ln(a) + m))
        }),
    }
}

/// The mean distance of the elements of each output from its centre.
fn distances<T: Float + Number<Sum = T>>(
    nest: &Nest,
    op: &'static str,
    centres: &[T],
) -> Result<Output<T>> {
    let n = T::c(nest.n as f64);
    let zero = <T as Float>::ZERO;
    let mut sum = nest.reduce::<false, _, _, _>(
        op,
        centres,
        zero,
        #[inline(always)]
        |x: T, c: T| x - c,
        <T as Number>::add,
    )?;
    sum.slice_mut().iter_mut().for_each(|sum| *sum = *sum / n);
    Ok(sum)
}

/// The index of the first extremum along the last dimension, which is not empty; NaN is the
/// extremum if there is one. Two passes: the value in vector lanes, then where it is.
pub(crate) fn arg_extremum(op: &'static str, x: &Tensor, largest: bool) -> Result<Tensor> {
    let n = x.shape().last().copied().unwrap_or(1);
    let x = x.contiguous()?;
    dispatch_number!(op, x.dtype(), T => {
        let xs = x.cpu_slice::<T>();
        let mut out = Output::<u32>::new(op, &[xs.len() / n])?;
        let ns = n as f64 * 2.0 * CHEAP;
        parallel::rows(out.slice_mut(), 1, parallel::rows_per_task(n), ns, |first, out| {
            simd::dispatch::<false, T, _>(#[inline(always)] || {
                for (row, y) in (first..).zip(out) {
                    let xs = &xs[row * n..(row + 1) * n];
                    let best = if largest {
                        simd::reduce(xs, T::LOWEST, T::larger, T::larger)
                    } else {
                        simd::reduce(xs, T::HIGHEST, T::smaller, T::smaller)
                    };
                    let found = xs.iter().position(|&x| if best.nan() { x.nan() } else { x == best });
                    *y = found.unwrap_or(0) as u32;
                }
            });
        });
        Ok(out.into_tensor(&[xs.len() / n]))
    })
}
