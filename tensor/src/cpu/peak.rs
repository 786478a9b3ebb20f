//! The limit that products are measured against: how many multiply-adds the processor makes.

/// Independent chains of multiply-adds: enough to hide the latency of one (4 or 5 cycles, two a cycle),
/// few enough for 16 registers.
const CHAINS: usize = 12;

/// A loop of multiply-adds for one instruction set. The vectors are spelled out: left to the compiler, twelve arrays of
/// 16 floats became single lanes on AVX-512, at a fortieth of the rate.
#[cfg(target_arch = "x86_64")]
macro_rules! fma_loop {
    ($name:ident, $features:literal, $splat:ident, $fma:ident, $add:ident, $store:ident, $lanes:literal) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: usize) -> u64 {
            use std::arch::x86_64::*;
            let (a, b) = ($splat(std::hint::black_box(0.999)), $splat(std::hint::black_box(1e-3)));
            let mut x = [$splat(std::hint::black_box(1.0)); CHAINS];
            for _ in 0..rounds {
                for chain in &mut x {
                    *chain = $fma(*chain, a, b);
                }
            }
            let mut sum = [0f32; $lanes];
            let total = x.into_iter().fold($splat(0.0), |sum, x| $add(sum, x));
            // SAFETY: the array has as many elements as the vector.
            unsafe { $store(sum.as_mut_ptr(), total) };
            std::hint::black_box(sum);
            (2 * rounds * CHAINS * $lanes) as u64
        }
    };
}
#[cfg(target_arch = "x86_64")]
fma_loop!(avx2, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_storeu_ps, 8);
#[cfg(target_arch = "x86_64")]
fma_loop!(avx512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_storeu_ps, 16);

/// Runs `rounds` times twelve vectors of multiply-adds in f32 registers on the calling thread and returns the
/// floating-point operations made (two a multiply-add). Nothing is read from memory: no kernel can
/// do better. Call it on every thread at once, since cores that share a clock or an execution unit
/// slow each other down.
pub fn fma_loop(rounds: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    match super::packed::Isa::detect() {
        // SAFETY: detected.
        Some(super::packed::Isa::Avx512) => return unsafe { avx512(rounds) },
        // SAFETY: detected.
        Some(super::packed::Isa::Avx2) => return unsafe { avx2(rounds) },
        None => {}
    }
    plain(rounds)
}

/// What the compiler makes of 16 lanes (NEON elsewhere).
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

#[cfg(test)]
mod tests {
    #[test]
    fn counts_both_halves_of_a_multiply_add() {
        assert_eq!(super::plain(10), 2 * 10 * 6 * 16);
        let lanes = super::fma_loop(10) / (2 * 10);
        assert!([12 * 8, 12 * 16, 6 * 16].contains(&lanes), "{lanes}");
    }
}
