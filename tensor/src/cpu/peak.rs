//! The limit that products are measured against: how many multiply-adds the processor makes.

use super::simd;

/// Independent chains of multiply-adds: enough to hide the latency of one (4 cycles, two a cycle),
/// few enough for 16 registers of 8 lanes.
const CHAINS: usize = 7;

/// Runs `rounds` × 7 × 16 multiply-adds in f32 registers on the calling thread and returns the
/// floating-point operations made (two a multiply-add). Nothing is read from memory: no kernel can
/// do better. Call it on every thread at once, since cores that share a clock or an execution unit
/// slow each other down.
pub fn fma_loop(rounds: usize) -> u64 {
    let sum = simd::dispatch::<true, f32, f32>(
        #[inline(always)]
        || {
            let (a, b) = (std::hint::black_box(0.999f32), std::hint::black_box(1e-3f32));
            let mut x = [[std::hint::black_box(1f32); simd::LANES]; CHAINS];
            for _ in 0..rounds {
                for chain in &mut x {
                    for lane in chain {
                        *lane = lane.mul_add(a, b);
                    }
                }
            }
            x.as_flattened().iter().sum()
        },
    );
    std::hint::black_box(sum);
    (2 * rounds * CHAINS * simd::LANES) as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_both_halves_of_a_multiply_add() {
        assert_eq!(super::fma_loop(10), 2 * 10 * 7 * 16);
    }
}
