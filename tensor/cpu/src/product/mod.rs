//! The product C = A·B + bias, on request with GELU in the same pass: in f32, or approximately with
//! operands rounded to 8 or 16 bits.
//!
//! Shapes: A `[m, k]`, B `[k, n]`, C `[m, n]`, bias `[n]`.
//!
//! One [driver] runs over all [kernels](Kernel): an instruction set's way to multiply one kind of
//! [numbers](Numbers). A kernel multiplies a **tile**, a few rows of A times a **panel** of B, whose
//! sums fill the registers: per word along k it loads the panel's columns once and broadcasts one
//! word of each row. Panels lie so that a kernel reads them straight on, the last one padded with
//! zeros. A weight is packed once and kept with its plain form ([`Packed`]); any other B in f32 is
//! packed before, or for few rows panel by panel as it is needed. A in f32 is read where it lies if
//! its rows are contiguous; otherwise blocks of it are copied to `[⌈rows/tile⌉][k][tile]`. Rounded
//! numbers: [`rounding`]. Attention multiplies small operands in bf16 by the same tiles ([`small`]).
//!
//! | | f32 | int8 | bf16 |
//! |---|---|---|---|
//! | [AMX](amx) | | 32 × 32 | 32 × 32 |
//! | [AVX-512](avx512) | 8 × 32 | 12 × 32 with VNNI | 12 × 32 with BF16 |
//! | [AVX2](avx2) | 6 × 16 | 6 × 32 | |
//! | [NEON](neon) | 6 × 16 | 6 × 32 | |
//! | others | `matrixmultiply` | [plain] | |
//!
//! What limits it: with many rows the multiply-add rate (blocks of A stay in the second cache,
//! panels in the first), with AMX what comes before and after the product; with few rows the
//! bandwidth at which the panels of B arrive: so the tiles of a panel ask for the next one while
//! they multiply, and for the part of C that they write.
//!
//! Order of reduction: in f32, in a block of up to 384 steps (256 where B is packed on the way) k in
//! ascending order, one fused multiply-add each; the blocks' sums, in ascending order too, are
//! added to the bias. Blocks follow from the sizes alone: so neither the instructions nor the split
//! between threads matter, and the error grows with the block and the number of blocks, not with k. Sums of
//! integers are exact. Those of bf16 have an order for each instruction set.
//! Reference: the [plain] twins, and `matrixmultiply` in [`super::matmul`].

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bf16;
mod driver;
mod epilogue;
mod float;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod halves;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod numbers;
mod operands;
mod panels;
mod plain;
mod rounding;
mod small;
mod split;
#[cfg(test)]
mod tests;
mod vectors;

pub(crate) use self::driver::product;
pub(crate) use self::float::{CHAINS, F32Kernel};
pub(crate) use self::kernel::Kernel;
pub use self::kernel::prefetch;
pub(crate) use self::numbers::Numbers;
pub(crate) use self::operands::{Epilogue, Left, Right};
pub(crate) use self::panels::{Packed, Rounded};
pub(crate) use self::small::Small;
use gradus_base::op::matmul::LowPrecision;

/// Up to so many rows of A, packing the whole of B first costs more than packing on the way.
pub(crate) const FEW_ROWS: usize = 192;

/// The kernels of f32 that this processor has, the best first.
pub(crate) fn f32_kernels() -> impl Iterator<Item = &'static dyn F32Kernel> {
    const ALL: &[fn() -> Option<&'static dyn F32Kernel>] = &[
        #[cfg(target_arch = "x86_64")]
        avx512::f32,
        #[cfg(target_arch = "x86_64")]
        avx2::f32,
        #[cfg(target_arch = "aarch64")]
        neon::f32,
    ];
    ALL.iter().filter_map(|detect| detect())
}

/// The best of [`f32_kernels`].
pub(crate) fn f32_kernel() -> Option<&'static dyn F32Kernel> {
    f32_kernels().next()
}

/// The kernels of rounded numbers that this processor has for rows of `k`, the best first.
pub(crate) fn low_kernels(
    low: LowPrecision,
    k: usize,
) -> impl Iterator<Item = &'static dyn Kernel> {
    const ALL: &[fn() -> Option<&'static dyn Kernel>] = &[
        #[cfg(target_arch = "x86_64")]
        amx::int8,
        #[cfg(target_arch = "x86_64")]
        amx::bf16,
        #[cfg(target_arch = "x86_64")]
        avx512::int8,
        #[cfg(target_arch = "x86_64")]
        avx512::bf16,
        #[cfg(target_arch = "x86_64")]
        avx2::int8,
        #[cfg(target_arch = "aarch64")]
        neon::dot,
        #[cfg(target_arch = "aarch64")]
        neon::int8,
        plain::int8,
    ];
    ALL.iter().filter_map(|detect| detect()).filter(move |kernel| match kernel.numbers() {
        Numbers::F32 => false,
        Numbers::Bf16 => low == LowPrecision::Bf16,
        Numbers::U8ByI8 | Numbers::I8ByI8 => low == LowPrecision::Int8 && k <= rounding::MAX_STEPS,
        Numbers::I16ByI8 => low == LowPrecision::Int8,
    })
}
