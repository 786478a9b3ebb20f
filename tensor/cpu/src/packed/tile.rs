//! The innermost part of a product: a few rows of A times a few vectors of B's columns, the sums in
//! registers.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::parallel;

/// A vector register of f32.
pub(super) trait Lanes: Copy {
    /// Elements.
    const N: usize;
    /// Rows of a tile: two accumulators each, and the registers suffice.
    const ROWS: usize;
    /// # Safety
    /// `p` is valid for reading `N` elements; the processor has the instructions.
    unsafe fn load(p: *const f32) -> Self;
    /// # Safety
    /// The processor has the instructions.
    unsafe fn splat(x: f32) -> Self;
    /// `self + a·b`.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + other`.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn add(self, other: Self) -> Self;
    /// # Safety
    /// `p` is valid for writing `N` elements; the processor has the instructions.
    unsafe fn store(self, p: *mut f32);
}

macro_rules! lanes {
    ($t:ty, $n:literal, $rows:literal, $load:ident, $splat:ident, $fma:ident, $add:ident, $store:ident) => {
        impl Lanes for $t {
            const N: usize = $n;
            const ROWS: usize = $rows;
            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $fma(a, b, self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                // SAFETY: the caller's promise.
                unsafe { $store(p, self) }
            }
        }
    };
}
lanes!(
    __m256,
    8,
    6,
    _mm256_loadu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    _mm256_storeu_ps
);
lanes!(
    __m512,
    16,
    8,
    _mm512_loadu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    _mm512_storeu_ps
);

/// Rows cut into tiles of nearly one height: a last one of one or two rows would take as long as
/// one of four, because its few sums wait for each other.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    rows: usize,
    pub(super) count: usize,
}

impl Tiles {
    pub(super) fn new(rows: usize, tallest: usize) -> Tiles {
        Tiles { rows, count: rows.div_ceil(tallest) }
    }

    /// The rows of each tile, counted from the first of all.
    pub(super) fn each(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.count).map(move |i| parallel::part(self.rows, self.count, i))
    }
}

/// What a tile fetches for the next panel while it multiplies: `lines` rows of it every four steps.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) panel: *const f32,
    pub(super) lines: usize,
}

impl Ahead {
    pub(super) const NOTHING: Ahead = Ahead { panel: std::ptr::null(), lines: 0 };
}

/// One tile of `R` rows and `VECTORS` vectors: C = start + A·B over `k` steps; the start is added
/// to the sum of the products. `UNIT`: A's rows are contiguous.
///
/// # Safety
/// `a` is valid for reading at `r·row_a + p·col_a`, `b` for `k` rows, `row_b` apart, of so many
/// vectors, `start` (if any) and `c` for `R` of them, `row_start` and `row_c` apart; the processor
/// has the instructions.
#[inline(always)]
unsafe fn tile<V: Lanes, const R: usize, const VECTORS: usize, const UNIT: bool>(
    k: usize,
    a: *const f32,
    (row_a, col_a): (usize, usize),
    (b, row_b): (*const f32, usize),
    start: Option<(*const f32, usize)>,
    c: *mut f32,
    row_c: usize,
    ahead: Ahead,
) {
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; R];
        let col_a = if UNIT { 1 } else { col_a };
        let (mut a, mut b, mut fetched) = (a, b, ahead.panel);
        macro_rules! steps {
            ($count:expr) => {{
                for p in 0..$count {
                    let b: [V; VECTORS] = std::array::from_fn(
                        #[inline(always)]
                        |v| V::load(b.add(p * row_b + v * V::N)),
                    );
                    for r in 0..R {
                        let x = V::splat(*a.add(r * row_a + p * col_a));
                        for v in 0..VECTORS {
                            sums[r][v] = sums[r][v].add_product(x, b[v]);
                        }
                    }
                }
                // Past the end after the last steps, where they are not read.
                a = a.wrapping_add($count * col_a);
                b = b.wrapping_add($count * row_b);
            }};
        }
        for _ in 0..k / UNROLL {
            for _ in 0..ahead.lines {
                _mm_prefetch::<_MM_HINT_T0>(fetched.cast());
                // Perhaps past the end: a prefetch reads nothing.
                fetched = fetched.wrapping_add(row_b);
            }
            steps!(UNROLL);
        }
        for _ in 0..k % UNROLL {
            steps!(1);
        }
        if let Some((start, row)) = start {
            for r in 0..R {
                for v in 0..VECTORS {
                    sums[r][v] = V::load(start.add(r * row + v * V::N)).add(sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..VECTORS {
                sums[r][v].store(c.add(r * row_c + v * V::N));
            }
        }
    }
}

/// Steps of a tile between two looks at what to fetch.
pub(super) const UNROLL: usize = 4;

/// [`tile`] of a number of rows known at run time.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
pub(super) unsafe fn tile_rows<V: Lanes, const VECTORS: usize>(
    rows: usize,
    k: usize,
    a: *const f32,
    strides: (usize, usize),
    b: (*const f32, usize),
    start: Option<(*const f32, usize)>,
    c: *mut f32,
    row_c: usize,
    ahead: Ahead,
) {
    macro_rules! by_rows {
        ($unit:literal: $($r:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($r => unsafe {
                    tile::<V, $r, VECTORS, $unit>(k, a, strides, b, start, c, row_c, ahead)
                },)*
                _ => unreachable!()
            }
        };
    }
    match (V::ROWS, strides.1) {
        (6, 1) => by_rows!(true: 1 2 3 4 5 6),
        (6, _) => by_rows!(false: 1 2 3 4 5 6),
        (_, 1) => by_rows!(true: 1 2 3 4 5 6 7 8),
        (_, _) => by_rows!(false: 1 2 3 4 5 6 7 8),
    }
}
