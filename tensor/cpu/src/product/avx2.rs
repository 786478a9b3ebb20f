//! AVX2: f32, and integers of 16 by 8 bits.

use std::arch::x86_64::*;

use super::float::{F32Kernel, Float};
use super::halves::{Halves, InHalves, half_of};
use super::kernel::{Kernel, Tile, prefetch};
use super::numbers::{HALF, Numbers};
use super::vectors::Vectors;

/// The processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }
}

/// The kernel of f32.
pub(super) fn f32() -> Option<&'static dyn F32Kernel> {
    Avx2::detect().map(|_| &Float(Avx2(())) as _)
}

/// The kernel of integers.
pub(super) fn int8() -> Option<&'static dyn Kernel> {
    Avx2::detect().map(|_| &InHalves(Avx2(())) as _)
}

#[target_feature(enable = "avx2,fma")]
fn avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

impl Vectors for Avx2 {
    type Vector = __m256;
    const NAME: &'static str = "AVX2, f32";
    const N: usize = 8;
    const ROWS: usize = 6;
    const FS_PER_MAC: usize = 12_000;

    #[inline(always)]
    fn inside<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { avx2(body) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` for the instructions.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn add_product(self, sum: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` for the instructions.
        unsafe { _mm256_fmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` for the instructions.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn store(self, x: __m256, p: *mut f32) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { _mm256_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn transpose8(self, rows: [&[f32; 8]; 8], out: *mut f32, width: usize) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { transpose8(rows, out, width) }
    }
}

/// See [`Vectors::transpose8`].
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx")]
unsafe fn transpose8(rows: [&[f32; 8]; 8], out: *mut f32, width: usize) {
    // SAFETY: each row has 8 elements.
    let r = rows.map(|row| unsafe { _mm256_loadu_ps(row.as_ptr()) });
    let t: [__m256; 8] = std::array::from_fn(|i| {
        let (x, y) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm256_unpacklo_ps(x, y) } else { _mm256_unpackhi_ps(x, y) }
    });
    // Columns c and c + 4 of the rows 0–3 (first four), then of the rows 4–7.
    let u: [__m256; 8] = std::array::from_fn(|i| {
        let (h, c) = (i / 4 * 4, i % 4);
        let (x, y) = (t[h + c / 2], t[h + 2 + c / 2]);
        if c % 2 == 0 { _mm256_shuffle_ps::<0x44>(x, y) } else { _mm256_shuffle_ps::<0xee>(x, y) }
    });
    for c in 0..4 {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_permute2f128_ps::<0x20>(u[c], u[c + 4]);
            _mm256_storeu_ps(out.add(c * width), low);
            let high = _mm256_permute2f128_ps::<0x31>(u[c], u[c + 4]);
            _mm256_storeu_ps(out.add((c + 4) * width), high);
        }
    }
}

/// AVX2 multiplies 16-bit integers two by two, and has no product of bytes that cannot overflow.
impl Halves for Avx2 {
    const NAME: &'static str = "AVX2, int8";
    const NUMBERS: Numbers = Numbers::I16ByI8;
    const FS_PER_MAC: usize = 8_000;

    #[inline(always)]
    unsafe fn multiply<const R: usize>(self, tile: &Tile, half: usize) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { products::<R>(tile, half) }
    }
}

/// See [`Halves::multiply`]: two multiplications of 16 pairs and two additions for 64
/// multiply-adds.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx2")]
unsafe fn products<const R: usize>(tile: &Tile, half: usize) {
    const LINE: usize = 2 * HALF;
    let (panel, next) = half_of(tile, half, LINE);
    let (words, a, row) = (tile.words, tile.left.data.as_ptr(), tile.left.row);
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        for p in 0..words {
            let b = panel.add(p * LINE);
            if let Some(next) = next
                && p % 2 == 0
            {
                prefetch(next.wrapping_add(p * LINE));
            }
            let b0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.cast()));
            let b1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(HALF).cast()));
            for r in 0..R {
                let pair = _mm256_set1_epi32(*a.add(r * row + p) as i32);
                sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(pair, b0));
                sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(pair, b1));
            }
        }
        for r in 0..R {
            let out = tile.out.ptr.add(r * tile.out.row + half * HALF);
            _mm256_storeu_si256(out.cast(), sums[r][0]);
            _mm256_storeu_si256(out.add(8).cast(), sums[r][1]);
        }
    }
}
