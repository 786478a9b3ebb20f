//! The f32 product C = A·B + bias on AVX2 or AVX-512, with a function of the result in the same
//! pass.
//!
//! Shapes: A `[m, k]`, B `[k, n]`, C `[m, n]`, bias `[n]`.
//!
//! B lies in **panels**: `[⌈n/width⌉][k][width]`, two vectors wide, the last one padded with zeros.
//! So the kernel reads it straight on: per step along k two vectors of B and one element of each of
//! `rows` rows of A, for `2·rows` multiply-adds; the accumulators fill the registers (6×16 on AVX2,
//! 8×32 on AVX-512). A weight is packed once and kept with its plain form ([`Packed`]); any other
//! B is packed before, or for few rows panel by panel as it is needed. A is read where it lies if
//! its rows are contiguous; otherwise blocks of it are copied to `[⌈rows/tile⌉][k][tile]`.
//!
//! What limits it: with many rows the multiply-add rate (blocks of A stay in the second cache,
//! panels in the first); with few rows the bandwidth at which the panels of B arrive: so the tiles
//! of a panel ask for the next one while they multiply, and a tile for the part of C that it adds
//! to.
//!
//! Order of reduction: in a block of up to 384 steps (256 where B is copied on the way) k in
//! ascending order, one fused multiply-add each; the blocks' sums, in ascending order too, are
//! added to the bias. Blocks follow from k alone: so the split between threads never matters, and
//! the error grows with the block and the number of blocks, not with k.
//! Reference: [`super::matmul`]'s `matrixmultiply`, which is also the path of other processors.

mod isa;
mod panels;
mod tile;

use std::arch::x86_64::*;
use std::ops::Range;

use gradus_base::{Result, sizes};

pub(crate) use self::isa::Isa;
pub(crate) use self::panels::{Packed, transpose_blocks};
use self::panels::{copy, pack_panel, pack_rows};
use self::tile::{Ahead, Lanes, Tiles, UNROLL, tile_rows};
use super::mat::Mat;
use super::parallel::{self, SharedMut};
use super::storage::Output;
use super::unary::gelu;

/// Up to so many rows of A, packing the whole of B first costs more than packing on the way.
pub(crate) const FEW_ROWS: usize = 192;

/// Where B comes from.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    Packed(&'a Packed),
    Plain(Mat<'a, f32>),
}

/// What happens to an element of C once its sum is complete.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// `[n]`, added to every row.
    pub(crate) bias: Option<&'a [f32]>,
    /// Whether C becomes GELU(A·B + bias).
    pub(crate) gelu: bool,
    /// Where A·B + bias goes besides, if a derivative will need it; of C's shape.
    pub(crate) before: Option<&'a SharedMut<'a, f32>>,
    /// How far C's rows are apart, where they are parts of longer ones.
    pub(crate) row: Option<usize>,
}

/// The operands of one product.
#[derive(Clone, Copy)]
struct Product<'a> {
    m: usize,
    k: usize,
    n: usize,
    a: Mat<'a, f32>,
    b: Right<'a>,
    c: &'a SharedMut<'a, f32>,
    /// How far C's rows are apart.
    row_c: usize,
    epilogue: Epilogue<'a>,
}

/// Steps after which what was prefetched has arrived: with fewer it would only be in the way.
const PREFETCH_FROM: usize = 64;

/// Rows and steps of a block of A, so that it stays in the second cache, and its sums lose few
/// digits. Where B's panels are copied on the way, once for each block, blocks are taller.
struct Blocks {
    rows: usize,
    steps: usize,
}

impl Product<'_> {
    fn blocks(&self) -> Blocks {
        let (rows, most) = match self.b {
            Right::Packed(_) => (96, 384),
            Right::Plain(_) => (192, 256),
        };
        // Of nearly one size: a short last one would pass over C for little.
        let steps = self.k.div_ceil(self.k.div_ceil(most)).next_multiple_of(UNROLL);
        Blocks { rows, steps }
    }

    /// Elements of working memory of one task: a block of A, and a panel of B.
    fn scratch(&self, width: usize) -> (usize, usize) {
        let Blocks { rows, steps } = self.blocks();
        let steps = steps.min(self.k);
        let a = if self.a.col == 1 { 0 } else { rows.min(self.m) * steps };
        let b = if matches!(self.b, Right::Packed(_)) { 0 } else { steps * width };
        (a, b)
    }

    /// The block `rows` × `panels` of C.
    ///
    /// # Safety
    /// No other thread writes the block meanwhile; the processor has the instructions of `V`; all
    /// operands were checked against the sizes.
    #[inline(always)]
    unsafe fn block<V: Lanes>(
        &self,
        rows: Range<usize>,
        panels: Range<usize>,
        scratch_a: &mut [f32],
        scratch_b: &mut [f32],
    ) {
        let (width, Product { k, n, a, c, row_c: all_c, .. }) = (2 * V::N, *self);
        let (blocks, packed) = (self.blocks(), matches!(self.b, Right::Packed(_)));
        // A tile on its way to C, and the bias of a panel that reaches beyond C.
        let mut tile_c = [0f32; 8 * 32];
        let mut edge_bias = [0f32; 32];
        for from_k in (0..k).step_by(blocks.steps) {
            let ks = from_k..k.min(from_k + blocks.steps);
            let (first, last) = (from_k == 0, ks.end == k);
            for from in rows.clone().step_by(blocks.rows) {
                let block = from..rows.end.min(from + blocks.rows);
                if a.col != 1 {
                    pack_rows(a, block.clone(), ks.clone(), V::ROWS, scratch_a);
                }
                for panel in panels.clone() {
                    let column = panel * width;
                    let cols = width.min(n - column);
                    let b = match self.b {
                        Right::Packed(b) => &b.panel(panel)[from_k * width..],
                        Right::Plain(b) => {
                            let out = &mut scratch_b[..ks.len() * width];
                            // SAFETY: every kernel here is on a processor with AVX2.
                            unsafe { pack_panel(b, ks.clone(), column, n, width, out) };
                            &*out
                        }
                    };
                    let bias = self.epilogue.bias.map(|bias| &bias[column..column + cols]);
                    let bias = bias.map(|bias| {
                        if cols == width {
                            return bias.as_ptr();
                        }
                        edge_bias[..cols].copy_from_slice(bias);
                        edge_bias.as_ptr()
                    });
                    let tiles = Tiles::new(block.len(), V::ROWS);
                    for (i, tile) in tiles.each().enumerate() {
                        let (row, height) = (block.start + tile.start, tile.len());
                        // The tiles of this panel share the next one, but for what the first few
                        // do.
                        let lines = UNROLL.div_ceil(tiles.count);
                        let fetches = packed && i * lines < UNROLL;
                        let ahead = Ahead {
                            panel: b
                                .as_ptr()
                                .wrapping_add((k + i * lines * ks.len() / UNROLL) * width),
                            lines: if fetches { lines } else { 0 },
                        };
                        // SAFETY: inside A (checked), or the packed block.
                        let (at_a, strides) = unsafe {
                            if a.col == 1 {
                                (a.data.as_ptr().add(row * a.row + from_k), (a.row, 1))
                            } else {
                                let at = tile.start * ks.len();
                                (scratch_a.as_ptr().add(at), (1, height))
                            }
                        };
                        if ks.len() >= PREFETCH_FROM {
                            // Sums are added to at the end of a tile: by then they are here.
                            self.prefetch(row..row + height, column);
                        }
                        // What is not yet, or not all, for C goes to a block of its own.
                        let aside = cols < width || (last && self.epilogue.gelu);
                        // SAFETY: the block is ours alone; a whole panel lies inside C.
                        unsafe {
                            let at_c = c.ptr(row * all_c + column);
                            let start = match (first, bias) {
                                (true, None) => None,
                                (true, Some(bias)) => Some((bias, 0)),
                                (false, _) if cols == width => Some((at_c.cast_const(), all_c)),
                                (false, _) => {
                                    for r in 0..height {
                                        let old = at_c.add(r * all_c).cast_const();
                                        let new = tile_c.as_mut_ptr().add(r * width);
                                        std::ptr::copy_nonoverlapping(old, new, cols);
                                    }
                                    Some((tile_c.as_ptr(), width))
                                }
                            };
                            let (to, row_c) =
                                if aside { (tile_c.as_mut_ptr(), width) } else { (at_c, all_c) };
                            let steps = ks.len();
                            tile_rows::<V, 2>(
                                height,
                                steps,
                                at_a,
                                strides,
                                (b.as_ptr(), width),
                                start,
                                to,
                                row_c,
                                ahead,
                            );
                            if aside {
                                let done = &mut tile_c[..height * width];
                                if last {
                                    self.finish(done, width, row, column..column + cols);
                                }
                                write_rows(done, width, c, all_c, row, column..column + cols);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Asks for the lines of C that a tile will write once its sums are complete: rows lie far
    /// apart, so nothing else would fetch them before.
    #[inline(always)]
    fn prefetch(&self, rows: Range<usize>, column: usize) {
        for row in rows {
            let outs = [Some((self.c, self.row_c)), self.epilogue.before.map(|b| (b, self.n))];
            for (out, length) in outs.into_iter().flatten() {
                // SAFETY: inside the output; a prefetch neither reads nor writes.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(out.ptr(row * length + column).cast()) };
            }
        }
    }

    /// The epilogue of a tile whose sums are complete: `row` is its first, `columns` those inside
    /// C.
    ///
    /// # Safety
    /// As for [`block`](Product::block).
    #[inline(always)]
    unsafe fn finish(&self, tile: &mut [f32], width: usize, row: usize, columns: Range<usize>) {
        if !self.epilogue.gelu {
            return;
        }
        if let Some(before) = self.epilogue.before {
            // SAFETY: the block is ours alone.
            unsafe { write_rows(tile, width, before, self.n, row, columns) };
        }
        // One loop over all rows: one vector's long chain of operations hides behind another's.
        for x in tile {
            *x = gelu(*x);
        }
    }
}

/// Copies a tile with rows of `width` to the rows of `c` from `row` on, `n` apart.
///
/// # Safety
/// No other thread uses these elements meanwhile.
#[inline(always)]
unsafe fn write_rows(
    tile: &[f32],
    width: usize,
    c: &SharedMut<f32>,
    n: usize,
    row: usize,
    columns: Range<usize>,
) {
    for (r, tile) in tile.chunks_exact(width).enumerate() {
        let first = (row + r) * n;
        // SAFETY: the caller's promise.
        let out = unsafe { c.slice(first + columns.start..first + columns.end) };
        copy(out, tile);
    }
}

/// [`Product::block`] for one instruction set.
macro_rules! compiled {
    ($name:ident, $v:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(
            product: &Product,
            rows: Range<usize>,
            panels: Range<usize>,
            scratch_a: &mut [f32],
            scratch_b: &mut [f32],
        ) {
            // SAFETY: the caller's promise.
            unsafe { product.block::<$v>(rows, panels, scratch_a, scratch_b) }
        }
    };
}
compiled!(block_avx2, __m256, "avx2,fma");
compiled!(block_avx512, __m512, "avx512f,avx2,fma");

/// C (+)= A·B on the calling thread, for operands in the first cache: A `[m, k]` of any strides, B
/// `[k, width]` and C `[m, width]`, where `width` is a multiple of 16.
pub(crate) fn small(
    isa: Isa,
    (m, k, width): (usize, usize, usize),
    a: Mat<f32>,
    b: &[f32],
    c: &mut [f32],
    add: bool,
) {
    a.check(m, k);
    assert!(width.is_multiple_of(16), "whole vectors");
    assert!(b.len() >= k * width && c.len() >= m * width, "B and C hold their rows");
    // SAFETY: the operands were checked; `Isa::detect` found the instructions.
    unsafe {
        match isa {
            Isa::Avx2 => small_avx2((m, k, width), a, b, c, add),
            Isa::Avx512 => small_avx512((m, k, width), a, b, c, add),
        }
    }
}

/// [`small`] for one instruction set.
macro_rules! small {
    ($name:ident, $v:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(
            (m, k, width): (usize, usize, usize),
            a: Mat<f32>,
            b: &[f32],
            c: &mut [f32],
            add: bool,
        ) {
            const N: usize = <$v as Lanes>::N;
            let mut column = 0;
            // A last single vector where there is an odd number of them.
            macro_rules! columns {
                ($vectors:literal) => {
                    for tile in Tiles::new(m, <$v as Lanes>::ROWS).each() {
                        // SAFETY: the tile lies inside the operands (checked).
                        unsafe {
                            let a_row = a.data.as_ptr().add(tile.start * a.row);
                            let at_c = c.as_mut_ptr().add(tile.start * width + column);
                            let start = add.then_some((at_c.cast_const(), width));
                            let b = (b.as_ptr().add(column), width);
                            let strides = (a.row, a.col);
                            tile_rows::<$v, $vectors>(
                                tile.len(),
                                k,
                                a_row,
                                strides,
                                b,
                                start,
                                at_c,
                                width,
                                Ahead::NOTHING,
                            );
                        }
                    }
                };
            }
            while column + 2 * N <= width {
                columns!(2);
                column += 2 * N;
            }
            if column < width {
                columns!(1);
            }
        }
    };
}
small!(small_avx2, __m256, "avx2,fma");
small!(small_avx512, __m512, "avx512f,avx2,fma");

/// Picoseconds of one multiply-add on one core.
const PS_PER_MAC: usize = 12;
/// Picoseconds that an element of B takes to arrive.
const PS_PER_ELEMENT: usize = 150;
/// Tiles of rows of a short product, and bytes of B that it may read.
const FEW_TILES: usize = 6;
const SHORT: usize = 8 << 20;

/// C = A·B and the epilogue, split between threads.
///
/// # Safety
/// C (its rows `epilogue.row` apart) and `before` hold `m` rows of `n` elements and nobody else
/// touches them meanwhile; `isa` is the processor's.
pub(crate) unsafe fn product(
    isa: Isa,
    (m, k, n): (usize, usize, usize),
    a: Mat<f32>,
    b: Right,
    c: &SharedMut<f32>,
    epilogue: Epilogue,
) -> Result<()> {
    a.check(m, k);
    match b {
        Right::Packed(b) => assert!(b.is_for(isa, k, n), "packed for another product"),
        Right::Plain(b) => b.check(k, n),
    }
    assert!(epilogue.bias.is_none_or(|bias| bias.len() == n), "a bias for each column");
    assert!(k > 0, "a product without steps has no block to write");
    if m == 0 || n == 0 {
        return Ok(());
    }
    let row_c = epilogue.row.unwrap_or(n);
    assert!(row_c >= n, "rows of C overlap");
    c.check(m, n, row_c);
    epilogue.before.inspect(|before| before.check(m, n, n));
    let product = Product { m, k, n, a, b, c, row_c, epilogue };
    let width = isa.width();
    let panels = n.div_ceil(width);
    // Places in the panels can be counted, also of a B that is never packed as a whole.
    sizes::numel("matmul", &[panels, k, width])?;
    // Rows in blocks; columns too where the rows do not make enough tasks. Where B is packed on the
    // way, every task more packs it once more.
    let height = product.blocks().rows;
    let blocks = m.div_ceil(height);
    let copies = matches!(b, Right::Plain(_));
    let threads = rayon::current_num_threads();
    // A short product is cut once for each thread, so that each reads its panels in one go.
    let passes = m.div_ceil(FEW_TILES * isa.rows());
    let short = sizes::work(&[k, n, size_of::<f32>(), passes]) <= SHORT;
    let wanted = threads
        * if short {
            1
        } else if copies {
            2
        } else {
            4
        };
    let row_parts = if copies { blocks.min(wanted) } else { blocks };
    // As many for each thread: of eleven blocks one thread would take six.
    let tiles = m.div_ceil(isa.rows());
    let row_parts = match row_parts {
        1 => 1,
        parts => parts.next_multiple_of(threads).min(tiles),
    };
    let column_parts = wanted.div_ceil(row_parts).min(panels);
    let tasks = row_parts * column_parts;
    let (size_a, size_b) = product.scratch(width);
    let mut scratch = Output::<f32>::new("matmul", &[tasks, size_a + size_b])?;
    let scratch = SharedMut::new(scratch.slice_mut());
    // With few rows the time is that of reading B.
    let ps = sizes::work(&[m, n, k, PS_PER_MAC]).max(sizes::work(&[k, n, PS_PER_ELEMENT])) / tasks;
    parallel::run(tasks, ps / 1000 + 100, &|task| {
        let (part, columns) = (task / column_parts, task % column_parts);
        let rows = parallel::part(tiles, row_parts, part);
        let rows = rows.start * isa.rows()..m.min(rows.end * isa.rows());
        let panels = parallel::part(panels, column_parts, columns);
        // SAFETY: each task has its own part of C and of the scratch memory; `isa` is the
        // processor's; the operands were checked above.
        unsafe {
            let at = task * (size_a + size_b);
            let scratch = scratch.slice(at..at + size_a + size_b);
            let (a, b) = scratch.split_at_mut(size_a);
            match isa {
                Isa::Avx2 => block_avx2(&product, rows, panels, a, b),
                Isa::Avx512 => block_avx512(&product, rows, panels, a, b),
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
