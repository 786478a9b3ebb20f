//! Small products of operands rounded to bf16, on the calling thread: attention's.

use super::kernel::{Kernel, Places, Registers, Start, Tile, Tiles, Window};
use super::low_kernels;
use super::numbers::{Numbers, Room};
use crate::mat::Mat;
use gradus_base::op::matmul::LowPrecision;

/// A kernel of bf16 for small products. Its operands are packed into memory of the caller, as so
/// many numbers of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Small(&'static dyn Kernel);

impl Small {
    /// If this processor has a kernel that is faster than f32's. One that reads and writes beyond a
    /// tile's rows (AMX) is none for small products.
    pub(crate) fn detect() -> Option<Small> {
        low_kernels(LowPrecision::Bf16, 1)
            .find(|kernel| kernel.is_worth_it() && kernel.writes_into_c())
            .map(Small)
    }

    /// With the plain twin.
    #[cfg(test)]
    pub(crate) fn plain() -> Small {
        let plain = super::plain::ALL.into_iter().find(|twin| twin.numbers() == Numbers::Bf16);
        Small(plain.expect("bf16 has a plain kernel"))
    }

    /// Columns of C for `n` columns of B: whole panels.
    pub(crate) fn columns(self, n: usize) -> usize {
        n.next_multiple_of(self.0.width())
    }

    /// Numbers of a row of A with `k` steps.
    pub(crate) fn row(self, k: usize) -> usize {
        Numbers::Bf16.words(k)
    }

    /// Numbers of B `[k, n]`.
    pub(crate) fn right(self, k: usize, n: usize) -> usize {
        self.row(k) * self.columns(n)
    }

    /// Packs A `[m, k]`.
    pub(crate) fn pack_left(self, a: Mat<f32>, (m, k): (usize, usize), out: &mut [u32]) {
        a.check(m, k);
        let bytes = bytemuck::cast_slice_mut(&mut out[..m * self.row(k)]);
        self.0.pack_rows(a, 0..m, 0..k, Room { bytes, scales: &mut [], offsets: &mut [] });
    }

    /// Packs B `[k, n]`.
    pub(crate) fn pack_right(self, b: Mat<f32>, (k, n): (usize, usize), out: &mut [u32]) {
        b.check(k, n);
        let width = self.0.width();
        let panels = out[..self.right(k, n)].chunks_exact_mut(self.row(k) * width);
        for (panel, out) in panels.enumerate() {
            let columns = panel * width..n.min((panel + 1) * width);
            let bytes = bytemuck::cast_slice_mut(out);
            self.0.pack_weight(b, 0..k, columns, Room { bytes, scales: &mut [], offsets: &mut [] });
        }
    }

    /// C = A·B for sizes `(m, k, n)`; C's rows have [`columns`](Self::columns) of `n`.
    pub(crate) fn multiply(
        self,
        (m, k, n): (usize, usize, usize),
        (a, b): (&[u32], &[u32]),
        c: &mut [f32],
    ) {
        let (words, width, columns) = (self.row(k), self.0.width(), self.columns(n));
        let c: &mut [u32] = bytemuck::cast_slice_mut(&mut c[..m * columns]);
        let panels = b[..self.right(k, n)].chunks_exact(words * width);
        for (panel, b) in panels.enumerate() {
            for rows in Tiles::new(m, self.0.rows()).each() {
                let first = &mut c[rows.start * columns + panel * width..];
                // SAFETY: the last row of the tile has a panel's columns too, and `c` is this call's.
                let out = unsafe { Window::new(first.as_mut_ptr(), columns, (rows.len(), width)) };
                let tile = Tile {
                    rows: rows.len(),
                    words,
                    left: Mat { data: &a[rows.start * words..], row: words, col: 1 },
                    panel: bytemuck::cast_slice(b),
                    ahead: None,
                    places: Places::NONE,
                    start: Start::Zero,
                    out,
                };
                self.0.tile(&Registers::Ordinary, tile);
            }
        }
    }
}
