// Chapter 6, a product in steps. Exercise 4: packed panels.
//
// A layer computes x·Wᵀ, with W of shape [n, k]: the weights of each output lie together, because
// so they are saved. A row of x times a row of W is one sum, and each addition must wait for the
// one before. For C sums at the same time, with one instruction for several of them, C numbers of W
// are needed that lie k places apart. They cannot be loaded together.
//
// So write W down once in another order, just as the loop will read it. A panel has C columns of
// the result; its row p has the C numbers that belong to p:
//
//     W = [[a, b, c],            panel 0, with C = 2:   [a, d]
//          [d, e, f], …]                                [b, e]
//                                                       [c, f]
//
// Packing reads W once, while the product reads it m times: it pays for more than a few rows. The C
// sums of a row stay in registers during the whole loop over p.
//
// In the engine: a weight keeps its packed panels until it changes; see tensor/cpu/src/product/.
//
// `cargo run --bin product4_packed` must find it at least twice as fast as without packing.

use std::process::ExitCode;

use check::product::{Sizes, faster};

/// Columns of a panel. n is a multiple of it.
const C: usize = 8;

/// One panel: for each p, the numbers of its columns.
type Panel = Vec<[f32; C]>;

/// The panels of W [n, k].
fn pack(w: &[f32], k: usize, n: usize) -> Vec<Panel> {
    (0..n)
        .step_by(C)
        .map(|j| {
            // TODO: the panel of the columns j, j + 1, …, j + C − 1.
            todo!("the panel of column {j} and those after it")
        })
        .collect()
}

/// The C sums of a row of A with a panel.
fn row_times_panel(row: &[f32], panel: &[[f32; C]]) -> [f32; C] {
    let mut sums = [0.0; C];
    // TODO: for each number of the row and row of the panel, add the products to the sums.
    todo!("the sums");
    sums
}

fn packed(a: &[f32], w: &[f32], c: &mut [f32], s: Sizes) {
    for (panel, j) in pack(w, s.k, s.n).iter().zip((0..).step_by(C)) {
        for i in 0..s.m {
            let sums = row_times_panel(&a[i * s.k..][..s.k], panel);
            c[i * s.n + j..][..C].copy_from_slice(&sums);
        }
    }
}

/// The step before: one sum after the other, with the numbers read where they lie.
fn unpacked(a: &[f32], w: &[f32], c: &mut [f32], s: Sizes) {
    for i in 0..s.m {
        for j in 0..s.n {
            let pairs = a[i * s.k..][..s.k].iter().zip(&w[j * s.k..][..s.k]);
            c[i * s.n + j] = pairs.map(|(x, w)| x * w).sum();
        }
    }
}

fn main() -> ExitCode {
    faster(2.0, 192, ("W as it lies", unpacked), ("packed panels", packed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::product::Side;

    #[test]
    fn panels() {
        // W of 8 rows and 2 columns: 0, 1 / 10, 11 / 20, 21 / …
        let w: Vec<f32> = (0..8).flat_map(|j| [j as f32 * 10.0, j as f32 * 10.0 + 1.0]).collect();
        let expected = [
            [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0],
            [1.0, 11.0, 21.0, 31.0, 41.0, 51.0, 61.0, 71.0],
        ];
        let panels = pack(&w, 2, 8);
        check::same("how many panels", "W [8, 2]", &[panels.len()], &[1]);
        check::same("the panel", format!("W [8, 2] = {w:?}"), &panels[0], &expected);
    }

    #[test]
    fn sums_of_a_row() {
        let panel = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0; C]];
        let expected: [f32; C] = [12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0, 26.0];
        let yours = row_times_panel(&[2.0, 10.0], &panel);
        check::near("the sums", format!("row [2, 10], panel {panel:?}"), &yours, &expected, 0.0);
    }

    #[test]
    fn agrees_with_the_engine() {
        check::product::marks("the product", Side::Transposed, packed);
    }
}
