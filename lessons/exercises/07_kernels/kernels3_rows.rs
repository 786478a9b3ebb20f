// Chapter 7, kernels for a GPU. Exercise 3: the sum of a row.
//
// Threads of one workgroup can work together: they share a small, fast memory (`var<workgroup>`), and
// they can wait for each other (`workgroupBarrier()`). After a barrier each thread sees what the
// others wrote before it. All threads of a workgroup must come to the same barriers, so no barrier
// may stand inside an `if` that only some of them enter; naga refuses such a text.
//
// A sum by 64 threads: each adds its share of the row, then half of them add the other half's
// numbers, then a quarter, …: log₂ 64 = 6 rounds. Between two rounds there must be a barrier,
// because a thread reads what another wrote.
//
// The order of the additions is always the same, so the result is too, bit for bit.
//
// Read: shaders/src/rows.wgsl, `sum_of_row`: layer norm and softmax use it.
//
// TODO: edit lessons/kernels/kernels3_rows.wgsl. Save this file too: rustlings then runs the test.

use check::shader::{Launch, kernel};

fn main() {
    println!("{}", kernel!());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(rows: usize, n: usize) {
        let x: Vec<f32> = (0..rows * n).map(|i| ((i * 7 % 23) as f32 - 11.0) * 0.25).collect();
        let sum = |row: &[f32]| row.iter().sum::<f32>();
        let expected: Vec<f32> = x.chunks(n).map(sum).collect();
        let arguments = &[rows as u32, n as u32];
        let launch =
            Launch { inputs: &[&x], shape: &[rows], arguments, groups: rows as u32, threads: 64 };
        kernel!().run(&format!("the sums of {rows} rows of {n}"), &launch, &expected, 1e-5);
    }

    #[test]
    fn the_text_is_valid() {
        kernel!().validate();
    }

    #[test]
    fn a_row_as_long_as_the_workgroup() {
        on(3, 64);
    }

    #[test]
    fn shorter_rows() {
        on(1, 1);
        on(4, 5);
        on(3, 63);
    }

    #[test]
    fn longer_rows() {
        on(2, 65);
        on(3, 130);
        on(2, 1000);
    }
}
