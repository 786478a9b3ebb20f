//! ijk: each element of C by itself, as the formula is written.
//!
//! Adds: nothing yet. Two loops choose an element, the third runs along a row of A and down a
//!   column of B.
//! Why: slow for two reasons. The next element of a column of B lies a whole row further on, so
//!   each step loads a cache line for one number. And every addition waits a few cycles for the one
//!   before, because sums of floats may not be put in another order: the compiler cannot use
//!   vectors.
//! Order: k ascending, one sum

use super::Sizes;

pub fn product(Sizes { m, k, n }: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0;
            for p in 0..k {
                sum += a[i * k + p] * b[p * n + j];
            }
            c[i * n + j] = sum;
        }
    }
}
