//! Rotary position embedding. Of each rotated head, for j below half of the table's width:
//! `y[j] = x[j]·cos − x[j + half]·sin`, `y[j + half] = x[j + half]·cos + x[j]·sin`; sin with a
//! minus for the inverse. All other columns are copied.
//!
//! Shapes: x and y `[tokens, width]`, x of any row stride; the table `[positions, 2·half]`, the
//! cosines of a position, then its sines; the positions `[tokens]`.
//! Split: rows. One pass; each element is read once and written once.

use gradus_base::op::rotary::Rotary;
use gradus_base::{Result, dispatch_float};

use super::math::Float;
use super::parallel;
use super::simd;
use super::storage::Output;
use super::view::{Array, View, ViewOrCopy};

/// Nanoseconds an element: memory.
const NS: f64 = 0.2;

/// `x` and the table are of one dtype; the table and the positions are contiguous, and each
/// position is a row of the table.
pub fn rotary_embedding(x: View, table: View, positions: View, options: Rotary) -> Result<Array> {
    let x = x.unit_columns()?;
    let x = ViewOrCopy::view(&x);
    dispatch_float!(
        "rotary_embedding",
        x.dtype(),
        rotary_embedding_of::<T>(x, table, positions, options)
    )
}

fn rotary_embedding_of<T: Float>(
    x: View,
    table: View,
    positions: View,
    options: Rotary,
) -> Result<Array> {
    let (width, dim) = (x.shape()[1], table.shape()[1]);
    let mut out = Output::<T>::new("rotary_embedding", x.shape())?;
    let sign = if options.inverse { -T::ONE } else { T::ONE };
    let (xs, table) = (x.mat::<T>(), table.slice::<T>());
    let positions = positions.slice::<u32>();
    let per_task = parallel::rows_per_task(width);
    parallel::rows(out.slice_mut(), width, per_task, NS * width as f64, |first, y| {
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || {
                for (i, y) in y.chunks_exact_mut(width).enumerate() {
                    let x = &xs.data[(first + i) * xs.row..][..width];
                    y.copy_from_slice(x);
                    let angles = &table[positions[first + i] as usize * dim..][..dim];
                    for head in 0..options.heads {
                        let at = head * options.head_size;
                        rotate(&x[at..at + dim], angles, sign, &mut y[at..at + dim]);
                    }
                }
            },
        );
    });
    Ok(out.into_array(x.shape()))
}

/// The rotated part of a head.
#[inline(always)]
fn rotate<T: Float>(x: &[T], angles: &[T], sign: T, y: &mut [T]) {
    let half = x.len() / 2;
    let ((a, b), (cos, sin)) = (x.split_at(half), angles.split_at(half));
    let (first, second) = y.split_at_mut(half);
    for j in 0..half {
        let sin = sin[j] * sign;
        first[j] = a[j] * cos[j] - b[j] * sin;
        second[j] = b[j] * cos[j] + a[j] * sin;
    }
}
