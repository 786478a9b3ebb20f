//! What becomes of a tile's sums.

use super::operands::{Left, Place, Product, Right};
use super::panels::copy;
use crate::parallel::SharedMut;
use crate::simd;
use crate::unary::gelu;

/// Turns a tile's sums into elements of C and writes them.
pub(super) fn finish(product: &Product, place: &Place, sums: &mut [u32]) {
    simd::dispatch::<true, f32, _>(
        #[inline(always)]
        || {
            let width = product.width;
            match (product.left, product.right) {
                (Left::Rounded(_), Right::Packed(_)) if product.numbers.are_integers() => {
                    scale(product, place, sums)
                }
                _ if product.tile_adds_bias(place) => {}
                _ => add_start(product, place, sums),
            }
            let values: &mut [f32] = bytemuck::cast_slice_mut(sums);
            if place.last && product.epilogue.gelu {
                if let Some(before) = &product.epilogue.before {
                    write_rows(values, width, (before, product.n), place);
                }
                // One loop over all rows: one vector's long chain of operations hides behind
                // another's.
                for x in &mut *values {
                    *x = gelu(*x);
                }
            }
            let row = product.epilogue.row_of(product.n);
            write_rows(values, width, (&product.out, row), place);
        },
    );
}

/// Adds the bias to the first block's sums in f32, and what C holds to any other's.
#[inline(always)]
fn add_start(product: &Product, place: &Place, sums: &mut [u32]) {
    let (width, row) = (product.width, product.epilogue.row_of(product.n));
    let values: &mut [f32] = bytemuck::cast_slice_mut(sums);
    for (r, values) in place.rows.clone().zip(values.chunks_exact_mut(width)) {
        let start = match (place.first, product.epilogue.bias) {
            (true, None) => return,
            (true, Some(bias)) => &bias[place.columns.clone()],
            // SAFETY: inside C (checked), and this task's alone.
            (false, _) => unsafe {
                product.out.slice(r * row + place.columns.start..r * row + place.columns.end)
            },
        };
        for (value, start) in values.iter_mut().zip(start) {
            *value += start;
        }
    }
}

/// c = (Σ u·q − z·Σ q)·s·s + bias, from integers to f32 in place.
#[inline(always)]
fn scale(product: &Product, place: &Place, sums: &mut [u32]) {
    let (Left::Rounded(a), Right::Packed(b)) = (product.left, product.right) else {
        unreachable!("integers are rounded")
    };
    let (width, first) = (product.width, place.columns.start);
    let (scales, totals) = (&b.scales[first..][..width], &b.sums[first..][..width]);
    let mut shift = [0f32; super::numbers::MAX_WIDTH];
    if let Some(bias) = product.epilogue.bias {
        shift[..place.columns.len()].copy_from_slice(&bias[place.columns.clone()]);
    }
    let shift = &shift[..width];
    for (r, sums) in place.rows.clone().zip(sums.chunks_exact_mut(width)) {
        let (scale, zero) = (a.scales[r], a.zeros[r]);
        for c in 0..width {
            let sum = (sums[c] as i32).wrapping_sub(zero.wrapping_mul(totals[c]));
            sums[c] = (sum as f32 * (scale * scales[c]) + shift[c]).to_bits();
        }
    }
}

/// Copies a tile with rows of `width` to its place in a matrix, whose rows are `row` apart.
#[inline(always)]
fn write_rows(tile: &[f32], width: usize, (out, row): (&SharedMut<f32>, usize), place: &Place) {
    for (r, tile) in place.rows.clone().zip(tile.chunks_exact(width)) {
        // SAFETY: this task's alone.
        let out = unsafe { out.slice(r * row + place.columns.start..r * row + place.columns.end) };
        copy(out, tile);
    }
}
