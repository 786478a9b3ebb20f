//! Joining, padding, reversing: copies of views to their places in a row-major output.
//!
//! `cat` computes where each source lies in the output and copies it there
//! ([`strided::place`]): blocks where both run with stride 1. Sources share no place, so the order
//! in which threads take them does not matter. Nothing is computed.

use gradus_base::{Element, Layout, Result, dispatch_any};

use super::parallel::{self, SharedMut};
use super::storage::Output;
use super::strided::{self, TypedView};
use super::view::{Array, View};

/// Joins `parts`, equal but for dimension `dim`, into one of `shape`.
///
/// # Panics
/// If they do not fill it.
pub fn cat(op: &'static str, parts: Vec<View>, dim: usize, shape: &[usize]) -> Result<Array> {
    let whole = Layout::contiguous(shape);
    let mut places = Vec::with_capacity(parts.len());
    let mut at = 0;
    for part in &parts {
        let mut place = whole.clone();
        place.shape[dim] = part.shape()[dim];
        place.offset = at * place.strides[dim];
        at += place.shape[dim];
        places.push(place);
    }
    assert_eq!(at, shape[dim], "parts of other sizes than the result's");
    dispatch_any!(parts[0].dtype(), join::<T>(op, &parts, &places, shape))
}

/// Copies each part to its place in an output of `shape`, which the places fill without overlap.
fn join<T: Element>(
    op: &'static str,
    parts: &[View],
    places: &[Layout],
    shape: &[usize],
) -> Result<Array> {
    let mut out = Output::<T>::new(op, shape)?;
    let len = out.slice_mut().len();
    let shared = SharedMut::new(out.slice_mut());
    parallel::run(parts.len(), (len / parts.len()).div_ceil(5), &|i| {
        // SAFETY: the places of different sources share no element of dimension `dim`, and all
        // lie inside the output, whose size along `dim` is the sum of theirs.
        unsafe { strided::place(&shared, &places[i], parts[i].typed::<T>()) }
    });
    Ok(out.into_array(shape))
}

/// The elements of `x` in reverse order along the dimensions where `reversed` is true.
pub fn flip(x: View, reversed: &[bool]) -> Result<Array> {
    dispatch_any!(x.dtype(), flip_of::<T>(x, reversed))
}

fn flip_of<T: Element>(x: View, reversed: &[bool]) -> Result<Array> {
    let mut out = Output::<T>::new("flip", x.shape())?;
    rows_reversed(out.slice_mut(), x, reversed);
    Ok(out.into_array(x.shape()))
}

/// One row of the last dimension at a time; the row's place counts from the far end of every
/// reversed dimension.
fn rows_reversed<T: Element>(out: &mut [T], x: View, reversed: &[bool]) {
    let TypedView { data, layout } = x.typed::<T>();
    let Some(last) = reversed.len().checked_sub(1) else {
        out[0] = data[layout.offset];
        return;
    };
    let (row, step) = (layout.shape[last], layout.strides[last]);
    parallel::rows(out, row, parallel::rows_per_task(row), row as f64 * 0.5, |first, out| {
        for (r, out) in out.chunks_exact_mut(row).enumerate() {
            let (mut rest, mut start) = (first + r, layout.offset);
            for d in (0..last).rev() {
                let (size, i) = (layout.shape[d], rest % layout.shape[d]);
                rest /= size;
                start += if reversed[d] { size - 1 - i } else { i } * layout.strides[d];
            }
            for i in 0..row {
                out[i] = data[start + if reversed[last] { row - 1 - i } else { i } * step];
            }
        }
    });
}
