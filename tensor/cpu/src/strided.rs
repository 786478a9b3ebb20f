//! Loops over strided and broadcast views.
//!
//! Adjacent dimensions that every operand walks with one stride are merged; the last merged
//! dimension is the inner loop, whose usual strides (1 and 0) get vectorised bodies. Outputs are
//! always row-major.

use std::ops::Range;

use gradus_base::{Element, Layout};

use super::parallel::{self, SharedMut};
use super::simd;

/// Elements of one task. A constant, so that the split does not depend on the threads.
const TASK: usize = 16 * 1024;

/// A storage and where in it the elements lie.
#[derive(Clone, Copy)]
pub struct TypedView<'a, T> {
    /// All elements of the storage.
    pub data: &'a [T],
    /// Where those of the view lie among them.
    pub layout: &'a Layout,
}

/// The merged loop over `N` operands of one shape.
struct Nest<const N: usize> {
    outer: Vec<(usize, [usize; N])>,
    inner: usize,
    inner_strides: [usize; N],
    offsets: [usize; N],
}

impl<const N: usize> Nest<N> {
    /// `layouts` must already be broadcast to `shape`.
    fn new(shape: &[usize], layouts: [&Layout; N]) -> Self {
        let mut dims: Vec<(usize, [usize; N])> = Vec::with_capacity(shape.len());
        for (d, &size) in shape.iter().enumerate() {
            assert!(layouts.iter().all(|l| l.shape[d] == size));
            if size == 1 {
                continue;
            }
            let strides = layouts.map(|l| l.strides[d]);
            match dims.last_mut() {
                Some((s, t)) if (0..N).all(|i| t[i] == strides[i] * size) => {
                    *s *= size;
                    *t = strides;
                }
                _ => dims.push((size, strides)),
            }
        }
        let (inner, inner_strides) = dims.pop().unwrap_or((1, [0; N]));
        Nest { outer: dims, inner, inner_strides, offsets: layouts.map(|l| l.offset) }
    }

    /// Calls `body(row, positions)` for the rows of `range`. A trait object: a call a row is cheap,
    /// and the walk is compiled once instead of once a kernel.
    fn rows(&self, range: Range<usize>, body: &mut dyn FnMut(usize, [usize; N])) {
        let mut index = vec![0usize; self.outer.len()];
        let mut at = self.offsets;
        let mut rest = range.start;
        for d in (0..self.outer.len()).rev() {
            let (size, strides) = &self.outer[d];
            index[d] = rest % size;
            rest /= size;
            for i in 0..N {
                at[i] += index[d] * strides[i];
            }
        }
        for row in range {
            body(row, at);
            for d in (0..self.outer.len()).rev() {
                let (size, strides) = &self.outer[d];
                index[d] += 1;
                for i in 0..N {
                    at[i] += strides[i];
                }
                if index[d] < *size {
                    break;
                }
                index[d] = 0;
                for i in 0..N {
                    at[i] -= size * strides[i];
                }
            }
        }
    }

    /// Calls `body(out, positions, inner strides)` for every piece of the output, in parallel if
    /// worth it at `ns` nanoseconds an element. `HEAVY` and `T` are for [`simd::dispatch`].
    #[inline(always)]
    fn run<const HEAVY: bool, T: Element, R: Send>(
        &self,
        out: &mut [R],
        ns: f64,
        body: impl Fn(&mut [R], [usize; N], [usize; N]) + Sync + Send,
    ) {
        let (len, shared) = (out.len(), SharedMut::new(out));
        self.pieces(len, ns, &|range, at| {
            simd::dispatch::<HEAVY, T, _>(
                #[inline(always)]
                || {
                    // SAFETY: each piece belongs to one task.
                    body(unsafe { shared.slice(range) }, at, self.inner_strides);
                },
            );
        });
    }

    /// Calls `body(range of the output, positions)` for every piece of an output of `len` elements.
    fn pieces(&self, len: usize, ns: f64, body: &(dyn Fn(Range<usize>, [usize; N]) + Sync)) {
        if len == 0 {
            return;
        }
        let inner = self.inner;
        let rows = len / inner;
        // A task is a piece of a long row, or several short rows.
        let (pieces, group) = (inner.div_ceil(TASK), (TASK / inner).max(1));
        let tasks = rows.div_ceil(group) * pieces;
        parallel::run(tasks, ((inner * group).min(TASK) as f64 * ns) as usize, &|task| {
            let (first, piece) = (task / pieces * group, task % pieces);
            let (from, to) = (piece * TASK, inner.min((piece + 1) * TASK));
            self.rows(first..rows.min(first + group), &mut |row, at| {
                let at = std::array::from_fn(|i| at[i] + from * self.inner_strides[i]);
                body(row * inner + from..row * inner + to, at);
            });
        });
    }
}

/// `out[i] = f(a[i])`. `ns`: time of one element. `HEAVY`: see [`simd::dispatch`].
#[inline(always)]
pub(crate) fn map1<const HEAVY: bool, A: Element, R: Send>(
    out: &mut [R],
    a: TypedView<A>,
    ns: f64,
    f: impl Fn(A) -> R + Copy + Sync + Send,
) {
    Nest::new(a.layout.shape(), [a.layout]).run::<HEAVY, A, R>(
        out,
        ns,
        #[inline(always)]
        |out, [a0], [sa]| {
            if sa == 1 {
                let xs = &a.data[a0..a0 + out.len()];
                for i in 0..out.len() {
                    out[i] = f(xs[i]);
                }
            } else {
                for i in 0..out.len() {
                    out[i] = f(a.data[a0 + i * sa]);
                }
            }
        },
    );
}

/// `out[i] = f(a[i], b[i])`; both layouts broadcast to the output's shape.
#[inline(always)]
pub(crate) fn map2<const HEAVY: bool, A: Element, B: Element, R: Send>(
    out: &mut [R],
    a: TypedView<A>,
    b: TypedView<B>,
    ns: f64,
    f: impl Fn(A, B) -> R + Copy + Sync + Send,
) {
    Nest::new(a.layout.shape(), [a.layout, b.layout]).run::<HEAVY, A, R>(
        out,
        ns,
        #[inline(always)]
        |out, [a0, b0], [sa, sb]| {
            let n = out.len();
            match (sa, sb) {
                (1, 1) => {
                    let (xs, ys) = (&a.data[a0..a0 + n], &b.data[b0..b0 + n]);
                    for i in 0..n {
                        out[i] = f(xs[i], ys[i]);
                    }
                }
                (1, 0) => {
                    let (xs, y) = (&a.data[a0..a0 + n], b.data[b0]);
                    for i in 0..n {
                        out[i] = f(xs[i], y);
                    }
                }
                (0, 1) => {
                    let (x, ys) = (a.data[a0], &b.data[b0..b0 + n]);
                    for i in 0..n {
                        out[i] = f(x, ys[i]);
                    }
                }
                _ => {
                    for i in 0..n {
                        out[i] = f(a.data[a0 + i * sa], b.data[b0 + i * sb]);
                    }
                }
            }
        },
    );
}

/// `out[i] = f(a[i], b[i], c[i])`; all layouts broadcast to the output's shape.
#[inline(always)]
pub(crate) fn map3<A: Element, B: Element, C: Element, R: Send>(
    out: &mut [R],
    a: TypedView<A>,
    b: TypedView<B>,
    c: TypedView<C>,
    ns: f64,
    f: impl Fn(A, B, C) -> R + Copy + Sync + Send,
) {
    let nest = Nest::new(a.layout.shape(), [a.layout, b.layout, c.layout]);
    nest.run::<false, C, R>(
        out,
        ns,
        #[inline(always)]
        |out, [a0, b0, c0], [sa, sb, sc]| {
            let n = out.len();
            if (sa, sb, sc) == (1, 1, 1) {
                let (xs, ys, zs) = (&a.data[a0..a0 + n], &b.data[b0..b0 + n], &c.data[c0..c0 + n]);
                for i in 0..n {
                    out[i] = f(xs[i], ys[i], zs[i]);
                }
            } else {
                for i in 0..n {
                    out[i] = f(a.data[a0 + i * sa], b.data[b0 + i * sb], c.data[c0 + i * sc]);
                }
            }
        },
    );
}

/// Copies a view to row-major order.
pub(crate) fn copy<T: Element>(out: &mut [T], a: TypedView<T>) {
    map1::<false, _, _>(out, a, 0.2, |x| x);
}

/// Writes the view `a` into `out` at the places of `to`, a layout of the same shape whose elements
/// do not overlap. Two runs with stride 1 are copied as blocks.
///
/// # Safety
/// Every place of `to` must lie inside `out` and no other thread may write it meanwhile.
pub(crate) unsafe fn place<T: Element>(out: &SharedMut<T>, to: &Layout, a: TypedView<T>) {
    const NS: f64 = 0.2;
    if a.layout.numel() == 0 {
        return;
    }
    let nest = Nest::new(&to.shape, [to, a.layout]);
    let [st, sa] = nest.inner_strides;
    let run = |[t0, a0]: [usize; 2], n: usize| {
        if st == 1 {
            // SAFETY: places of `to`, which the caller gave to us alone; no two rows share one.
            let out = unsafe { out.slice(t0..t0 + n) };
            match sa {
                1 => out.copy_from_slice(&a.data[a0..a0 + n]),
                0 => out.fill(a.data[a0]),
                _ => (0..n).for_each(|i| out[i] = a.data[a0 + i * sa]),
            }
        } else {
            for i in 0..n {
                // SAFETY: as above.
                unsafe { *out.ptr(t0 + i * st) = a.data[a0 + i * sa] };
            }
        }
    };
    let (rows, inner) = (a.layout.numel() / nest.inner, nest.inner);
    if inner >= TASK {
        let pieces = inner.div_ceil(TASK);
        parallel::run(rows * pieces, (TASK as f64 * NS) as usize, &|task| {
            let (row, from) = (task / pieces, task % pieces * TASK);
            nest.rows(row..row + 1, &mut |_, [t0, a0]| {
                run([t0 + from * st, a0 + from * sa], TASK.min(inner - from));
            });
        });
    } else {
        parallel::ranges(rows, TASK / inner, inner as f64 * NS, |range| {
            nest.rows(range, &mut |_, at| run(at, inner));
        });
    }
}

/// `out[e] = a[e moved by index[e] · step]`: `a`'s layout gives the place of entry 0 for each
/// element. Every place must lie inside `a.data`.
pub(crate) fn gather<T: Element>(
    out: &mut [T],
    a: TypedView<T>,
    index: TypedView<u32>,
    step: usize,
) {
    Nest::new(a.layout.shape(), [a.layout, index.layout]).run::<false, T, T>(
        out,
        1.0,
        |out, [a0, i0], [sa, si]| {
            for i in 0..out.len() {
                out[i] = a.data[a0 + i * sa + index.data[i0 + i * si] as usize * step];
            }
        },
    );
}
