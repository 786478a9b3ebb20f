// Chapter 7, kernels for a GPU. Exercise 2: the last workgroup.
//
// Threads start in workgroups of a fixed size, 64 here. For 100 elements two workgroups start, 128
// threads. The last 28 have no element. They must do nothing: what lies behind the 100th number of a
// buffer belongs to somebody else. The line that stops them is called the guard.
//
// In exercise 1 the engine wrote the guard for you. Now the whole shader is yours: buffers,
// arguments, the entry point `main`.
//
// To notice a missing guard, the test puts −12345 behind the result, and NaN behind the inputs.
//
// Read: tensor/gpu/src/lib.rs, "Rules for kernels"; tensor/gpu/src/custom.rs, where the number of
// workgroups comes from: `numel.div_ceil(WORKGROUP)`.
//
// TODO: edit lessons/kernels/kernels2_guard.wgsl. Save this file too: rustlings then runs the test.

use check::shader::{Launch, kernel};

fn main() {
    println!("{}", kernel!());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the kernel on `n` elements and compares with the CPU.
    fn on(n: usize) {
        let x: Vec<f32> = (0..n).map(|i| (i % 17) as f32 - 8.0).collect();
        let y: Vec<f32> = (0..n).map(|i| (i % 5) as f32 * 0.5).collect();
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 2.5 * x + y).collect();
        let arguments = &[n as u32, 2.5f32.to_bits()];
        let groups = n.div_ceil(64) as u32;
        let launch = Launch { inputs: &[&x, &y], shape: &[n], arguments, groups, threads: 64 };
        kernel!().run("2.5·x + y", &launch, &expected, 1e-6);
    }

    #[test]
    fn the_text_is_valid() {
        kernel!().validate();
    }

    #[test]
    fn whole_workgroups() {
        on(64);
        on(192);
    }

    #[test]
    fn the_last_workgroup_is_not_full() {
        for n in [1, 63, 65, 100, 1000] {
            on(n);
        }
    }
}
