//! The sums of a tile, a few rows of x times 32 channels of W, by each instruction set; and the
//! choice between them.

use gradus_base::op::matmul::LowPrecision;

#[cfg(target_arch = "x86_64")]
use crate::amx;

/// Channels of a panel, and of the pair of panels of a tile.
pub(super) const PANEL: usize = 16;
pub(super) const WIDTH: usize = 2 * PANEL;
/// Rows of the tallest tile.
pub(super) const TALLEST: usize = 32;

/// How the numbers of a product's operands are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// W in 8 bits, x in 16, two steps a word of x.
    Int8By16,
    /// Both in 8 bits, four steps a word.
    Int8,
    /// Both in bf16, two steps a word.
    Bf16,
}

impl Form {
    /// Steps along k in a word.
    pub(super) fn steps(self) -> usize {
        if self == Form::Int8 { 4 } else { 2 }
    }

    /// Bytes that a word's steps of one channel take in W.
    pub(super) fn bytes(self) -> usize {
        if self == Form::Int8By16 { 2 } else { 4 }
    }

    /// Words of a row of `k` steps; what is beyond them counts as 0.
    pub(super) fn words(self, k: usize) -> usize {
        match self {
            Form::Int8By16 => k.div_ceil(2),
            // Whole tiles of AMX, so that one form of a weight is for all kernels.
            _ => k.div_ceil(self.steps()).next_multiple_of(PANEL),
        }
    }
}

/// The largest number of steps whose sum of products of 8 by 8 bits fits an i32.
pub(super) const MAX_STEPS: usize = i32::MAX as usize / (255 * 127);

/// The sums of a tile: i32, or f32 by their bits.
#[repr(align(64))]
pub(super) struct Sums(pub(super) [[u32; WIDTH]; TALLEST]);

impl Sums {
    pub(super) const ZERO: Sums = Sums([[0; WIDTH]; TALLEST]);
}

/// Outside x86 there is only the plain one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Kernel {
    Plain,
    Avx2,
    /// With VNNI, or BF16.
    Avx512,
    Amx,
}

/// What a kernel needs from its thread.
pub(super) enum State {
    Nothing,
    #[cfg(target_arch = "x86_64")]
    Tiles(amx::Tiles),
}

/// All that this processor can, the best first.
pub(super) fn choices(low: LowPrecision, k: usize) -> Vec<(Form, Kernel)> {
    let mut can = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let form = if low == LowPrecision::Int8 { Form::Int8 } else { Form::Bf16 };
        let dot = match form {
            Form::Bf16 => avx512 && is_x86_feature_detected!("avx512bf16"),
            _ => avx512 && is_x86_feature_detected!("avx512vnni"),
        };
        if form == Form::Bf16 || k <= MAX_STEPS {
            can.extend((avx512 && amx::is_available()).then_some((form, Kernel::Amx)));
            can.extend(dot.then_some((form, Kernel::Avx512)));
        }
        if low == LowPrecision::Int8 && is_x86_feature_detected!("avx2") {
            can.push((Form::Int8By16, Kernel::Avx2));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = k <= MAX_STEPS;
    if low == LowPrecision::Int8 {
        can.push((Form::Int8By16, Kernel::Plain));
    }
    can
}

/// The best that this processor can for rows of `k`; `None` where f32 has to do.
pub(crate) fn choose(low: LowPrecision, k: usize) -> Option<(Form, Kernel)> {
    choices(low, k).into_iter().next()
}

impl Kernel {
    /// Rows of a tile.
    pub(super) fn rows(self) -> usize {
        match self {
            Kernel::Plain | Kernel::Avx2 => 6,
            Kernel::Avx512 => 12,
            Kernel::Amx => TALLEST,
        }
    }

    /// Femtoseconds of a multiply-add.
    pub(super) fn fs_per_mac(self, form: Form) -> usize {
        match (self, form) {
            (Kernel::Plain, _) => 300_000,
            (Kernel::Avx2, _) => 8_000,
            (Kernel::Avx512, Form::Int8) => 3_500,
            (Kernel::Avx512, _) => 10_000,
            (Kernel::Amx, Form::Int8) => 500,
            (Kernel::Amx, _) => 900,
        }
    }

    /// Before a thread's first tile.
    ///
    /// # Safety
    /// The processor has the kernel.
    #[inline(always)]
    pub(super) unsafe fn begin(self) -> State {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            Kernel::Amx => State::Tiles(unsafe { amx::Tiles::new() }),
            _ => State::Nothing,
        }
    }

    /// The sums of `rows` rows of `x`, each `words` words, and a pair of panels. With `next`, asks
    /// for the pair there meanwhile.
    ///
    /// # Safety
    /// The processor has the kernel.
    #[inline(always)]
    pub(super) unsafe fn sums(
        self,
        state: &State,
        form: Form,
        rows: usize,
        words: usize,
        x: &[u32],
        pair: &[u8],
        next: Option<*const u8>,
        sums: &mut Sums,
    ) {
        assert!(rows <= self.rows() && x.len() >= rows * words, "x holds its rows");
        assert_eq!(pair.len(), words * WIDTH * form.bytes(), "a pair of panels");
        match (self, state) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the operands were checked; the processor is the caller's promise.
            (Kernel::Avx2, _) => unsafe {
                avx2::sums(rows, words, x.as_ptr(), pair.as_ptr(), next, sums)
            },
            #[cfg(target_arch = "x86_64")]
            (Kernel::Avx512, _) => {
                let (x, pair) = (x.as_ptr(), pair.as_ptr());
                // SAFETY: as above.
                unsafe {
                    match form {
                        Form::Bf16 => avx512::bf16(rows, words, x, pair, next, sums),
                        _ => avx512::int8(rows, words, x, pair, next, sums),
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            (Kernel::Amx, State::Tiles(tiles)) if words > 0 => {
                // One or two tiles of rows, read whole.
                let tall = rows > amx::SIDE;
                assert!(x.len() >= words * if tall { 2 * amx::SIDE } else { amx::SIDE });
                let half = pair.len() / 2;
                let block = amx::Block {
                    a: x.as_ptr().cast(),
                    row_a: words * 4,
                    b: [pair.as_ptr(), pair[half..].as_ptr()],
                    tiles: words / PANEL,
                };
                let (c, row_c) = (sums.0.as_mut_ptr().cast(), WIDTH * 4);
                // SAFETY: x and the panels are as long as they must be (asserted), and so is
                // `sums`.
                unsafe {
                    match (form, tall) {
                        (Form::Bf16, true) => amx::bf16(tiles, block, c, row_c),
                        (Form::Bf16, false) => amx::bf16_short(tiles, block, c, row_c),
                        (_, true) => amx::int8(tiles, block, c, row_c),
                        (_, false) => amx::int8_short(tiles, block, c, row_c),
                    }
                }
            }
            _ => plain(form, rows, words, x, pair, sums),
        }
    }
}

/// The plain twin of all kernels.
pub(super) fn plain(
    form: Form,
    rows: usize,
    words: usize,
    x: &[u32],
    pair: &[u8],
    sums: &mut Sums,
) {
    let (steps, bytes) = (form.steps(), form.bytes());
    for (r, sums) in sums.0.iter_mut().enumerate().take(rows) {
        let x: &[u8] = bytemuck::cast_slice(&x[r * words..(r + 1) * words]);
        for (c, sum) in sums.iter_mut().enumerate() {
            let at = |p: usize| {
                (c / PANEL * words * PANEL + p / steps * PANEL + c % PANEL) * bytes
                    + p % steps * (bytes / steps)
            };
            let short = |of: &[u8], at: usize| u16::from_ne_bytes([of[at], of[at + 1]]);
            let float = |bits: u16| f32::from_bits((bits as u32) << 16);
            let steps = 0..words * steps;
            *sum = match form {
                Form::Int8By16 => steps
                    .map(|p| short(x, 2 * p) as i16 as i32 * pair[at(p)] as i8 as i32)
                    .sum::<i32>() as u32,
                Form::Int8 => {
                    steps.map(|p| x[p] as i32 * pair[at(p)] as i8 as i32).sum::<i32>() as u32
                }
                Form::Bf16 => steps
                    .map(|p| float(short(x, 2 * p)) * float(short(pair, at(p))))
                    .sum::<f32>()
                    .to_bits(),
            };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{PANEL, Sums, WIDTH};

    /// As [`plain`](super::plain) of [`Form::Int8By16`](super::Form), for `R` rows and one panel:
    /// two multiplications of 16 pairs and two additions for 64 multiply-adds.
    ///
    /// # Safety
    /// `a` is valid for reading `R` rows of `words`, `b` for `words` times 32 bytes; the
    /// processor has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const R: usize>(
        words: usize,
        a: *const u32,
        panel: *const u8,
        next: Option<*const u8>,
        column: usize,
        sums: &mut Sums,
    ) {
        // SAFETY: the caller's promise, for all that follows; a prefetch reads nothing.
        unsafe {
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            for p in 0..words {
                let b = panel.add(p * 2 * PANEL);
                if let Some(next) = next
                    && p % 2 == 0
                {
                    _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(p * 2 * PANEL).cast());
                }
                let b0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.cast()));
                let b1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(PANEL).cast()));
                for r in 0..R {
                    let pair = _mm256_set1_epi32(*a.add(r * words + p) as i32);
                    acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(pair, b0));
                    acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(pair, b1));
                }
            }
            for r in 0..R {
                let out = sums.0[r].as_mut_ptr().add(column);
                _mm256_storeu_si256(out.cast(), acc[r][0]);
                _mm256_storeu_si256(out.add(8).cast(), acc[r][1]);
            }
        }
    }

    /// [`tile`] of at most six rows and both panels.
    ///
    /// # Safety
    /// As for [`tile`], with both panels at `pair`.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn sums(
        rows: usize,
        words: usize,
        a: *const u32,
        pair: *const u8,
        next: Option<*const u8>,
        sums: &mut Sums,
    ) {
        for column in (0..WIDTH).step_by(PANEL) {
            // SAFETY: the caller's promise.
            unsafe {
                let panel = pair.add(column * words * 2);
                let next = next.map(|next| next.wrapping_add(column * words * 2));
                match rows {
                    1 => tile::<1>(words, a, panel, next, column, sums),
                    2 => tile::<2>(words, a, panel, next, column, sums),
                    3 => tile::<3>(words, a, panel, next, column, sums),
                    4 => tile::<4>(words, a, panel, next, column, sums),
                    5 => tile::<5>(words, a, panel, next, column, sums),
                    6 => tile::<6>(words, a, panel, next, column, sums),
                    _ => unreachable!("a tile has six rows"),
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{PANEL, Sums};

    macro_rules! by_rows {
        ($tile:ident($rows:ident, $($argument:ident),*): $($r:literal)*) => {
            by_rows!(@ $rows, $tile, ($($argument),*), $($r)*)
        };
        (@ $rows:ident, $tile:ident, $arguments:tt, $($r:literal)*) => {
            match $rows {
                $($r => $tile::<$r> $arguments,)*
                _ => unreachable!("a tile has twelve rows"),
            }
        };
    }

    /// A kernel whose instruction adds to each of 16 words the products of a word of x and a word
    /// of W.
    macro_rules! kernel {
        ($name:ident, $tile:ident, $feature:literal, $dot:expr) => {
            /// As [`plain`](super::plain), for `R` rows.
            ///
            /// # Safety
            /// `a` is valid for reading `R` rows of `words`, `pair` for two panels of `words` times
            /// 64 bytes; the processor has the instructions.
            #[target_feature(enable = $feature)]
            unsafe fn $tile<const R: usize>(
                words: usize,
                a: *const u32,
                pair: *const u8,
                next: Option<*const u8>,
                sums: &mut Sums,
            ) {
                const LINE: usize = 4 * PANEL;
                // SAFETY: the caller's promise, for all that follows; a prefetch reads nothing.
                unsafe {
                    let mut acc = [[_mm512_setzero_si512(); 2]; R];
                    for p in 0..words {
                        let b = pair.add(p * LINE);
                        if let Some(next) = next {
                            let next = next.wrapping_add(p * LINE);
                            _mm_prefetch::<_MM_HINT_T0>(next.cast());
                            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(words * LINE).cast());
                        }
                        let b0 = _mm512_loadu_si512(b.cast());
                        let b1 = _mm512_loadu_si512(b.add(words * LINE).cast());
                        for r in 0..R {
                            let x = _mm512_set1_epi32(*a.add(r * words + p) as i32);
                            acc[r][0] = $dot(acc[r][0], x, b0);
                            acc[r][1] = $dot(acc[r][1], x, b1);
                        }
                    }
                    for r in 0..R {
                        let out = sums.0[r].as_mut_ptr();
                        _mm512_storeu_si512(out.cast(), acc[r][0]);
                        _mm512_storeu_si512(out.add(PANEL).cast(), acc[r][1]);
                    }
                }
            }

            /// As [`plain`](super::plain), for at most twelve rows.
            ///
            /// # Safety
            /// As for the tile.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $name(
                rows: usize,
                words: usize,
                a: *const u32,
                pair: *const u8,
                next: Option<*const u8>,
                sums: &mut Sums,
            ) {
                // SAFETY: the caller's promise.
                unsafe { by_rows!($tile(rows, words, a, pair, next, sums): 1 2 3 4 5 6 7 8 9 10 11 12) }
            }
        };
    }
    kernel!(int8, int8_tile, "avx512f,avx512bw,avx512vnni", _mm512_dpbusd_epi32);
    kernel!(bf16, bf16_tile, "avx512f,avx512bw,avx512bf16", add_bf16);

    /// As `_mm512_dpbusd_epi32`, of pairs in bf16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn add_bf16(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: vectors of one size, any bits.
        let (a, b): (__m512bh, __m512bh) = unsafe {
            (
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        };
        _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), a, b))
    }
}
