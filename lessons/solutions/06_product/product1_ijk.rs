// Chapter 6, a product in steps. Exercise 1: three loops.
//
// Nearly all the time of a model goes into matrix products. In this chapter you write one, and make
// it faster in four steps. The first is the definition: C = A·B,
//
//     C[i, j] = Σₚ A[i, p] · B[p, j]
//
// with A of shape [m, k], B of [k, n], C of [m, n], each row after row in a slice. As the loops run
// over i, j and p in this order, it is called ijk.
//
// The tests compare with the engine's product in f64. In f32 each of the 2k operations of a sum may
// round, so the result may differ, but only by so much.
//
// Programs of this chapter also show their speed. It is no part of the tests: run it yourself, with
// `cargo run --bin product1_ijk` (rustlings does it when the tests pass).

use check::product::Sizes;

fn product(a: &[f32], b: &[f32], c: &mut [f32], s: Sizes) {
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

fn main() {
    check::product::speed(192, ("ijk", product));
    println!("one core of your processor can do many times that");
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::product::Side;

    #[test]
    fn two_by_two() {
        let mut c = [0.0; 4];
        product(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], &mut c, Sizes { m: 2, k: 2, n: 2 });
        let input = "[[1, 2], [3, 4]] · [[5, 6], [7, 8]]";
        check::near("the product", input, &c, &[19.0f32, 22.0, 43.0, 50.0], 0.0);
    }

    #[test]
    fn agrees_with_the_engine() {
        check::product::marks("the product", Side::Plain, product);
    }
}
