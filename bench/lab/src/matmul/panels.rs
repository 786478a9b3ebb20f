//! packed panels: B is copied once, to the order in which a tile reads it.
//!
//! Adds: a panel is 8 columns of B, `[k][8]`, one row of eight right after the other, padded with
//!   zeros.
//! Why: in B itself the next row of a tile lies a whole row of B further on: each step takes
//!   another cache line, and soon another page; rows that are a multiple of 4 KiB long even share a
//!   few sets of the first cache and push each other out. A panel is read straight on, which the
//!   processor fetches ahead by itself. The copy costs k·n moves against m·k·n multiply-adds.
//! Order: k ascending, one sum

use super::Sizes;

const ROWS: usize = 4;
const WIDTH: usize = 8;

pub fn product(s: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    let panels = pack::<WIDTH>(s, b);
    for i in (0..s.m).step_by(ROWS) {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| &a[(i + r).min(s.m - 1) * s.k..][..s.k]);
        for (panel, j) in panels.chunks(s.k).zip((0..s.n).step_by(WIDTH)) {
            let sums = tile(rows, panel);
            let width = WIDTH.min(s.n - j);
            for r in 0..ROWS.min(s.m - i) {
                c[(i + r) * s.n + j..][..width].copy_from_slice(&sums[r][..width]);
            }
        }
    }
}

/// B as panels, each `k` rows of `W` columns.
#[inline(always)]
pub fn pack<const W: usize>(s: Sizes, b: &[f32]) -> Vec<[f32; W]> {
    let mut panels = vec![[0.0; W]; s.k * s.n.div_ceil(W)];
    for p in 0..s.k {
        for (panel, columns) in b[p * s.n..(p + 1) * s.n].chunks(W).enumerate() {
            panels[panel * s.k + p][..columns.len()].copy_from_slice(columns);
        }
    }
    panels
}

/// The sums of four rows times a panel.
fn tile(rows: [&[f32]; ROWS], panel: &[[f32; WIDTH]]) -> [[f32; WIDTH]; ROWS] {
    let mut sums = [[0.0; WIDTH]; ROWS];
    for (p, columns) in panel.iter().enumerate() {
        for r in 0..ROWS {
            for l in 0..WIDTH {
                sums[r][l] += rows[r][p] * columns[l];
            }
        }
    }
    sums
}
