//! The innermost part of a product in f32, on any vectors: a few rows of A times a few vectors of
//! B's columns, the sums in registers.

use super::kernel::{Places, UNROLL, prefetch};

/// Vectors of f32. A value proves that the processor has them.
pub(super) trait Vectors: Copy + Send + Sync + 'static {
    type Vector: Copy;
    const NAME: &'static str;
    /// Elements of a vector.
    const N: usize;
    /// Rows of a tile: two sums each, and the registers suffice.
    const ROWS: usize;
    /// See [`Kernel::fs_per_mac`](super::Kernel::fs_per_mac).
    const FS_PER_MAC: usize;

    /// Runs `body` compiled for these vectors. What is not inlined into it is not.
    fn inside<R>(self, body: impl FnOnce() -> R) -> R;

    /// # Safety
    /// `p` is valid for reading `N` elements.
    unsafe fn load(self, p: *const f32) -> Self::Vector;

    fn splat(self, x: f32) -> Self::Vector;

    /// `sum + a·b`, rounded once.
    fn add_product(self, sum: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// # Safety
    /// `p` is valid for writing `N` elements.
    unsafe fn store(self, x: Self::Vector, p: *mut f32);

    /// `out[p·width + c] = rows[c][p]` for 8 × 8 elements.
    ///
    /// # Safety
    /// `out` is valid for writing 8 elements at each multiple of `width` below `8·width`.
    unsafe fn transpose8(self, rows: [&[f32; 8]; 8], out: *mut f32, width: usize);
}

/// The operands of a tile: C = start + A·B, the start added to the sum of the products.
#[derive(Clone, Copy)]
pub(super) struct Pointers {
    pub(super) steps: usize,
    pub(super) a: *const f32,
    pub(super) row_a: usize,
    pub(super) col_a: usize,
    pub(super) b: *const f32,
    pub(super) row_b: usize,
    /// Where it begins, and how far apart its rows are.
    pub(super) start: Option<(*const f32, usize)>,
    pub(super) c: *mut f32,
    pub(super) row_c: usize,
    /// `ahead_rows` rows from here on are fetched every [`UNROLL`] steps.
    pub(super) ahead: *const f32,
    pub(super) ahead_rows: usize,
    pub(super) places: Places,
}

/// A tile of `rows` rows, at most `V::ROWS`, and `VECTORS` vectors.
///
/// # Safety
/// A is valid for reading at `r·row_a + p·col_a`, B for `steps` rows, `row_b` apart, of so many
/// vectors, the start (if any) and C for `rows` of them; C is valid for writing and is this task's
/// alone.
#[inline(always)]
pub(super) unsafe fn tile<V: Vectors, const VECTORS: usize>(v: V, rows: usize, at: Pointers) {
    // SAFETY: the caller's promise.
    unsafe {
        match (at.row_a, at.col_a) {
            (_, 1) => tile_of::<V, VECTORS, 0, 1>(v, rows, at),
            (1, _) => tile_of::<V, VECTORS, 1, 0>(v, rows, at),
            _ => tile_of::<V, VECTORS, 0, 0>(v, rows, at),
        }
    }
}

/// [`tile`]; `ROW` and `COL` are the strides of A where they are known, else 0: the compiler then
/// has no addresses to compute.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn tile_of<V: Vectors, const VECTORS: usize, const ROW: usize, const COL: usize>(
    v: V,
    rows: usize,
    at: Pointers,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => tile_rows::<V, 1, VECTORS, ROW, COL>(v, at),
            2 => tile_rows::<V, 2, VECTORS, ROW, COL>(v, at),
            3 => tile_rows::<V, 3, VECTORS, ROW, COL>(v, at),
            4 => tile_rows::<V, 4, VECTORS, ROW, COL>(v, at),
            5 => tile_rows::<V, 5, VECTORS, ROW, COL>(v, at),
            6 => tile_rows::<V, 6, VECTORS, ROW, COL>(v, at),
            7 if V::ROWS > 6 => tile_rows::<V, 7, VECTORS, ROW, COL>(v, at),
            8 if V::ROWS > 6 => tile_rows::<V, 8, VECTORS, ROW, COL>(v, at),
            _ => unreachable!("a tile has at most {} rows", V::ROWS),
        }
    }
}

/// [`tile`] of `R` rows.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn tile_rows<
    V: Vectors,
    const R: usize,
    const VECTORS: usize,
    const ROW: usize,
    const COL: usize,
>(
    v: V,
    at: Pointers,
) {
    let mut sums = [[v.splat(0.0); VECTORS]; R];
    let (mut a, mut b, mut fetched) = (at.a, at.b, at.ahead);
    let row_a = if ROW > 0 { ROW } else { at.row_a };
    let col_a = if COL > 0 { COL } else { at.col_a };
    // SAFETY: the caller's promise, for all that follows.
    unsafe {
        let mut places = at.places;
        for _ in 0..at.steps / UNROLL {
            places.ask();
            for _ in 0..at.ahead_rows {
                // Every line of the row: not every processor fetches a line's neighbour with it.
                for line in (0..VECTORS * V::N).step_by(64 / size_of::<f32>()) {
                    prefetch(fetched.wrapping_add(line));
                }
                fetched = fetched.wrapping_add(at.row_b);
            }
            for p in 0..UNROLL {
                let (a, b) = (a.wrapping_add(p * col_a), b.wrapping_add(p * at.row_b));
                step(v, &mut sums, a, row_a, b);
            }
            // Past the end after the last steps, where they are not read.
            a = a.wrapping_add(UNROLL * col_a);
            b = b.wrapping_add(UNROLL * at.row_b);
        }
        for _ in 0..at.steps % UNROLL {
            step(v, &mut sums, a, row_a, b);
            (a, b) = (a.wrapping_add(col_a), b.wrapping_add(at.row_b));
        }
        if let Some((start, row)) = at.start {
            for r in 0..R {
                for i in 0..VECTORS {
                    sums[r][i] = v.add(v.load(start.add(r * row + i * V::N)), sums[r][i]);
                }
            }
        }
        for r in 0..R {
            for i in 0..VECTORS {
                v.store(sums[r][i], at.c.add(r * at.row_c + i * V::N));
            }
        }
    }
}

/// Adds a column of A times a row of B.
///
/// # Safety
/// `a` is valid for reading at `R` multiples of `row_a`, `b` for `VECTORS` vectors.
#[inline(always)]
unsafe fn step<V: Vectors, const R: usize, const VECTORS: usize>(
    v: V,
    sums: &mut [[V::Vector; VECTORS]; R],
    a: *const f32,
    row_a: usize,
    b: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let b: [V::Vector; VECTORS] = std::array::from_fn(
            #[inline(always)]
            |i| v.load(b.add(i * V::N)),
        );
        for r in 0..R {
            let x = v.splat(*a.add(r * row_a));
            for i in 0..VECTORS {
                sums[r][i] = v.add_product(sums[r][i], x, b[i]);
            }
        }
    }
}
