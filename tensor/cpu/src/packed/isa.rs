//! The instruction sets that have a kernel here.

use std::arch::x86_64::*;

use super::tile::Lanes;

/// An instruction set that has a kernel here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Isa {
    Avx2,
    Avx512,
}

impl Isa {
    /// The best that the processor has.
    pub(crate) fn detect() -> Option<Isa> {
        if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
            None
        } else if is_x86_feature_detected!("avx512f") {
            Some(Isa::Avx512)
        } else {
            Some(Isa::Avx2)
        }
    }

    /// Rows of a tile.
    pub(super) fn rows(self) -> usize {
        match self {
            Isa::Avx2 => <__m256 as Lanes>::ROWS,
            Isa::Avx512 => <__m512 as Lanes>::ROWS,
        }
    }

    /// Runs `rounds` times `CHAINS` independent multiply-adds of a vector in registers; returns how
    /// many floating-point operations that were, two for each element.
    pub(crate) fn multiply_adds<const CHAINS: usize>(self, rounds: usize) -> u64 {
        // SAFETY: `Isa::detect` found the instructions.
        unsafe {
            match self {
                Isa::Avx2 => chains_avx2::<CHAINS>(rounds),
                Isa::Avx512 => chains_avx512::<CHAINS>(rounds),
            }
        }
        (2 * rounds * CHAINS * self.width() / 2) as u64
    }

    /// Columns of a panel.
    pub(crate) fn width(self) -> usize {
        match self {
            Isa::Avx2 => 2 * <__m256 as Lanes>::N,
            Isa::Avx512 => 2 * <__m512 as Lanes>::N,
        }
    }
}

/// The loop of [`Isa::multiply_adds`] for one instruction set. It names its vectors, as a tile
/// does: the compiler made single lanes of arrays of 16 floats on AVX-512, at a fortieth of the
/// rate.
macro_rules! chains {
    ($name:ident, $v:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const CHAINS: usize>(rounds: usize) {
            use std::hint::black_box;
            // SAFETY: the caller's promise; the array has as many elements as the vectors.
            unsafe {
                let splat = |x: f32| <$v>::splat(black_box(x));
                let (a, b, mut sums) = (splat(0.999), splat(1e-3), [splat(1.0); CHAINS]);
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = sum.add_product(a, b);
                    }
                }
                let mut out = [[0f32; <$v as Lanes>::N]; CHAINS];
                for (sum, out) in sums.into_iter().zip(&mut out) {
                    sum.store(out.as_mut_ptr());
                }
                black_box(out);
            }
        }
    };
}
chains!(chains_avx2, __m256, "avx2,fma");
chains!(chains_avx512, __m512, "avx512f,avx2,fma");
