//! Operands rounded to bf16, and copied into the order in which tiles read them.
//!
//! A **line** is a row of A or a column of B. A word holds two steps of a line, so words are made of
//! two neighbours along k: either lines are adjacent in memory, and a vector of words is made of two
//! vectors of lines, or steps are. Where the result has the other order, blocks of 16 lines × 16
//! words are transposed.

use std::ops::Range;

use super::kernel::prefetch;
use super::numbers::{HALF, Numbers};
use crate::mat::Mat;
use crate::simd;

/// Lines of a block, and its words of each line.
const SIDE: usize = HALF;
/// How many steps ahead a line of memory is asked for.
const AHEAD: usize = 16;

/// Words of a few lines: `[words][lines]` or `[lines][words]`.
type Block = [[u32; SIDE]; SIDE];

/// The nearest bf16, ties to even; of a NaN a NaN.
#[inline(always)]
pub(super) fn bf16(x: f32) -> u16 {
    rounded(x) as u16
}

/// A way to round: by integers, or by the processor's instruction, which counts numbers below the
/// least normal one as 0, as its products do.
pub(super) trait Round: Copy {
    /// Runs `body` compiled for it.
    fn inside(self, body: impl FnOnce());

    /// The nearest bf16 of each.
    fn adjacent(self, x: &[f32; 2 * SIDE]) -> [u16; 2 * SIDE];

    /// Words of two steps of several lines, the first step in the low halves.
    fn words(self, first: &[f32; SIDE], second: &[f32; SIDE]) -> [u32; SIDE];
}

/// Rounds by integers.
#[derive(Clone, Copy)]
struct ByIntegers;

impl Round for ByIntegers {
    #[inline(always)]
    fn inside(self, body: impl FnOnce()) {
        simd::dispatch::<true, f32, _>(body)
    }

    #[inline(always)]
    fn adjacent(self, x: &[f32; 2 * SIDE]) -> [u16; 2 * SIDE] {
        let mut out = [0; 2 * SIDE];
        for p in 0..2 * SIDE {
            out[p] = bf16(x[p]);
        }
        out
    }

    #[inline(always)]
    fn words(self, first: &[f32; SIDE], second: &[f32; SIDE]) -> [u32; SIDE] {
        let mut out = [0; SIDE];
        for l in 0..SIDE {
            out[l] = word(first[l], second[l]);
        }
        out
    }
}

/// [`bf16`] as a number of 32 bits.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let nan = bits >> 16 | 0x40;
    if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }
}

/// Two steps of a line, the first in the low half.
#[inline(always)]
fn word(first: f32, second: f32) -> u32 {
    rounded(first) | rounded(second) << 16
}

/// The steps `ks` of the columns `columns` of B as the two halves of a panel, each `[words][16]`.
pub(super) fn pack_panel(b: Mat<f32>, ks: Range<usize>, columns: Range<usize>, out: &mut [u8]) {
    let out = bytemuck::cast_slice_mut(out);
    #[cfg(target_arch = "x86_64")]
    if let Some(round) = super::avx512::Bf16::detect() {
        return panel(round, b, ks, columns, out);
    }
    panel(ByIntegers, b, ks, columns, out);
}

/// The steps `ks` of the rows `rows` of A, each row so many words.
pub(super) fn pack_rows(a: Mat<f32>, rows: Range<usize>, ks: Range<usize>, out: &mut [u8]) {
    let out = bytemuck::cast_slice_mut(out);
    #[cfg(target_arch = "x86_64")]
    if let Some(round) = super::avx512::Bf16::detect() {
        return left(round, a, rows, ks, out);
    }
    left(ByIntegers, a, rows, ks, out);
}

/// [`pack_panel`].
fn panel(round: impl Round, b: Mat<f32>, ks: Range<usize>, columns: Range<usize>, out: &mut [u32]) {
    let words = Numbers::Bf16.words(ks.len());
    round.inside(
        #[inline(always)]
        || {
            for (half, out) in out.chunks_exact_mut(words * HALF).enumerate() {
                let first = (columns.start + half * HALF).min(columns.end);
                let lines = first..columns.end.min(first + HALF);
                for (at, out) in out.chunks_exact_mut(SIDE * HALF).enumerate() {
                    let from = (ks.start + 2 * SIDE * at).min(ks.end);
                    let steps = from..ks.end.min(from + 2 * SIDE);
                    let block = by_word(round, b.t(), lines.clone(), steps);
                    out.copy_from_slice(block.as_flattened());
                }
            }
        },
    );
}

/// [`pack_rows`].
fn left(round: impl Round, a: Mat<f32>, rows: Range<usize>, ks: Range<usize>, out: &mut [u32]) {
    let words = Numbers::Bf16.words(ks.len());
    round.inside(
        #[inline(always)]
        || {
            if a.col == 1 {
                return left_of_adjacent_steps(round, a, rows, ks, (out, words));
            }
            // A few steps of all rows at a time: that is how they lie where rows are adjacent.
            for (at, from) in ks.clone().step_by(2 * SIDE).enumerate() {
                let steps = from..ks.end.min(from + 2 * SIDE);
                for (i, first) in rows.clone().step_by(SIDE).enumerate() {
                    let lines = first..rows.end.min(first + SIDE);
                    let block = by_line(round, a, lines.clone(), steps.clone());
                    for (r, block) in block.iter().take(lines.len()).enumerate() {
                        out[(i * SIDE + r) * words + at * SIDE..][..SIDE].copy_from_slice(block);
                    }
                }
            }
        },
    );
}

/// [`left`] where the steps of a row are adjacent.
#[inline(always)]
fn left_of_adjacent_steps(
    round: impl Round,
    a: Mat<f32>,
    rows: Range<usize>,
    ks: Range<usize>,
    (out, words): (&mut [u32], usize),
) {
    for (row, out) in rows.zip(out.chunks_exact_mut(words)) {
        let x = &a.data[row * a.row + ks.start..][..ks.len()];
        let (out, beyond) = bytemuck::cast_slice_mut::<_, u16>(out).split_at_mut(x.len());
        let (x, x_rest) = x.as_chunks();
        let (out, out_rest) = out.as_chunks_mut();
        for (out, x) in out.iter_mut().zip(x) {
            *out = round.adjacent(x);
        }
        for (out, x) in out_rest.iter_mut().zip(x_rest) {
            *out = bf16(*x);
        }
        beyond.fill(0);
    }
}

/// The words `[words][lines]` of up to 16 lines and 32 steps; 0 beyond them. `m` is `[lines, steps]`.
#[inline(always)]
fn by_word(round: impl Round, m: Mat<f32>, lines: Range<usize>, steps: Range<usize>) -> Block {
    if m.row == 1 {
        of_adjacent_lines(round, m, lines, steps)
    } else {
        transposed(&of_steps(round, m, lines, steps))
    }
}

/// The words `[lines][words]`, likewise.
#[inline(always)]
fn by_line(round: impl Round, m: Mat<f32>, lines: Range<usize>, steps: Range<usize>) -> Block {
    if m.row == 1 {
        transposed(&of_adjacent_lines(round, m, lines, steps))
    } else {
        of_steps(round, m, lines, steps)
    }
}

/// The words `[words][lines]`, where lines are adjacent.
#[inline(always)]
fn of_adjacent_lines(
    round: impl Round,
    m: Mat<f32>,
    lines: Range<usize>,
    steps: Range<usize>,
) -> Block {
    let mut block = [[0; SIDE]; SIDE];
    let at = |step: usize| &m.data[lines.start + step * m.col..];
    let (whole, zeros) = (lines.len() == SIDE, [0f32; SIDE]);
    for (p, out) in block.iter_mut().enumerate().take(steps.len().div_ceil(2)) {
        let (first, second) = (steps.start + 2 * p, steps.start + 2 * p + 1);
        let below = second < steps.end;
        if whole {
            let a: &[f32; SIDE] = at(first).first_chunk().expect("inside (checked)");
            let b =
                if below { at(second).first_chunk().expect("inside (checked)") } else { &zeros };
            *out = round.words(a, b);
            for step in [first, second] {
                prefetch(m.data.as_ptr().wrapping_add(lines.start + (step + AHEAD) * m.col));
            }
            continue;
        }
        for l in 0..lines.len() {
            out[l] = word(at(first)[l], if below { at(second)[l] } else { 0.0 });
        }
    }
    block
}

/// The words `[lines][words]`, where steps are adjacent or nothing is.
#[inline(always)]
fn of_steps(round: impl Round, m: Mat<f32>, lines: Range<usize>, steps: Range<usize>) -> Block {
    let mut block = [[0; SIDE]; SIDE];
    let whole = m.col == 1 && steps.len() == 2 * SIDE;
    for (out, line) in block.iter_mut().zip(lines) {
        let x = &m.data[line * m.row + steps.start * m.col..];
        if whole {
            let x: &[f32; 2 * SIDE] = x.first_chunk().expect("inside (checked)");
            *out = bytemuck::cast(round.adjacent(x));
            continue;
        }
        for p in 0..steps.len().div_ceil(2) {
            let second = if 2 * p + 1 < steps.len() { x[(2 * p + 1) * m.col] } else { 0.0 };
            out[p] = word(x[2 * p * m.col], second);
        }
    }
    block
}

#[inline(always)]
fn transposed(block: &Block) -> Block {
    let mut out = [[0; SIDE]; SIDE];
    for i in 0..SIDE {
        for j in 0..SIDE {
            out[j][i] = block[i][j];
        }
    }
    out
}
