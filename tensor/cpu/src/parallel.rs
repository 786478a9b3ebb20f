//! How kernels share work between threads.
//!
//! Work is always split by output, at places that depend on the shapes alone, never on the number
//! of threads: so every thread count gives bit-identical results. Small work stays on the calling
//! thread, because waking a sleeping worker costs 15–25 µs and more; [`team`] keeps the workers
//! awake from one region to the next.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::team;

/// Nanoseconds of serial work from which two threads are worth it, and from which they are where
/// they need not be woken.
const WORTH_NS: usize = 40_000;
const WORTH_AWAKE_NS: usize = 8_000;

/// Calls `body(task)` for every task in `0..tasks`, in parallel if the whole is worth it.
/// `ns` estimates one task's serial time in nanoseconds.
///
/// Takes the body as a trait object: one call per task costs nothing, and rayon's machinery is
/// compiled once instead of once a kernel.
pub(crate) fn run(tasks: usize, ns: usize, body: &(dyn Fn(usize) + Sync)) {
    let worth = if team::is_awake() { WORTH_AWAKE_NS } else { WORTH_NS };
    if tasks <= 1 || tasks.saturating_mul(ns) < worth || rayon::current_num_threads() == 1 {
        (0..tasks).for_each(body);
    } else if !team::run(tasks, body) {
        (0..tasks).into_par_iter().for_each(body);
    }
}

/// Part `i` of `0..len` cut into `parts` of nearly one size.
#[inline(always)]
pub(crate) fn part(len: usize, parts: usize, i: usize) -> Range<usize> {
    i * len / parts..(i + 1) * len / parts
}

/// Splits `0..len` into ranges of `chunk` and calls `body(range)` for each, in parallel if worth
/// it. `ns` estimates the time of one element in nanoseconds.
pub(crate) fn ranges(len: usize, chunk: usize, ns: f64, body: impl Fn(Range<usize>) + Sync + Send) {
    let chunk = chunk.max(1);
    run(len.div_ceil(chunk), (chunk as f64 * ns) as usize, &|task| {
        body(task * chunk..len.min((task + 1) * chunk))
    });
}

/// Splits `out` into rows of `row` elements, groups of `rows` rows a task, and calls
/// `body(first_row, rows_of_the_task)` for each group. `ns` estimates the time of one row.
pub(crate) fn rows<T: Send>(
    out: &mut [T],
    row: usize,
    rows: usize,
    ns: f64,
    body: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    if row == 0 || out.is_empty() {
        return;
    }
    let (rows, len) = (rows.max(1), out.len() / row);
    let shared = SharedMut::new(out);
    ranges(len, rows, ns, |range| {
        // SAFETY: the ranges of different tasks do not overlap.
        body(range.start, unsafe { shared.slice(range.start * row..range.end * row) })
    });
}

/// Splits `out` into pieces of `piece` elements (the last may be shorter) and calls
/// `body(first_index, piece)` for each. `ns` estimates the time of one element.
pub(crate) fn rows_ragged<T: Send>(
    out: &mut [T],
    piece: usize,
    ns: f64,
    body: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    let len = out.len();
    let shared = SharedMut::new(out);
    ranges(len, piece, ns, |range| {
        // SAFETY: the ranges of different tasks do not overlap.
        body(range.start, unsafe { shared.slice(range) })
    });
}

/// How many rows of `row` elements make a task of about 16 K elements.
pub(crate) fn rows_per_task(row: usize) -> usize {
    (16 * 1024 / row.max(1)).max(1)
}

/// A mutable slice that several tasks write at disjoint places.
pub(crate) struct SharedMut<'a, T> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: every access goes through `slice`, whose caller promises that no two overlap.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        SharedMut { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Panics unless `rows` rows of `columns` elements, `row` apart, lie inside the slice.
    pub(crate) fn check(&self, rows: usize, columns: usize, row: usize) {
        if rows > 0 && columns > 0 {
            let end = (rows - 1).checked_mul(row).and_then(|at| at.checked_add(columns));
            assert!(end.is_some_and(|end| end <= self.len), "a matrix reaches beyond its memory");
        }
    }

    /// The elements `range`.
    ///
    /// # Safety
    /// No other live slice of this `SharedMut` may overlap `range`.
    #[allow(clippy::mut_from_ref)] // that is the point; disjointness is the caller's promise
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "range outside the slice");
        // SAFETY: inside the slice by the assertion, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }

    /// A pointer to element `index`, for kernels that write strided blocks.
    ///
    /// # Safety
    /// `index` must lie inside the slice, and what is written through the pointer must lie inside
    /// the slice and be written by no other task.
    pub(crate) unsafe fn ptr(&self, index: usize) -> *mut T {
        assert!(index <= self.len);
        // SAFETY: the caller's promise.
        unsafe { self.ptr.add(index) }
    }
}
