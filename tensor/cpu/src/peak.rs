//! The limits that kernels are measured against: how many multiply-adds the processor makes, and how
//! fast it reads memory.

use super::product::{CHAINS, f32_kernel};
use super::simd;

/// Runs `rounds` times twelve vectors of multiply-adds in f32 registers on the calling thread and
/// returns the floating-point operations made (two a multiply-add). Nothing is read from memory: no
/// kernel can do better. Call it on every thread at once, since cores that share a clock or an
/// execution unit slow each other down.
pub fn fma_loop(rounds: usize) -> u64 {
    match f32_kernel() {
        Some(kernel) => kernel.multiply_adds(rounds),
        None => plain(rounds),
    }
}

/// The instructions that products of f32 are made with: `AVX-512, f32`, `AVX2, f32`, `NEON, f32`; or
/// `plain` where the processor has none of these.
pub fn instruction_set() -> &'static str {
    f32_kernel().map_or("plain", |kernel| kernel.name())
}

/// What the compiler makes of 16 lanes.
fn plain(rounds: usize) -> u64 {
    const LANES: usize = super::simd::LANES;
    let (a, b) = (std::hint::black_box(0.999f32), std::hint::black_box(1e-3f32));
    let mut x = [[std::hint::black_box(1f32); LANES]; CHAINS / 2];
    for _ in 0..rounds {
        for lane in x.as_flattened_mut() {
            *lane = *lane * a + b;
        }
    }
    std::hint::black_box(x);
    (rounds * CHAINS * LANES) as u64
}

/// Reads all of `data` once on the calling thread, in four streams, because one leaves a part of the
/// bandwidth unused. Returns a number that depends on every element, so that no read is left out. Call it
/// on every thread at once, each with memory of its own.
///
/// ```
/// assert_eq!(gradus_cpu::read_loop(&[1.0; 1000]), 1000.0);
/// ```
pub fn read_loop(data: &[f32]) -> f32 {
    const LANES: usize = simd::LANES;
    let quarter = data.len() / 4 / LANES * LANES;
    let (streams, rest) = data.split_at(4 * quarter);
    let lanes = simd::widest(
        #[inline(always)]
        || {
            let mut sums = [[0f32; LANES]; 4];
            for at in (0..quarter).step_by(LANES) {
                for stream in 0..4 {
                    let line = &streams[stream * quarter + at..][..LANES];
                    for lane in 0..LANES {
                        sums[stream][lane] += line[lane];
                    }
                }
            }
            sums
        },
    );
    lanes.as_flattened().iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_element_is_read() {
        for length in [0, 1, 63, 64, 65, 1000, 4099] {
            let data: Vec<f32> = (0..length).map(|i| (i % 7) as f32).collect();
            assert_eq!(super::read_loop(&data), data.iter().sum::<f32>(), "{length} numbers");
        }
    }

    #[test]
    fn the_instructions_have_a_name() {
        let name = super::instruction_set();
        assert!(name == "plain" || name.ends_with(", f32"), "{name}");
    }

    #[test]
    fn counts_both_halves_of_a_multiply_add() {
        assert_eq!(super::plain(10), 2 * 10 * 6 * 16);
        let lanes = super::fma_loop(10) / (2 * 10);
        assert!([12 * 8, 12 * 16, 6 * 16].contains(&lanes), "{lanes}");
    }
}
