//! register tile: 4×8 sums stay in registers while k runs.
//!
//! Adds: a tile of C is finished before the next one begins. For each k it loads 8 numbers of B
//!   and 4 of A, and makes 32 multiply-adds of them.
//! Why: C is stored once, not once for each k, and a loaded number serves for 4 or 8
//!   multiply-adds. The eight vectors of sums do not depend on each other, so they fill the time in
//!   which one addition waits.
//! Order: k ascending, one sum

use super::Sizes;

const ROWS: usize = 4;
const WIDTH: usize = 8;

pub fn product(s: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in (0..s.m).step_by(ROWS) {
        // Beyond the last row there is nothing: the tile computes the last one again and drops it.
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| &a[(i + r).min(s.m - 1) * s.k..][..s.k]);
        for j in (0..s.n).step_by(WIDTH) {
            let sums = tile(s, rows, b, j);
            let width = WIDTH.min(s.n - j);
            for r in 0..ROWS.min(s.m - i) {
                c[(i + r) * s.n + j..][..width].copy_from_slice(&sums[r][..width]);
            }
        }
    }
}

/// The sums of four rows and the columns from `j` on.
fn tile(s: Sizes, rows: [&[f32]; ROWS], b: &[f32], j: usize) -> [[f32; WIDTH]; ROWS] {
    let mut sums = [[0.0; WIDTH]; ROWS];
    for p in 0..s.k {
        let line = &b[p * s.n + j..];
        // The last row of B may end before a whole vector does.
        let mut columns = [0.0; WIDTH];
        match line.first_chunk() {
            Some(whole) => columns = *whole,
            None => columns[..line.len()].copy_from_slice(line),
        }
        for r in 0..ROWS {
            for l in 0..WIDTH {
                sums[r][l] += rows[r][p] * columns[l];
            }
        }
    }
    sums
}
