//! blocks and prefetch: the loops are cut so that each cache keeps what will be read again.
//!
//! Adds: a block is 96 rows of A and 384 steps of k. A panel's part of it (12 KiB here) stays in
//!   the first cache while all tiles of the block use it, the block of A (144 KiB) in the second
//!   while all panels pass. The tiles of a panel ask for the next panel while they multiply.
//! Why: without blocks a tile of rows reads the whole of B again: 2 MiB of panels for 4 rows,
//!   from the third cache or from memory. Now they are read once for 96 rows.
//! Order: blocks of 384, each k ascending, then the blocks ascending

use super::Sizes;
use super::panels::pack;

/// Rows and steps of a block.
pub const BLOCK_ROWS: usize = 96;
const BLOCK_STEPS: usize = 384;

pub fn product(s: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    blocked::<4, 8, false>(s, a, &pack::<8>(s, b), c);
}

/// C from A and the panels of B, by tiles of `R` rows and `W` columns. `FUSED` rounds once for a
/// product and its addition, where the processor has an instruction for that.
#[inline(always)]
pub fn blocked<const R: usize, const W: usize, const FUSED: bool>(
    s: Sizes,
    a: &[f32],
    panels: &[[f32; W]],
    c: &mut [f32],
) {
    for from in (0..s.k).step_by(BLOCK_STEPS) {
        let steps = from..s.k.min(from + BLOCK_STEPS);
        for first in (0..s.m).step_by(BLOCK_ROWS) {
            for (number, j) in (0..s.n).step_by(W).enumerate() {
                let panel = &panels[number * s.k + steps.start..][..steps.len()];
                for i in (first..s.m.min(first + BLOCK_ROWS)).step_by(R) {
                    // What all tiles of this panel together ask for is the next panel.
                    let share = steps.len().div_ceil(BLOCK_ROWS / R);
                    let ahead = panel.as_ptr().wrapping_add(s.k + (i - first) / R * share);
                    (0..share).for_each(|line| gradus_cpu::prefetch(ahead.wrapping_add(line)));
                    let rows: [&[f32]; R] = std::array::from_fn(|r| {
                        &a[(i + r).min(s.m - 1) * s.k + steps.start..][..steps.len()]
                    });
                    let sums = tile::<R, W, FUSED>(rows, panel);
                    store(s, (i, j), &sums, steps.start > 0, c);
                }
            }
        }
    }
}

/// The sums of `R` rows times a panel.
#[inline(always)]
fn tile<const R: usize, const W: usize, const FUSED: bool>(
    rows: [&[f32]; R],
    panel: &[[f32; W]],
) -> [[f32; W]; R] {
    let mut sums = [[0.0; W]; R];
    for (p, columns) in panel.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][p];
            for l in 0..W {
                let (sum, y) = (sums[r][l], columns[l]);
                sums[r][l] = if FUSED { x.mul_add(y, sum) } else { sum + x * y };
            }
        }
    }
    sums
}

/// Writes a tile's sums to C, or adds them to what the blocks before left there.
#[inline(always)]
fn store<const R: usize, const W: usize>(
    s: Sizes,
    (i, j): (usize, usize),
    sums: &[[f32; W]; R],
    add: bool,
    c: &mut [f32],
) {
    let width = W.min(s.n - j);
    for r in 0..R.min(s.m - i) {
        let row = &mut c[(i + r) * s.n + j..][..width];
        for l in 0..width {
            row[l] = if add { row[l] + sums[r][l] } else { sums[r][l] };
        }
    }
}
