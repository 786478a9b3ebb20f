//! The small products of attention: `C (+)= A·B` with B's rows in whole vectors.

#[cfg(target_arch = "x86_64")]
use gradus_base::DType;

use super::super::mat::Mat;
use super::super::math::Float;
#[cfg(target_arch = "x86_64")]
use super::super::packed;
use super::super::simd::LANES;

/// `C (+)= A·B`: sizes `(m, k, width)` for A `[m, k]`, B `[k, width]`, C `[m, width]`. On x86 f32
/// goes to the tiles of [`packed`]; the result does not depend on it.
#[inline(always)]
pub(super) fn product<T: Float>(
    (m, k, width): (usize, usize, usize),
    a: Mat<T>,
    b: &[T],
    c: &mut [T],
    add: bool,
) {
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
