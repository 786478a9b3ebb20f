//! The kernel of f32 on any vectors. Its sums have one order on all of them: k in ascending order,
//! one fused multiply-add each.

use std::ops::Range;

use super::kernel::{Kernel, Places, Registers, Tile, Tiles, UNROLL};
use super::numbers::{Numbers, Room};
use super::panels;
use super::vectors::{Pointers, Vectors, tile};
use crate::mat::Mat;

/// A kernel of f32, with what others than the driver use of it.
pub(crate) trait F32Kernel: Kernel {
    /// C (+)= A·B on the calling thread, for operands in the first cache: sizes `(m, k, width)`, A
    /// `[m, k]` of any strides, B `[k, width]` and C `[m, width]`, `width` a multiple of 16.
    fn small(&self, sizes: (usize, usize, usize), a: Mat<f32>, b: &[f32], c: &mut [f32], add: bool);

    /// Writes `out[j·tall + i] = from[i·stride + j]` for `n` rows of `d` columns, whole blocks of
    /// 8 × 8; returns how many rows and columns that were.
    fn transpose_blocks(
        &self,
        from: (&[f32], usize),
        n: usize,
        d: usize,
        out: &mut [f32],
        tall: usize,
    ) -> (usize, usize);

    /// Runs `rounds` times [`CHAINS`] independent multiply-adds of a vector in registers; returns
    /// how many floating-point operations that were, two for each element.
    fn multiply_adds(&self, rounds: usize) -> u64;
}

/// Enough to hide the latency of a multiply-add (4 or 5 cycles, two a cycle), few enough for 16
/// registers.
pub(crate) const CHAINS: usize = 12;

/// The kernel on vectors `V`: a panel is two of them wide.
pub(super) struct Float<V>(pub(super) V);

impl<V: Vectors> Kernel for Float<V> {
    fn name(&self) -> &'static str {
        V::NAME
    }

    fn numbers(&self) -> Numbers {
        Numbers::F32
    }

    fn rows(&self) -> usize {
        V::ROWS
    }

    fn width(&self) -> usize {
        2 * V::N
    }

    fn fs_per_mac(&self) -> usize {
        V::FS_PER_MAC
    }

    fn writes_into_c(&self) -> bool {
        true
    }

    fn pack_weight(&self, b: Mat<f32>, ks: Range<usize>, columns: Range<usize>, room: Room) {
        let out = bytemuck::cast_slice_mut(room.bytes);
        self.0.inside(
            #[inline(always)]
            || panels::pack_panel(self.0, b, ks, columns, out),
        );
    }

    fn pack_rows(&self, a: Mat<f32>, rows: Range<usize>, ks: Range<usize>, room: Room) {
        let out = bytemuck::cast_slice_mut(room.bytes);
        self.0.inside(
            #[inline(always)]
            || panels::pack_rows(a, rows, ks, V::ROWS, out),
        );
    }

    fn tile(&self, _: &Registers, tile: Tile) {
        tile.check(self);
        self.0.inside(
            #[inline(always)]
            || {
                let at = pointers(&tile, 2 * V::N);
                // SAFETY: the operands were checked; the window is this task's alone.
                unsafe { self::tile::<V, 2>(self.0, tile.rows, at) }
            },
        );
    }
}

/// Where the operands of a tile lie.
#[inline(always)]
fn pointers(tile: &Tile, width: usize) -> Pointers {
    let (b, c) = (tile.panel.as_ptr().cast::<f32>(), tile.out.ptr.cast::<f32>());
    // The tiles of a panel share the next one, but for the rows that the first few ask for.
    let (mut ahead, mut ahead_rows) = (std::ptr::null(), 0);
    if let Some(next) = tile.ahead {
        let first = next.tile * next.share;
        if first < UNROLL {
            let row = first * tile.words / UNROLL;
            ahead = b.wrapping_byte_add(next.distance).wrapping_add(row * width);
            ahead_rows = next.share;
        }
    }
    Pointers {
        steps: tile.words,
        a: tile.left.data.as_ptr().cast(),
        row_a: tile.left.row,
        col_a: tile.left.col,
        b,
        row_b: width,
        start: tile.start(),
        c,
        row_c: tile.out.row,
        ahead,
        ahead_rows,
        places: tile.places,
    }
}

impl<V: Vectors> F32Kernel for Float<V> {
    fn small(
        &self,
        (m, k, width): (usize, usize, usize),
        a: Mat<f32>,
        b: &[f32],
        c: &mut [f32],
        add: bool,
    ) {
        a.check(m, k);
        assert!(width.is_multiple_of(16), "whole vectors");
        assert!(b.len() >= k * width && c.len() >= m * width, "B and C hold their rows");
        self.0.inside(
            #[inline(always)]
            || {
                let mut column = 0;
                while column + 2 * V::N <= width {
                    // SAFETY: the operands were checked.
                    unsafe { strip::<V, 2>(self.0, (m, k, width), a, b, (c, column), add) };
                    column += 2 * V::N;
                }
                // A last single vector where there is an odd number of them.
                if V::N == 16 && column < width {
                    // SAFETY: as above.
                    unsafe { strip::<V, 1>(self.0, (m, k, width), a, b, (c, column), add) };
                }
            },
        );
    }

    fn transpose_blocks(
        &self,
        (from, stride): (&[f32], usize),
        n: usize,
        d: usize,
        out: &mut [f32],
        tall: usize,
    ) -> (usize, usize) {
        self.0.inside(
            #[inline(always)]
            || panels::transpose_blocks(self.0, (from, stride), n, d, out, tall),
        )
    }

    fn multiply_adds(&self, rounds: usize) -> u64 {
        self.0.inside(
            #[inline(always)]
            || chains(self.0, rounds),
        );
        (2 * rounds * CHAINS * V::N) as u64
    }
}

/// The columns of C from `column` on, `VECTORS` vectors of them.
///
/// # Safety
/// A holds `[m, k]`, B `[k, width]`, C `[m, width]`, and the columns are below `width`.
#[inline(always)]
unsafe fn strip<V: Vectors, const VECTORS: usize>(
    v: V,
    (m, k, width): (usize, usize, usize),
    a: Mat<f32>,
    b: &[f32],
    (c, column): (&mut [f32], usize),
    add: bool,
) {
    for rows in Tiles::new(m, V::ROWS).each() {
        // SAFETY: the tile lies inside the operands.
        unsafe {
            let c = c.as_mut_ptr().add(rows.start * width + column);
            let at = Pointers {
                steps: k,
                a: a.data.as_ptr().add(rows.start * a.row),
                row_a: a.row,
                col_a: a.col,
                b: b.as_ptr().add(column),
                row_b: width,
                start: add.then_some((c.cast_const(), width)),
                c,
                row_c: width,
                ahead: std::ptr::null(),
                ahead_rows: 0,
                places: Places::NONE,
            };
            tile::<V, VECTORS>(v, rows.len(), at);
        }
    }
}

/// The loop of [`F32Kernel::multiply_adds`]. It names its vectors, as a tile does: the compiler
/// made single lanes of arrays of 16 floats on AVX-512, at a fortieth of the rate.
#[inline(always)]
fn chains<V: Vectors>(v: V, rounds: usize) {
    use std::hint::black_box;
    let (a, b) = (v.splat(black_box(0.999)), v.splat(black_box(1e-3)));
    let mut sums = [v.splat(black_box(1.0)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = v.add_product(*sum, a, b);
        }
    }
    let mut out = [[0f32; 16]; CHAINS];
    for (sum, out) in sums.into_iter().zip(&mut out) {
        // SAFETY: no vector has more than 16 elements.
        unsafe { v.store(sum, out.as_mut_ptr()) };
    }
    black_box(out);
}
