// Chapter 6, a product in steps. Exercise 2: another order.
//
// In the order ijk the innermost loop reads B[0, j], B[1, j], …: down a column, n places further in
// memory each time. Two things are slow about it. Memory comes in lines of 16 numbers, and 15 of
// them go unused. And each addition must wait for the one before, because all go into one sum.
//
// Exchange the two inner loops. For each i and p, take x = A[i, p], and add x times row p of B to
// row i of C:
//
//     C[i, 0..n] += A[i, p] · B[p, 0..n]
//
// It is the same arithmetic. But now both rows lie in a row in memory, and the additions go to
// different sums, so the compiler makes 4 (or more) of them with one instruction. It does so if the
// loop has no checks of bounds: take the two rows as slices, and `zip` them.
//
// `cargo run --bin product2_ikj` must find it at least twice as fast as ijk.

use std::process::ExitCode;

use check::product::{Sizes, faster};

fn ijk(a: &[f32], b: &[f32], c: &mut [f32], s: Sizes) {
    for i in 0..s.m {
        for j in 0..s.n {
            let mut sum = 0.0;
            for p in 0..s.k {
                sum += a[i * s.k + p] * b[p * s.n + j];
            }
            c[i * s.n + j] = sum;
        }
    }
}

fn ikj(a: &[f32], b: &[f32], c: &mut [f32], s: Sizes) {
    c.fill(0.0);
    for i in 0..s.m {
        let row = &mut c[i * s.n..][..s.n];
        for p in 0..s.k {
            let x = a[i * s.k + p];
            for (c, b) in row.iter_mut().zip(&b[p * s.n..][..s.n]) {
                *c += x * b;
            }
        }
    }
}

fn main() -> ExitCode {
    faster(2.0, 192, ("ijk", ijk), ("ikj", ikj))
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::product::Side;

    #[test]
    fn agrees_with_the_engine() {
        check::product::marks("ikj", Side::Plain, ikj);
    }
}
