//! ikj: the same three loops in another order.
//!
//! Adds: the middle loop is now the inner one. Each number of A is multiplied by a whole row of
//!   B, and the products are added to a row of C.
//! Why: rows of B and C are read in the order in which they lie, and the additions of a row
//!   belong to different sums: so the compiler makes vectors of them. What is left to pay is
//!   memory: for each multiply-add a number of C is loaded and stored again.
//! Order: k ascending, one sum

use super::Sizes;

pub fn product(Sizes { m, k, n }: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    c.fill(0.0);
    for i in 0..m {
        let row = &mut c[i * n..(i + 1) * n];
        for p in 0..k {
            let x = a[i * k + p];
            for (sum, y) in row.iter_mut().zip(&b[p * n..(p + 1) * n]) {
                *sum += x * y;
            }
        }
    }
}
