//! `y[o, i] = finish(join of map(x[o, r, i]) over r)` for `x [outer, n, inner]`, all merged
//! dimensions.
//!
//! Any view is brought to this form: without a copy where its dimensions, in the order of memory,
//! read kept–reduced–kept (each part may be missing), else by a copy with the reduced ones last.
//!
//! Split: r into blocks of [`BLOCK`]; a task takes some blocks of some outputs. `inner = 1` reduces
//! rows along memory; `inner > 1` (the bias gradient `[tokens, hidden] → [hidden]`) walks down
//! tiles of [`TILE`] columns with the accumulators in the first-level cache.
//!
//! Order of reduction: in a block, element r goes to lane r mod 16 and the lanes join pairwise
//! ([`simd::reduce`]); the blocks' results are combined the same way, again in blocks. Both forms
//! have the same order, so it depends on n alone: not on the strides, nor on the threads.
//!
//! Numerics: accumulated in the dtype itself (u8 in u32). The rounding error of a sum is that of 64
//! additions, and of eight more for each factor of 128 beyond 1024. Means are sums of distances
//! from the first element: the mean of equal elements is that element, and far from 0 no digits are
//! lost. The variance computes the mean in a first pass and subtracts what the mean's rounding
//! error adds, n times its square (Chan, Golub & LeVeque, The American Statistician 37, 1983);
//! log-sum-exp computes the maximum in a first pass.

use std::ops::Range;

use gradus_base::op::reduce::ReduceOp;
use gradus_base::{Element, Layout, Result, dispatch_float, dispatch_number};

use super::create;
use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd::{self, LANES};
use super::storage::Output;
use super::strided::TypedView;
use super::view::{Array, View, ViewOrCopy};

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
    const EMPTY_SUM: Self::Sum;
    const EMPTY_PRODUCT: Self::Sum;
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
        const EMPTY_SUM: $t = 0.0;
        const EMPTY_PRODUCT: $t = 1.0;
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
        const EMPTY_SUM: u32 = 0;
        const EMPTY_PRODUCT: u32 = 1;
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
struct Nest<'a> {
    x: ViewOrCopy<'a>,
    outer: usize,
    n: usize,
    inner: usize,
}

impl<'a> Nest<'a> {
    /// `dims` are resolved, and `x` has elements.
    fn new(x: View<'a>, dims: &[usize], n: usize) -> Result<Nest<'a>> {
        let layout = x.layout();
        let Layout { shape, strides, .. } = layout;
        let mut order: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(strides[d]));
        let flat = layout.permute(order.iter().copied());
        // Kept dimensions must come out in their order. So must reduced ones: the order of
        // summation must not depend on the strides.
        let (reduced, kept): (Vec<usize>, Vec<usize>) =
            order.iter().partition(|d| dims.contains(d));
        if flat.is_contiguous() && kept.is_sorted() && reduced.is_sorted() {
            let runs: Vec<bool> = order.iter().map(|d| dims.contains(d)).collect();
            let first = runs.iter().position(|&r| r).unwrap_or(runs.len());
            let last = first + runs[first..].iter().position(|&r| !r).unwrap_or(runs.len() - first);
            if !runs[last..].contains(&true) {
                let outer = flat.shape[..first].iter().product();
                let inner = flat.shape[last..].iter().product();
                return Ok(Nest { x: ViewOrCopy::View(x), outer, n, inner });
            }
        }
        let kept_first = (0..shape.len()).filter(|d| !dims.contains(d)).chain(dims.iter().copied());
        let rows = x.with(&layout.permute(kept_first)).copy("copy")?;
        Ok(Nest { x: ViewOrCopy::Copy(rows), outer: x.numel() / n, n, inner: 1 })
    }

    /// The elements in the order of memory, without gaps.
    fn elements<T: Element>(&self) -> &[T] {
        let TypedView { data, layout } = self.x.view().typed();
        &data[layout.offset..][..self.outer * self.n * self.inner]
    }

    /// Reduces in blocks, combines the blocks. `params` holds one value for each output. `HEAVY`:
    /// the map is worth wider registers and a loop of its own (an exponential), at [`EXP`] an
    /// element.
    fn reduce<const HEAVY: bool, T: Element, P: Copy + Sync, A: Element>(
        &self,
        op: &'static str,
        params: &[P],
        identity: A,
        map: impl Fn(T, P) -> A + Copy + Sync + Send,
        join: impl Fn(A, A) -> A + Copy + Sync + Send,
    ) -> Result<Output<A>> {
        let Nest { outer, n, inner, .. } = *self;
        let xs = self.elements::<T>();
        let mut parts = Output::<A>::new(op, &[outer, n.div_ceil(BLOCK), inner])?;
        let level = Level { xs, n, inner, block: BLOCK, params };
        level.reduce::<HEAVY, _>(parts.slice_mut(), Fold { identity, map, join });
        let (mut left, none) = (n.div_ceil(BLOCK), vec![(); outer * inner]);
        while left > 1 {
            let mut out = Output::<A>::new(op, &[outer, left.div_ceil(PARTS), inner])?;
            let xs = &*parts.slice_mut();
            let level = Level { xs, n: left, inner, block: PARTS, params: &none };
            level.reduce::<false, _>(out.slice_mut(), Fold { identity, map: same::<A>, join });
            left = left.div_ceil(PARTS);
            parts = out;
        }
        Ok(parts)
    }

    /// The first element of each output as a centre: the elements' distances from it are small
    /// numbers, and 0 where all elements are equal. 0 where the first element is not finite.
    fn first<T: Float>(&self) -> Vec<T> {
        let xs = self.elements::<T>();
        let rows = xs.chunks_exact(self.n * self.inner);
        let finite = |x: T| if x.is_finite() { x } else { T::ZERO };
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

/// `y[i] = f(y[i], params[i])`: the last operation on the reduced elements.
fn finish<T: Element, P: Copy + Sync>(
    mut out: Output<T>,
    params: &[P],
    f: impl Fn(T, P) -> T + Copy + Sync + Send,
) -> Array {
    let ys = out.slice_mut();
    parallel::rows_ragged(ys, 16 * 1024, EXP, |first, ys| {
        for (y, &p) in ys.iter_mut().zip(&params[first..]) {
            *y = f(*y, p);
        }
    });
    flat(out)
}

fn flat<T: Element>(out: Output<T>) -> Array {
    let len = out.slice().len();
    out.into_array(&[len])
}

/// How elements are combined: `map(x, param)` of each is joined to what was joined before.
#[derive(Clone, Copy)]
struct Fold<A, M, J> {
    identity: A,
    map: M,
    join: J,
}

/// One level of a reduction: every block of `block` elements of `xs [outer, n, inner]` becomes one
/// element of an output `[outer, blocks, inner]`.
struct Level<'a, T, P> {
    xs: &'a [T],
    n: usize,
    inner: usize,
    block: usize,
    /// One for each of `[outer, inner]`.
    params: &'a [P],
}

impl<T: Element, P: Copy + Sync> Level<'_, T, P> {
    fn reduce<const HEAVY: bool, A: Element>(
        &self,
        out: &mut [A],
        fold: Fold<
            A,
            impl Fn(T, P) -> A + Copy + Sync + Send,
            impl Fn(A, A) -> A + Copy + Sync + Send,
        >,
    ) {
        let ns = if HEAVY { EXP } else { CHEAP };
        let columns = self.inner.min(TILE);
        let elements = self.block.min(self.n) * columns;
        let (per_task, ns) = (parallel::rows_per_task(elements), elements as f64 * ns);
        if self.inner == 1 {
            return parallel::rows(out, 1, per_task, ns, |first, out| {
                simd::dispatch::<HEAVY, T, _>(
                    #[inline(always)]
                    || self.rows::<HEAVY, _>(first, out, fold),
                );
            });
        }
        let tiles = out.len() / self.inner * self.inner.div_ceil(TILE);
        let shared = SharedMut::new(out);
        parallel::ranges(tiles, per_task, ns, |tasks| {
            simd::dispatch::<HEAVY, T, _>(
                #[inline(always)]
                || self.tiles(tasks, &shared, fold),
            );
        });
    }

    /// The outer index of block `q`, and the elements r in it.
    #[inline(always)]
    fn place(&self, q: usize) -> (usize, Range<usize>) {
        let blocks = self.n.div_ceil(self.block);
        let from = q % blocks * self.block;
        (q / blocks, from..self.n.min(from + self.block))
    }

    /// The blocks from `first` on, with `inner = 1`: along memory.
    #[inline(always)]
    fn rows<const HEAVY: bool, A: Element>(
        &self,
        first: usize,
        out: &mut [A],
        fold: Fold<A, impl Fn(T, P) -> A + Copy, impl Fn(A, A) -> A + Copy>,
    ) {
        let Fold { identity, map, join } = fold;
        for (q, y) in (first..).zip(out) {
            let (o, r) = self.place(q);
            let p = self.params[o];
            let xs = &self.xs[o * self.n + r.start..o * self.n + r.end];
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
    }

    /// Some tiles of [`TILE`] columns of the blocks, with `inner > 1`: down the columns.
    #[inline(always)]
    fn tiles<A: Element>(
        &self,
        tasks: Range<usize>,
        out: &SharedMut<A>,
        fold: Fold<A, impl Fn(T, P) -> A + Copy, impl Fn(A, A) -> A + Copy>,
    ) {
        let Fold { identity, map, join } = fold;
        let tiles = self.inner.div_ceil(TILE);
        let mut lanes = [[identity; TILE]; LANES];
        for task in tasks {
            let (q, tile) = (task / tiles, task % tiles);
            let (o, rows) = self.place(q);
            let (first, width) = (tile * TILE, TILE.min(self.inner - tile * TILE));
            let lanes = &mut lanes[..LANES.min(rows.len())];
            for lane in &mut *lanes {
                lane[..width].fill(identity);
            }
            let p = &self.params[o * self.inner + first..][..width];
            for (i, r) in rows.enumerate() {
                let row = &self.xs[(o * self.n + r) * self.inner + first..][..width];
                let lane = &mut lanes[i % LANES][..width];
                for j in 0..width {
                    lane[j] = join(lane[j], map(row[j], p[j]));
                }
            }
            join_columns(lanes, width, join);
            let at = q * self.inner + first;
            // SAFETY: each (q, tile) belongs to one task.
            unsafe { out.slice(at..at + width) }.copy_from_slice(&lanes[0][..width]);
        }
    }
}

/// Joins the lanes of `width` columns pairwise into the first. Lanes from 16 down to the number of
/// them were not used.
#[inline(always)]
fn join_columns<A: Element>(
    lanes: &mut [[A; TILE]],
    width: usize,
    join: impl Fn(A, A) -> A + Copy,
) {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half.min(lanes.len()));
        for (low, high) in low.iter_mut().zip(&high[..half.min(high.len())]) {
            for j in 0..width {
                low[j] = join(low[j], high[j]);
            }
        }
        half /= 2;
    }
}

/// Reduces `dims` (resolved), which hold `n > 0` elements. `x` has elements. The result is flat.
pub fn forward(x: View, op: ReduceOp, dims: &[usize], n: usize) -> Result<Array> {
    let nest = Nest::new(x, dims, n)?;
    let (name, dtype) = (op.name(), x.dtype());
    match op {
        ReduceOp::Sum => dispatch_number!(name, dtype, sum_of::<T>(&nest, name)),
        ReduceOp::Prod => dispatch_number!(name, dtype, product::<T>(&nest, name)),
        ReduceOp::Max => dispatch_number!(name, dtype, max::<T>(&nest, name)),
        ReduceOp::Min => dispatch_number!(name, dtype, min::<T>(&nest, name)),
        ReduceOp::Mean => dispatch_float!(name, dtype, mean::<T>(&nest, name)),
        ReduceOp::Var { correction } => {
            dispatch_float!(name, dtype, var::<T>(&nest, name, correction))
        }
        ReduceOp::LogSumExp => dispatch_float!(name, dtype, logsumexp::<T>(&nest, name)),
    }
}

/// Σx over `dims` of floats, flat; as [`forward`], but `dims` may also hold no element, or one.
pub(crate) fn sum(x: View, dims: &[usize]) -> Result<Array> {
    let kept = x.shape().iter().enumerate().filter(|(d, _)| !dims.contains(d));
    let len: usize = kept.map(|(_, &size)| size).product();
    match dims.iter().map(|&d| x.shape()[d]).product() {
        _ if x.numel() == 0 => create::full(&[len], 0.0, x.dtype()),
        1 => Ok(x.copy("copy")?.reshape(&[len])),
        n => forward(x, ReduceOp::Sum, dims, n),
    }
}

fn sum_of<T: Number>(nest: &Nest, op: &'static str) -> Result<Array> {
    Ok(flat(nest.plain(op, T::EMPTY_SUM, widen::<T>, T::add)?))
}

fn product<T: Number>(nest: &Nest, op: &'static str) -> Result<Array> {
    Ok(flat(nest.plain(op, T::EMPTY_PRODUCT, widen::<T>, T::mul)?))
}

fn max<T: Number>(nest: &Nest, op: &'static str) -> Result<Array> {
    Ok(flat(nest.plain(op, T::LOWEST, same::<T>, T::larger)?))
}

fn min<T: Number>(nest: &Nest, op: &'static str) -> Result<Array> {
    Ok(flat(nest.plain(op, T::HIGHEST, same::<T>, T::smaller)?))
}

/// The floats: they are their own accumulators.
trait Real: Float + Number<Sum = Self> {}
impl Real for f32 {}
impl Real for f64 {}

fn mean<T: Real>(nest: &Nest, op: &'static str) -> Result<Array> {
    let mut centres = nest.first::<T>();
    // A distance from a larger centre could be infinite where the sum is not.
    let large = centres.iter_mut().filter(|c| !(**c + **c).is_finite());
    large.for_each(|c| *c = T::ZERO);
    Ok(finish(distances(nest, op, &centres)?, &centres, |d, c| c + d))
}

fn var<T: Real>(nest: &Nest, op: &'static str, correction: usize) -> Result<Array> {
    let centres = nest.first::<T>();
    let mut distances = distances(nest, op, &centres)?;
    // Each mean, and what rounding left of it.
    let distances = centres.iter().zip(distances.slice_mut());
    let means: Vec<(T, T)> = distances.map(|(&c, &mut d)| (c + d, (c - (c + d)) + d)).collect();
    let (count, divisor) = (T::c(nest.n as f64), T::c(nest.n.saturating_sub(correction) as f64));
    let sum = nest.reduce::<false, _, _, _>(
        op,
        &means,
        T::ZERO,
        #[inline(always)]
        |x: T, (m, _): (T, T)| (x - m) * (x - m),
        <T as Number>::add,
    )?;
    Ok(finish(sum, &means, |a, (_, left)| simd::without(a, count * left * left) / divisor))
}

fn logsumexp<T: Real>(nest: &Nest, op: &'static str) -> Result<Array> {
    let mut max = nest.plain(op, T::LOWEST, same::<T>, T::larger)?;
    let infinite = max.slice_mut().iter_mut().filter(|m| !m.is_finite());
    infinite.for_each(|m| *m = T::ZERO);
    let sum = nest.reduce::<true, _, _, _>(
        op,
        max.slice_mut(),
        T::ZERO,
        #[inline(always)]
        |x: T, m: T| (x - m).exp(),
        <T as Number>::add,
    )?;
    Ok(finish(sum, max.slice_mut(), |a, m| a.ln() + m))
}

/// The mean distance of the elements of each output from its centre.
fn distances<T: Real>(nest: &Nest, op: &'static str, centres: &[T]) -> Result<Output<T>> {
    let n = T::c(nest.n as f64);
    let mut sum = nest.reduce::<false, _, _, _>(
        op,
        centres,
        T::ZERO,
        #[inline(always)]
        |x: T, c: T| x - c,
        <T as Number>::add,
    )?;
    sum.slice_mut().iter_mut().for_each(|sum| *sum = *sum / n);
    Ok(sum)
}

/// The index of the first extremum along the last dimension, which is not empty; NaN is the
/// extremum if there is one. Two passes: the value in vector lanes, then where it is.
pub fn arg_extremum(op: &'static str, x: View, largest: bool) -> Result<Array> {
    let x = x.contiguous()?;
    dispatch_number!(op, x.view().dtype(), arg_extremum_of::<T>(op, x.view(), largest))
}

fn arg_extremum_of<T: Number>(op: &'static str, x: View, largest: bool) -> Result<Array> {
    let n = x.shape().last().copied().unwrap_or(1);
    let xs = x.slice::<T>();
    let mut out = Output::<u32>::new(op, &[xs.len() / n])?;
    let ns = n as f64 * 2.0 * CHEAP;
    parallel::rows(out.slice_mut(), 1, parallel::rows_per_task(n), ns, |first, out| {
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || {
                for (row, y) in (first..).zip(out) {
                    *y = row_extremum(&xs[row * n..(row + 1) * n], largest);
                }
            },
        );
    });
    Ok(out.into_array(&[xs.len() / n]))
}

#[inline(always)]
fn row_extremum<T: Number>(xs: &[T], largest: bool) -> u32 {
    let best = match largest {
        true => simd::reduce(xs, T::LOWEST, T::larger, T::larger),
        false => simd::reduce(xs, T::HIGHEST, T::smaller, T::smaller),
    };
    let found = xs.iter().position(|&x| if best.nan() { x.nan() } else { x == best });
    found.unwrap_or(0) as u32
}
