//! How a product is cut: into tasks for the threads, and each task into blocks for the caches.

use super::kernel::UNROLL;
use super::operands::{Left, Product, Right};
use gradus_base::sizes;

/// Picoseconds that a byte of B takes to arrive, and that an element of C takes after its sum of
/// rounded numbers.
const PS_PER_BYTE: usize = 40;
const PS_PER_ELEMENT: usize = 300;
/// Tiles of rows of a short product, and bytes of B that it may read.
const FEW_TILES: usize = 6;
const SHORT: usize = 8 << 20;
/// Bytes of a block of rounded rows, and the least and the most rows: B comes from further away
/// than the second cache, so a block is as large as that cache keeps. The least is a multiple of
/// every kernel's tile.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK: (usize, usize) = (96, 576);

/// Rows and steps of a block of A, so that it stays in the second cache, and its sums lose few
/// digits.
pub(super) struct Blocks {
    pub(super) rows: usize,
    /// In words.
    pub(super) steps: usize,
}

/// How a product is cut into tasks: parts of the rows times parts of the panels.
pub(super) struct Split {
    pub(super) row_parts: usize,
    pub(super) column_parts: usize,
}

impl Product<'_> {
    pub(super) fn blocks(&self) -> Blocks {
        let (rows, max_steps) = match (self.left, self.right) {
            (Left::Plain(_), Right::Packed(_)) => (96, 384),
            // Panels are copied once for each block, so blocks are taller.
            (Left::Plain(a), Right::Plain(_)) => (if a.col == 1 { 192 } else { 384 }, 256),
            (Left::Rounded(_), _) => {
                let steps = self.numbers.block(self.words);
                let rows = (BLOCK_BYTES / (4 * steps).max(1)).clamp(BLOCK.0, BLOCK.1);
                return Blocks { rows: rows / BLOCK.0 * BLOCK.0, steps };
            }
        };
        // Of nearly one size: a short last one would pass over C for little.
        let count = self.words.div_ceil(max_steps).max(1);
        Blocks { rows, steps: self.words.div_ceil(count).next_multiple_of(UNROLL) }
    }

    /// Bytes of B.
    fn arriving(&self) -> usize {
        match self.right {
            Right::Packed(b) => b.bytes(),
            Right::Plain(_) => sizes::work(&[self.words, self.n, size_of::<f32>()]),
        }
    }

    /// Rows in blocks; columns too where the rows do not make enough tasks. Where B is packed on the
    /// way, every task more packs it once more.
    pub(super) fn split(&self, tiles: usize, panels: usize) -> Split {
        let blocks = self.m.div_ceil(self.blocks().rows);
        let copies = matches!(self.right, Right::Plain(_));
        let threads = rayon::current_num_threads();
        // A short product is cut once for each thread, so that each reads its panels in one go.
        let passes = tiles.div_ceil(FEW_TILES);
        let wanted = threads
            * match copies {
                _ if sizes::work(&[self.arriving(), passes]) <= SHORT => 1,
                true => 2,
                false => 4,
            };
        // As many for each thread: of eleven blocks one thread would take six.
        let row_parts = match if copies { blocks.min(wanted) } else { blocks } {
            1 => 1,
            parts => parts.next_multiple_of(threads).min(tiles),
        };
        Split { row_parts, column_parts: wanted.div_ceil(row_parts).min(panels) }
    }

    /// An estimate of one task's time. With few rows it is that of reading B.
    pub(super) fn task_ns(&self, tasks: usize) -> usize {
        let steps = sizes::work(&[self.words, self.numbers.steps()]);
        let fs = sizes::work(&[self.m, self.n, steps, self.kernel.fs_per_mac()]);
        let arrival = sizes::work(&[self.arriving(), PS_PER_BYTE]);
        let finish = match self.left {
            Left::Plain(_) => 0,
            Left::Rounded(_) => sizes::work(&[self.m, self.n, PS_PER_ELEMENT]),
        };
        ((fs / 1000).max(arrival) / tasks / 1000).saturating_add(finish / tasks / 1000 + 100)
    }
}
