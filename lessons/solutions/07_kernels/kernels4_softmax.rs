// Chapter 7, kernels for a GPU. Exercise 4: softmax.
//
// The softmax of a row makes positive numbers of it that add up to 1:
//
//     y[j] = e^(x[j] − m) / s,   m = max x,   s = Σ e^(x − m).
//
// Subtracting the largest element m changes nothing (it cancels), except that no exponential is
// larger than 1. Without it e^89 would be too large for f32, and ∞/∞ is NaN.
//
// The workgroup goes over its row three times: for m, for s, and to write. In each pass thread t
// takes the elements t, t + 64, …. Two reductions like that of exercise 3 are given: sum and max.
//
// Read: shaders/src/softmax.wgsl; tensor/cpu/src/softmax.rs does the same on a CPU.
//
// The solution is lessons/kernels/solutions/kernels4_softmax.wgsl.

use check::shader::{Launch, kernel};
use gradus::prelude::*;

fn main() {
    println!("{}", kernel!());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(rows: usize, n: usize, scale: f32) {
        let x: Vec<f32> = (0..rows * n).map(|i| ((i * 7 % 23) as f32 - 11.0) * scale).collect();
        let engine = Tensor::from_slice(&x, &[rows, n]).unwrap().softmax(-1).unwrap();
        let expected = engine.to_vec::<f32>().unwrap();
        let arguments = &[rows as u32, n as u32];
        let shape = &[rows, n];
        let launch = Launch { inputs: &[&x], shape, arguments, groups: rows as u32, threads: 64 };
        kernel!().run(&format!("the softmax of {rows} rows of {n}"), &launch, &expected, 1e-6);
    }

    #[test]
    fn the_text_is_valid() {
        kernel!().validate();
    }

    #[test]
    fn rows_of_any_length() {
        for (rows, n) in [(1, 1), (4, 5), (2, 64), (3, 65), (2, 333)] {
            on(rows, n, 0.25);
        }
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        on(2, 70, 20.0); // up to 220; e^89 is infinite
    }

    #[test]
    fn rows_of_negative_numbers() {
        let x: Vec<f32> = (0..6).map(|i| -300.0 - i as f32).collect();
        let engine = Tensor::from_slice(&x, &[1, 6]).unwrap().softmax(-1).unwrap();
        let arguments = &[1, 6];
        let launch = Launch { inputs: &[&x], shape: &[1, 6], arguments, groups: 1, threads: 64 };
        kernel!().run("the softmax of −300 …", &launch, &engine.to_vec::<f32>().unwrap(), 1e-6);
    }
}
