//! The small products of attention, `C (+)= A·B` with B's rows in whole vectors, and transposes.

use super::super::mat::Mat;
use super::super::math::Float;
use super::super::product::f32_kernel;
use super::super::simd::LANES;
use gradus_base::DType;

/// `C (+)= A·B`: sizes `(m, k, width)` for A `[m, k]`, B `[k, width]`, C `[m, width]`. f32
/// goes to the processor's kernel, if it has one; the result does not depend on it.
#[inline(always)]
pub(super) fn product<T: Float>(
    (m, k, width): (usize, usize, usize),
    a: Mat<T>,
    b: &[T],
    c: &mut [T],
    add: bool,
) {
    if T::DTYPE == DType::F32
        && let Some(kernel) = f32_kernel()
    {
        let a = Mat { data: bytemuck::cast_slice(a.data), row: a.row, col: a.col };
        let (b, c) = (bytemuck::cast_slice(b), bytemuck::cast_slice_mut(c));
        return kernel.small((m, k, width), a, b, c, add);
    }
    assert!(m > 0 && k > 0 && width.is_multiple_of(LANES), "whole vectors, and some");
    a.check(m, k);
    assert!(b.len() >= k * width && c.len() >= m * width, "B and C hold their rows");
    let mut i = 0;
    // SAFETY: rows i..i + R lie inside A and C, all of B inside its slice (asserted above).
    unsafe {
        while i + 6 <= m {
            i += tile::<T, 6>((k, width), a, i, b, c, add);
        }
        while i + 4 <= m {
            i += tile::<T, 4>((k, width), a, i, b, c, add);
        }
        if i + 2 <= m {
            i += tile::<T, 2>((k, width), a, i, b, c, add);
        }
        if i < m {
            i += tile::<T, 1>((k, width), a, i, b, c, add);
        }
    }
    assert_eq!(i, m);
}

/// Writes `out[j·tall + i] = from[i·stride + j]` for as many whole blocks of 8 × 8 as there are in
/// `n` rows of `d` columns; returns how many rows and columns that were. Nothing for another type
/// than f32, or on a processor without a kernel for it.
pub(super) fn transpose_blocks<T: Float>(
    (from, stride): (&[T], usize),
    n: usize,
    d: usize,
    out: &mut [T],
    tall: usize,
) -> (usize, usize) {
    if T::DTYPE == DType::F32
        && let Some(kernel) = f32_kernel()
    {
        let (from, out) = (bytemuck::cast_slice(from), bytemuck::cast_slice_mut(out));
        return kernel.transpose_blocks((from, stride), n, d, out, tall);
    }
    (0, 0)
}

/// Rows `i..i + R` of `C (+)= A·B`, all columns; B and C have rows of `width` elements, whole
/// vectors. Returns R.
///
/// # Safety
/// A reaches to row `i + R` and column `k`, `b` has `k` rows, `c` has `i + R` rows.
#[inline(always)]
unsafe fn tile<T: Float, const R: usize>(
    (k, width): (usize, usize),
    a: Mat<T>,
    i: usize,
    b: &[T],
    c: &mut [T],
    add: bool,
) -> usize {
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        for column in (0..width).step_by(LANES) {
            let mut a_column = a.data.as_ptr().add(i * a.row);
            let mut b_row = b.as_ptr().add(column);
            let mut acc = [[T::ZERO; LANES]; R];
            for _ in 0..k {
                let y = b_row.cast::<[T; LANES]>().read();
                for r in 0..R {
                    let x = *a_column.add(r * a.row);
                    for l in 0..LANES {
                        acc[r][l] = x.mul_add(y[l], acc[r][l]);
                    }
                }
                (a_column, b_row) = (a_column.wrapping_add(a.col), b_row.wrapping_add(width));
            }
            let c = c.as_mut_ptr();
            for r in 0..R {
                let lanes = c.add((i + r) * width + column).cast::<[T; LANES]>();
                if add {
                    let before = lanes.read();
                    for l in 0..LANES {
                        acc[r][l] = before[l] + acc[r][l];
                    }
                }
                lanes.write(acc[r]);
            }
        }
    }
    R
}
