// Chapter 7, kernels for a GPU. Exercise 1: a map.
//
// A GPU runs one small program, a kernel, on thousands of threads at once. The simplest kernel is a
// map: each element of the result is a function of one element of the input, and each thread
// computes one. The language is WGSL, which looks like Rust.
//
// Edit the file lessons/kernels/kernels1_map.wgsl. The test reads it when it runs, so `cargo test
// --bin kernels1_map` compiles nothing again. (rustlings sees changes of Rust files only: save this
// file too, and it runs the test.) naga, the compiler of WGSL that the engine uses, first says
// whether the text is valid. Then it runs on your GPU, or on a GPU in software (Mesa's lavapipe),
// and the numbers are compared with the CPU's.
//
// Read: shaders/src/activations.wgsl has the same function, `op_silu`; shaders/src/custom.rs has
// what the engine writes around your function; examples/10_own_kernel.rs shows how such a kernel
// becomes an operation with a gradient.
//
// The solution is lessons/kernels/solutions/kernels1_map.wgsl.

use check::shader::kernel;

fn main() {
    println!("{}", kernel!());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same on the CPU.
    fn silu(x: &[f32]) -> Vec<f32> {
        x.iter().map(|&x| x / (1.0 + (-x).exp())).collect()
    }

    #[test]
    fn the_text_is_valid() {
        kernel!().validate_map(1);
    }

    #[test]
    fn a_few_elements() {
        let x = [-100.0, -2.0, -0.5, 0.0, 0.5, 2.0, 100.0];
        kernel!().map("SiLU", &[&x], &silu(&x), 1e-6);
    }

    #[test]
    fn sizes_that_are_no_multiple_of_a_workgroup() {
        for n in [1, 255, 256, 257, 1000] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * 4.0).collect();
            kernel!().map("SiLU", &[&x], &silu(&x), 1e-6);
        }
    }
}
