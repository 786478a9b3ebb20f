//! wide vectors: the text of the step before, compiled for the widest registers.
//!
//! Adds: `widest` compiles its closure for AVX-512 or AVX2, whichever the processor has. Vectors
//!   become 16 or 8 floats instead of 4, a product and its addition one instruction, and the tile
//!   as large as the registers allow: 8×32 of the 32 registers of AVX-512, 6×16 of the 16 of AVX2.
//! Why: the processor starts two such instructions a cycle, of any width. It needs no intrinsics:
//!   plain loops over arrays of a fixed length become exactly these instructions.
//! Order: blocks of 384, each k ascending, then the blocks ascending; a product is not rounded
//!   before it is added

use super::Sizes;
use super::blocks::blocked;
use super::panels::pack;

pub fn product(s: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    let avx512 = gradus_cpu::instruction_set().starts_with("AVX-512");
    gradus_cpu::widest(
        #[inline(always)]
        || match avx512 {
            true => blocked::<8, 32, true>(s, a, &pack::<32>(s, b), c),
            false => blocked::<6, 16, true>(s, a, &pack::<16>(s, b), c),
        },
    );
}
