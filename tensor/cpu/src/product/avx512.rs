//! AVX-512: f32; bytes, where it has VNNI; and bf16, where it has BF16.

use std::arch::x86_64::*;
use std::sync::LazyLock;

use super::avx2::Avx2;
use super::bf16::Round;
use super::float::{F32Kernel, Float};
use super::kernel::{Kernel, Registers, Tile, prefetch};
use super::numbers::{HALF, MAX_WIDTH, Numbers};
use super::vectors::Vectors;

/// The processor has AVX-512F, AVX2 and FMA.
#[derive(Clone, Copy)]
struct Avx512(Avx2);

/// The kernel of f32.
pub(super) fn f32() -> Option<&'static dyn F32Kernel> {
    static KERNEL: LazyLock<Option<Float<Avx512>>> = LazyLock::new(|| {
        let avx2 = Avx2::detect()?;
        is_x86_feature_detected!("avx512f").then_some(Float(Avx512(avx2)))
    });
    KERNEL.as_ref().map(|kernel| kernel as _)
}

#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

impl Vectors for Avx512 {
    type Vector = __m512;
    const NAME: &'static str = "AVX-512, f32";
    const N: usize = 16;
    const ROWS: usize = 8;
    const FS_PER_MAC: usize = 12_000;

    #[inline(always)]
    fn inside<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { avx512(body) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` for the instructions.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn add_product(self, sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` for the instructions.
        unsafe { _mm512_fmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` for the instructions.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn store(self, x: __m512, p: *mut f32) {
        // SAFETY: the caller's promise; `self` for the instructions.
        unsafe { _mm512_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn transpose8(self, rows: [&[f32; 8]; 8], out: *mut f32, width: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.transpose8(rows, out, width) }
    }
}

/// An instruction that adds to each of 16 words the products of a word of A and a word of B. A value
/// proves that the processor has it.
trait Dot: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    const NUMBERS: Numbers;
    const FS_PER_MAC: usize;

    /// Runs `body` compiled for the instruction.
    fn inside(self, body: impl FnOnce());

    /// See [`Kernel::is_worth_it`].
    fn is_worth_it(self) -> bool {
        true
    }

    fn add(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i;

    /// The bits of `start` plus the sum in f32 whose bits are `sum`.
    fn add_start(self, _sum: __m512i, _start: __m512) -> __m512i {
        unreachable!("sums of integers start at 0")
    }
}

/// The processor has AVX-512F, BW and VNNI.
#[derive(Clone, Copy)]
struct Vnni(());

/// The kernel of bytes.
pub(super) fn int8() -> Option<&'static dyn Kernel> {
    (has_words() && is_x86_feature_detected!("avx512vnni")).then_some(&Dots(Vnni(())) as _)
}

/// The processor has AVX-512F, BW and BF16.
#[derive(Clone, Copy)]
pub(super) struct Bf16(());

impl Bf16 {
    pub(super) fn detect() -> Option<Bf16> {
        (has_words() && is_x86_feature_detected!("avx512bf16")).then_some(Bf16(()))
    }
}

/// The kernel of bf16.
pub(super) fn bf16() -> Option<&'static dyn Kernel> {
    Bf16::detect().map(|_| &Dots(Bf16(())) as _)
}

/// Whether AMD made the processor: leaf 0 has the name in EBX, EDX and ECX. Asked once, because a
/// virtual machine's host answers, which takes microseconds.
fn is_amd() -> bool {
    static IS_AMD: LazyLock<bool> = LazyLock::new(|| {
        let name = __cpuid(0);
        [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    });
    *IS_AMD
}

fn has_words() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni(body: impl FnOnce()) {
    body()
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn with_bf16(body: impl FnOnce()) {
    body()
}

impl Dot for Vnni {
    const NAME: &'static str = "AVX512-VNNI";
    const NUMBERS: Numbers = Numbers::U8ByI8;
    const FS_PER_MAC: usize = 3_500;

    #[inline(always)]
    fn inside(self, body: impl FnOnce()) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { vnni(body) }
    }

    #[inline(always)]
    fn add(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` for the instructions.
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }
}

impl Dot for Bf16 {
    const NAME: &'static str = "AVX512-BF16";
    const NUMBERS: Numbers = Numbers::Bf16;
    const FS_PER_MAC: usize = 10_000;

    #[inline(always)]
    fn inside(self, body: impl FnOnce()) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { with_bf16(body) }
    }

    /// In a cycle AMD's processors do twice as many multiply-adds of bf16 as of f32, Intel's half as
    /// many (book/src/low-precision.md).
    fn is_worth_it(self) -> bool {
        is_amd()
    }

    #[inline(always)]
    fn add(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` for the instructions; vectors of one size, any bits.
        unsafe {
            let a = std::mem::transmute::<__m512i, __m512bh>(a);
            let b = std::mem::transmute::<__m512i, __m512bh>(b);
            _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), a, b))
        }
    }

    #[inline(always)]
    fn add_start(self, sum: __m512i, start: __m512) -> __m512i {
        // SAFETY: `self` for the instructions.
        unsafe { _mm512_castps_si512(_mm512_add_ps(start, _mm512_castsi512_ps(sum))) }
    }
}

impl Round for Bf16 {
    #[inline(always)]
    fn inside(self, body: impl FnOnce()) {
        Dot::inside(self, body);
    }

    #[inline(always)]
    fn adjacent(self, x: &[f32; 2 * HALF]) -> [u16; 2 * HALF] {
        // SAFETY: the array has two vectors; `self` for the instructions; vectors of one size.
        unsafe {
            let [low, high] = [0, HALF].map(|at| _mm512_loadu_ps(x.as_ptr().add(at)));
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }

    #[inline(always)]
    fn words(self, first: &[f32; HALF], second: &[f32; HALF]) -> [u32; HALF] {
        // SAFETY: the arrays have a vector each; `self` for the instructions; vectors of one size.
        unsafe {
            let [first, second] = [first, second].map(
                #[inline(always)]
                |x| {
                    let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x.as_ptr()));
                    _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(rounded))
                },
            );
            std::mem::transmute(_mm512_or_si512(first, _mm512_slli_epi32::<16>(second)))
        }
    }
}

/// The kernel of one such instruction.
struct Dots<D>(D);

impl<D: Dot> Kernel for Dots<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn numbers(&self) -> Numbers {
        D::NUMBERS
    }

    fn rows(&self) -> usize {
        12
    }

    fn width(&self) -> usize {
        MAX_WIDTH
    }

    fn fs_per_mac(&self) -> usize {
        D::FS_PER_MAC
    }

    fn is_worth_it(&self) -> bool {
        self.0.is_worth_it()
    }

    fn writes_into_c(&self) -> bool {
        !D::NUMBERS.are_integers()
    }

    fn tile(&self, _: &Registers, tile: Tile) {
        tile.check(self);
        tile.places.ask_for_all();
        self.0.inside(
            #[inline(always)]
            // SAFETY: the operands were checked.
            || unsafe { tile_of(self.0, &tile) },
        );
    }
}

/// # Safety
/// The tile was checked.
#[inline(always)]
unsafe fn tile_of<D: Dot>(dot: D, tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match tile.rows {
            1 => tile_rows::<D, 1>(dot, tile),
            2 => tile_rows::<D, 2>(dot, tile),
            3 => tile_rows::<D, 3>(dot, tile),
            4 => tile_rows::<D, 4>(dot, tile),
            5 => tile_rows::<D, 5>(dot, tile),
            6 => tile_rows::<D, 6>(dot, tile),
            7 => tile_rows::<D, 7>(dot, tile),
            8 => tile_rows::<D, 8>(dot, tile),
            9 => tile_rows::<D, 9>(dot, tile),
            10 => tile_rows::<D, 10>(dot, tile),
            11 => tile_rows::<D, 11>(dot, tile),
            12 => tile_rows::<D, 12>(dot, tile),
            _ => unreachable!("a tile has at most twelve rows"),
        }
    }
}

/// # Safety
/// The tile was checked, and has `R` rows.
#[inline(always)]
unsafe fn tile_rows<D: Dot, const R: usize>(dot: D, tile: &Tile) {
    const LINE: usize = 4 * HALF;
    let (words, row, next) = (tile.words, tile.left.row, tile.next_panel());
    let (a, panel) = (tile.left.data.as_ptr(), tile.panel.as_ptr());
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); 2]; R];
        for p in 0..words {
            let b = panel.add(p * LINE);
            if let Some(next) = next {
                let next = next.wrapping_add(p * LINE);
                prefetch(next);
                prefetch(next.wrapping_add(words * LINE));
            }
            let b0 = _mm512_loadu_si512(b.cast());
            let b1 = _mm512_loadu_si512(b.add(words * LINE).cast());
            for r in 0..R {
                let x = _mm512_set1_epi32(*a.add(r * row + p) as i32);
                sums[r][0] = dot.add(sums[r][0], x, b0);
                sums[r][1] = dot.add(sums[r][1], x, b1);
            }
        }
        if let Some((start, row)) = tile.start() {
            for r in 0..R {
                for half in 0..2 {
                    let start = _mm512_loadu_ps(start.add(r * row + half * HALF));
                    sums[r][half] = dot.add_start(sums[r][half], start);
                }
            }
        }
        for r in 0..R {
            let out = tile.out.ptr.add(r * tile.out.row);
            _mm512_storeu_si512(out.cast(), sums[r][0]);
            _mm512_storeu_si512(out.add(HALF).cast(), sums[r][1]);
        }
    }
}
