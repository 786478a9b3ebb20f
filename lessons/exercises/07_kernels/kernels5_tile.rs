// Chapter 7, kernels for a GPU. Exercise 5: a product in tiles.
//
// In C = A·B every number of A is needed n times, and every number of B m times. A thread that
// computes one element by itself reads 2k numbers from memory for 2k operations: the GPU waits for
// memory. In tiles, a workgroup of 8×8 threads copies an 8×8 piece of A and of B into workgroup
// memory once, and reads each number there 8 times. So memory is read an eighth as often; a real
// kernel has larger tiles.
//
// The walk along k needs two barriers a round: one after the tiles are written, before they are read;
// and one after they are read, before the next round overwrites them.
//
// Read: shaders/src/matmul.wgsl: the same, where a thread has 4×4 or 8×8 elements in registers.
//
// TODO: edit lessons/kernels/kernels5_tile.wgsl. Save this file too: rustlings then runs the test.

use check::shader::{Launch, kernel};
use gradus::prelude::*;

fn main() {
    println!("{}", kernel!());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(m: usize, k: usize, n: usize) {
        let a: Vec<f32> = (0..m * k).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i * 3 % 7) as f32 * 0.5 - 1.0).collect();
        let (x, y) = (Tensor::from_slice(&a, &[m, k]), Tensor::from_slice(&b, &[k, n]));
        let expected = x.unwrap().matmul(&y.unwrap()).unwrap().to_vec::<f32>().unwrap();
        let launch = Launch {
            inputs: &[&a, &b],
            shape: &[m, n],
            arguments: &[m as u32, k as u32, n as u32],
            groups: (m.div_ceil(8) * n.div_ceil(8)) as u32,
            threads: 64,
        };
        kernel!().run(&format!("[{m}, {k}]·[{k}, {n}]"), &launch, &expected, 1e-5);
    }

    #[test]
    fn the_text_is_valid() {
        kernel!().validate();
    }

    #[test]
    fn one_tile() {
        on(8, 8, 8);
    }

    #[test]
    fn several_tiles() {
        on(16, 24, 8);
        on(8, 16, 32);
    }

    #[test]
    fn edges_that_are_not_full() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (9, 7, 5), (8, 9, 8), (17, 33, 20)] {
            on(m, k, n);
        }
    }
}
