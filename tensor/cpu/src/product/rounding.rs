//! Operands rounded to 8 or 16 bits.
//!
//! **Integers** (Jacob et al., arXiv:1712.05877): a column of B, that is an output channel, is q·s
//! with s = max|w|/127 and q in −127..127. A row of A is rounded in every call, in one of two ways:
//! - to 8 bits, a = s·(u − z), u in 0..255, z the u of 0 (or both less 128). Then c[i][j] =
//!   (Σ_p u[i][p]·q[j][p] − z[i]·Σ_p q[j][p])·s[i]·s[j];
//! - to 16 bits, a = q·s, s being max|a| over the largest integer for which no sum can leave an i32
//!   ([`max_integer`]), so that what is lost is the weights' rounding alone.
//!
//! **bf16**: both operands are rounded to the nearest, ties to even; see [`super::bf16`].

use std::ops::Range;

use super::bf16;
use super::numbers::{HALF, Numbers, Room};
use crate::mat::Mat;
use crate::math::{from_order, in_order, nearest};
use crate::simd;

/// The largest number of steps whose sum of products of 8 by 8 bits fits an i32.
pub(super) const MAX_STEPS: usize = i32::MAX as usize / (255 * 127);

/// The largest integer of a row of A in 16 bits: `k` products of it and ±127 fit an i32.
pub(super) fn max_integer(k: usize) -> i32 {
    ((i32::MAX as usize / 127 / k.max(1)).min(i16::MAX as usize) as i32).max(1)
}

/// The larger of `m` and |x| by their bits: without the sign these are in the order of the numbers,
/// infinity and NaN above all.
#[inline(always)]
fn larger(m: u32, x: f32) -> u32 {
    m.max(x.to_bits() & 0x7fff_ffff)
}

/// What an integer of a row is worth, and its inverse, from the bits of the largest magnitude; NaN
/// and 0 where a value is not finite.
#[inline(always)]
fn scale(largest: u32, max_integer: i32) -> (f32, f32) {
    let (largest, max_integer) = (f32::from_bits(largest), max_integer as f32);
    // Where the inverse would be infinite, all there is are subnormal numbers: they count as 0.
    let inverse = max_integer / largest;
    match largest.is_finite() {
        false => (f32::NAN, 0.0),
        true if inverse.is_finite() => (largest / max_integer, inverse),
        true => (0.0, 0.0),
    }
}

/// As [`scale`], for integers 0..255 that stand for the numbers from `min` to `max`: and the
/// integer of 0.
#[inline(always)]
fn affine(min: f32, max: f32) -> (f32, f32, i32) {
    let step = max * (1.0 / 255.0) - min * (1.0 / 255.0);
    let inverse = 1.0 / step;
    match (min.is_finite() && max.is_finite(), inverse.is_finite()) {
        (false, _) => (f32::NAN, 0.0, 0),
        (true, true) => (step, inverse, nearest(-min * inverse).clamp(0, 255)),
        (true, false) => (0.0, 0.0, 0),
    }
}

/// The steps `ks` of the columns `columns` of B as the two halves of a panel, each `[words][16]`.
pub(super) fn pack_weight(
    numbers: Numbers,
    b: Mat<f32>,
    ks: Range<usize>,
    columns: Range<usize>,
    room: Room,
) {
    if numbers == Numbers::Bf16 {
        return bf16::pack_panel(b, ks, columns, room.bytes);
    }
    let (steps, bytes, words) = (numbers.steps(), numbers.bytes(), numbers.words(ks.len()));
    room.bytes.fill(0);
    for (c, column) in columns.enumerate() {
        let value = |p: usize| b.data[(ks.start + p) * b.row + column * b.col];
        // Where step p of this column lies.
        let half = c / HALF * words * HALF + c % HALF;
        let at = |p: usize| (half + p / steps * HALF) * bytes + p % steps * (bytes / steps);
        let (scale, inverse) = scale((0..ks.len()).map(value).fold(0, larger), 127);
        room.scales[c] = scale;
        for p in 0..ks.len() {
            let q = nearest(value(p) * inverse).clamp(-127, 127);
            room.offsets[c] += q;
            room.bytes[at(p)] = q as i8 as u8;
        }
    }
}

/// The steps `ks` of the rows `rows` of A, each row so many words; for integers its columns are
/// adjacent.
pub(super) fn pack_rows(
    numbers: Numbers,
    a: Mat<f32>,
    rows: Range<usize>,
    ks: Range<usize>,
    room: Room,
) {
    if numbers == Numbers::Bf16 {
        return bf16::pack_rows(a, rows, ks, room.bytes);
    }
    assert!(a.col == 1, "columns are adjacent");
    let words = numbers.words(ks.len());
    simd::dispatch::<true, f32, _>(
        #[inline(always)]
        || {
            for (i, (row, out)) in rows.zip(room.bytes.chunks_exact_mut(words * 4)).enumerate() {
                let x = &a.data[row * a.row + ks.start..][..ks.len()];
                match numbers {
                    Numbers::I16ByI8 => {
                        room.scales[i] = in_16_bits(x, bytemuck::cast_slice_mut(out));
                    }
                    Numbers::U8ByI8 => (room.scales[i], room.offsets[i]) = in_8_bits(x, out),
                    Numbers::I8ByI8 => {
                        (room.scales[i], room.offsets[i]) = in_8_bits(x, out);
                        room.offsets[i] -= 128;
                        out.iter_mut().for_each(|u| *u ^= 128);
                    }
                    Numbers::Bf16 | Numbers::F32 => unreachable!("not integers"),
                }
            }
        },
    );
}

#[inline(always)]
fn in_16_bits(x: &[f32], out: &mut [i16]) -> f32 {
    let (scale, inverse) = scale(x.iter().fold(0, |m, &x| larger(m, x)), max_integer(x.len()));
    for (q, &x) in out.iter_mut().zip(x) {
        *q = nearest(x * inverse) as i16;
    }
    out[x.len()..].fill(0);
    scale
}

#[inline(always)]
fn in_8_bits(x: &[f32], out: &mut [u8]) -> (f32, i32) {
    // 0 is always among them; an infinity or a NaN is at one end.
    let (mut min, mut max) = (0, 0);
    for key in x.iter().map(|&x| in_order(x)) {
        (min, max) = (min.min(key), max.max(key));
    }
    let (scale, inverse, zero) = affine(from_order(min), from_order(max));
    for (q, &x) in out.iter_mut().zip(x) {
        *q = (nearest(x * inverse) + zero).clamp(0, 255) as u8;
    }
    out[x.len()..].fill(0);
    (scale, zero)
}
