// Chapter 6, a product in steps. Exercise 5: a tile in registers.
//
// In exercise 4 each number of a panel was loaded, multiplied once, and forgotten; for the next row
// it was loaded again. Take R rows of A at the same time. Then a number of the panel, once loaded,
// is used R times, and a number of A is used C times:
//
//     one row:    1 · 16 products for 1 + 16 numbers loaded
//     six rows:   6 · 16 products for 6 + 16 numbers loaded
//
// The R · C sums are the tile. They must all stay in registers: 6 · 16 numbers are 12 registers of
// 8 numbers. With a few more rows they would not fit, and the speed would fall to a tenth; try it.
//
// There are also many sums under way at the same time now, so that no addition waits for another.
//
// Registers of 8 or 16 numbers, and an instruction that multiplies and adds (`mul_add`), are not in
// every processor. `widest` runs a closure that is compiled for the best that yours has. What is
// inlined into it is compiled so, too; hence `#[inline(always)]`.
//
// In the engine: tensor/cpu/src/simd.rs, and the kernels of tensor/cpu/src/product/.
//
// `cargo run --bin product5_tile` must find it at least twice as fast as exercise 4.

use std::process::ExitCode;

use check::product::{Sizes, faster, instruction_set, widest};

/// Rows and columns of a tile. n is a multiple of C; the last rows are filled up with zeros.
const R: usize = 6;
const C: usize = 16;

/// The products of a strip (for each p, R numbers of A) with a panel (for each p, C numbers of B).
#[inline(always)]
fn tile(strip: &[[f32; R]], panel: &[[f32; C]]) -> [[f32; C]; R] {
    let mut sums = [[0.0f32; C]; R];
    // TODO: for each p, add all R · C products to the sums, with `mul_add`.
    todo!("the tile");
    sums
}

/// The rows of x [rows, k] in strips or panels of N rows, each with its numbers in the order of p.
fn pack<const N: usize>(x: &[f32], rows: usize, k: usize) -> Vec<Vec<[f32; N]>> {
    let at = |row: usize, p: usize| if row < rows { x[row * k + p] } else { 0.0 };
    let numbers = |row: usize| (0..k).map(move |p| std::array::from_fn(|n| at(row + n, p)));
    (0..rows).step_by(N).map(|row| numbers(row).collect()).collect()
}

fn tiled(a: &[f32], w: &[f32], c: &mut [f32], s: Sizes) {
    let (strips, panels) = (pack::<R>(a, s.m, s.k), pack::<C>(w, s.n, s.k));
    for (panel, j) in panels.iter().zip((0..).step_by(C)) {
        for (strip, i) in strips.iter().zip((0..).step_by(R)) {
            let sums = widest(
                #[inline(always)]
                || tile(strip, panel),
            );
            for r in 0..R.min(s.m - i) {
                c[(i + r) * s.n + j..][..C].copy_from_slice(&sums[r]);
            }
        }
    }
}

/// The step before: exercise 4.
fn rows(a: &[f32], w: &[f32], c: &mut [f32], s: Sizes) {
    for (panel, j) in pack::<8>(w, s.n, s.k).iter().zip((0..).step_by(8)) {
        for i in 0..s.m {
            let mut sums = [0.0; 8];
            for (x, numbers) in a[i * s.k..][..s.k].iter().zip(panel) {
                for c in 0..8 {
                    sums[c] += x * numbers[c];
                }
            }
            c[i * s.n + j..][..8].copy_from_slice(&sums);
        }
    }
}

fn main() -> ExitCode {
    println!("this processor's instructions: {}", instruction_set());
    match instruction_set() {
        "plain" => ExitCode::SUCCESS, // nothing to gain: it has no such registers
        _ => faster(2.0, 384, ("packed panels", rows), ("tiles", tiled)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::product::Side;

    #[test]
    fn one_tile() {
        let strip: Vec<[f32; R]> = vec![[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0; R]];
        let columns: [f32; C] = std::array::from_fn(|c| c as f32);
        let yours = tile(&strip, &[columns, [1.0; C]]);
        let expected: Vec<f32> =
            (0..R * C).map(|i| (i / C + 1) as f32 * (i % C) as f32 + 10.0).collect();
        let input = format!("strip {strip:?}, panel [{columns:?}, [1.0; 16]]");
        check::near("the sums", input, &yours.as_flattened().to_vec(), &expected, 0.0);
    }

    #[test]
    fn agrees_with_the_engine() {
        check::product::marks("the product", Side::Transposed, tiled);
    }
}
