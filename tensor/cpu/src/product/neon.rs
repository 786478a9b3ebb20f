//! NEON: f32; bytes, where it has the dot product; and integers of 16 by 8 bits. There is no kernel
//! of bf16.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::float::{F32Kernel, Float};
use super::halves::{Halves, InHalves, half_of};
use super::kernel::{Kernel, Tile, prefetch};
use super::numbers::{HALF, Numbers};
use super::vectors::Vectors;

/// The processor has NEON.
#[derive(Clone, Copy)]
struct Neon(());

fn has_neon() -> bool {
    is_aarch64_feature_detected!("neon")
}

/// The kernel of f32.
pub(super) fn f32() -> Option<&'static dyn F32Kernel> {
    has_neon().then_some(&Float(Neon(())) as _)
}

/// The kernel of bytes.
pub(super) fn dot() -> Option<&'static dyn Kernel> {
    (has_neon() && is_aarch64_feature_detected!("dotprod")).then_some(&InHalves(Dot(())) as _)
}

/// The kernel of integers of 16 by 8 bits.
pub(super) fn int8() -> Option<&'static dyn Kernel> {
    has_neon().then_some(&InHalves(Neon(())) as _)
}

#[target_feature(enable = "neon")]
fn neon<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Two registers: 6 rows of two such vectors are 24 of the 32 registers.
impl Vectors for Neon {
    type Vector = [float32x4_t; 2];
    const NAME: &'static str = "NEON, f32";
    const N: usize = 8;
    const ROWS: usize = 6;
    /// Two multiply-adds of four a cycle. An estimate.
    const FS_PER_MAC: usize = 40_000;

    #[inline(always)]
    fn inside<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { neon(body) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { [vld1q_f32(p), vld1q_f32(p.add(4))] }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [float32x4_t; 2] {
        // SAFETY: `self` for the instructions.
        [unsafe { vdupq_n_f32(x) }; 2]
    }

    #[inline(always)]
    fn add_product(
        self,
        sum: [float32x4_t; 2],
        a: [float32x4_t; 2],
        b: [float32x4_t; 2],
    ) -> [float32x4_t; 2] {
        // SAFETY: `self` for the instructions.
        unsafe { [vfmaq_f32(sum[0], a[0], b[0]), vfmaq_f32(sum[1], a[1], b[1])] }
    }

    #[inline(always)]
    fn add(self, a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
        // SAFETY: `self` for the instructions.
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn store(self, x: [float32x4_t; 2], p: *mut f32) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe {
            vst1q_f32(p, x[0]);
            vst1q_f32(p.add(4), x[1]);
        }
    }

    #[inline(always)]
    unsafe fn transpose8(self, rows: [&[f32; 8]; 8], out: *mut f32, width: usize) {
        for c in [0, 4] {
            for p in [0, 4] {
                // SAFETY: four elements of each row from `p` on; the caller's promise for `out`;
                // `self` for the instructions.
                unsafe {
                    let from = [0, 1, 2, 3].map(|i| rows[c + i].as_ptr().add(p));
                    transpose4(from, out.add(p * width + c), width);
                }
            }
        }
    }
}

/// `out[p·width + c] = rows[c][p]` for 4 × 4 elements.
///
/// # Safety
/// Each row has four elements; `out` is valid for writing four at each multiple of `width` below
/// `4·width`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn transpose4(rows: [*const f32; 4], out: *mut f32, width: usize) {
    // SAFETY: the caller's promise.
    let r = rows.map(|row| unsafe { vld1q_f32(row) });
    // Two rows' even columns side by side, and their odd ones.
    let pairs = |x, y| {
        let (even, odd) = (vtrn1q_f32(x, y), vtrn2q_f32(x, y));
        (vreinterpretq_f64_f32(even), vreinterpretq_f64_f32(odd))
    };
    let ((even, odd), (even2, odd2)) = (pairs(r[0], r[1]), pairs(r[2], r[3]));
    let columns = [
        vtrn1q_f64(even, even2),
        vtrn1q_f64(odd, odd2),
        vtrn2q_f64(even, even2),
        vtrn2q_f64(odd, odd2),
    ];
    for (p, column) in columns.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(out.add(p * width), vreinterpretq_f32_f64(column)) };
    }
}

/// Writes the sums of `R` rows and half a panel.
///
/// # Safety
/// The tile was checked.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn write<const R: usize>(tile: &Tile, half: usize, sums: [[int32x4_t; 4]; R]) {
    for (r, sums) in sums.into_iter().enumerate() {
        for (i, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let out = tile.out.ptr.add(r * tile.out.row + half * HALF + 4 * i);
                vst1q_s32(out.cast(), sum);
            }
        }
    }
}

/// The processor has NEON and its dot product.
#[derive(Clone, Copy)]
struct Dot(());

/// Four products of bytes at a time.
impl Halves for Dot {
    const NAME: &'static str = "NEON, dot product";
    const NUMBERS: Numbers = Numbers::I8ByI8;
    /// Two instructions of 16 products a cycle. An estimate.
    const FS_PER_MAC: usize = 12_000;

    #[inline(always)]
    unsafe fn multiply<const R: usize>(self, tile: &Tile, half: usize) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { dots::<R>(tile, half) }
    }
}

/// See [`Halves::multiply`].
///
/// # Safety
/// As there.
#[target_feature(enable = "neon,dotprod")]
unsafe fn dots<const R: usize>(tile: &Tile, half: usize) {
    const LINE: usize = 4 * HALF;
    let (panel, next) = half_of(tile, half, LINE);
    let mut sums = [[vdupq_n_s32(0); 4]; R];
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        for p in 0..tile.words {
            if let Some(next) = next {
                prefetch(next.wrapping_add(p * LINE));
            }
            let b = [0, 1, 2, 3].map(|i| vld1q_s8(panel.add(p * LINE + 16 * i).cast()));
            for r in 0..R {
                let x = *tile.left.data.as_ptr().add(r * tile.left.row + p);
                let x = vreinterpretq_s8_u32(vdupq_n_u32(x));
                for i in 0..4 {
                    sums[r][i] = sdot(sums[r][i], x, b[i]);
                }
            }
        }
        write(tile, half, sums);
    }
}

/// Adds to each word the products of its four bytes. The standard library has this instruction
/// (`vdotq_s32`) in its nightly version alone.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers alone.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Products of 16 bits, one at a time.
impl Halves for Neon {
    const NAME: &'static str = "NEON, int8";
    const NUMBERS: Numbers = Numbers::I16ByI8;
    /// As f32. An estimate.
    const FS_PER_MAC: usize = 40_000;

    #[inline(always)]
    unsafe fn multiply<const R: usize>(self, tile: &Tile, half: usize) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { products::<R>(tile, half) }
    }
}

/// See [`Halves::multiply`].
///
/// # Safety
/// As there.
#[target_feature(enable = "neon")]
unsafe fn products<const R: usize>(tile: &Tile, half: usize) {
    const LINE: usize = 2 * HALF;
    let (panel, next) = half_of(tile, half, LINE);
    let mut sums = [[vdupq_n_s32(0); 4]; R];
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        for p in 0..tile.words {
            if let Some(next) = next
                && p % 2 == 0
            {
                prefetch(next.wrapping_add(p * LINE));
            }
            // A column's two steps lie side by side; the load takes them apart.
            let steps = vld2q_s8(panel.add(p * LINE).cast());
            let steps = [steps.0, steps.1].map(|step| {
                let (low, high) = (vmovl_s8(vget_low_s8(step)), vmovl_high_s8(step));
                [vget_low_s16(low), vget_high_s16(low), vget_low_s16(high), vget_high_s16(high)]
            });
            for r in 0..R {
                let x = tile.left.data.as_ptr().add(r * tile.left.row + p).cast::<i16>();
                for (s, step) in steps.iter().enumerate() {
                    let x = *x.add(s);
                    for i in 0..4 {
                        sums[r][i] = vmlal_n_s16(sums[r][i], step[i], x);
                    }
                }
            }
        }
        write(tile, half, sums);
    }
}
