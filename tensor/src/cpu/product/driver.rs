//! The loops of a product, one driver for all kernels: blocks of k, blocks of rows, panels of
//! columns, tiles of rows.

use std::ops::Range;

use super::epilogue::{self, Epilogue};
use super::kernel::{
    Ahead, Kernel, MAX_ROWS, MAX_WIDTH, Numbers, Registers, Room, Start, Tile, Tiles, Window,
    chunks, prefetch,
};
use super::panels::{Packed, Rounded};
use super::vectors::UNROLL;
use crate::Result;
use crate::cpu::mat::Mat;
use crate::cpu::parallel::{self, SharedMut};
use crate::sizes;
use crate::storage::Output;

/// Where A comes from.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// f32, read where it lies if its columns are adjacent, else copied block by block.
    Plain(Mat<'a, f32>),
    Rounded(&'a Rounded),
}

/// Where B comes from.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    Packed(&'a Packed),
    /// f32, packed on the way.
    Plain(Mat<'a, f32>),
}

/// The operands of one product.
pub(super) struct Product<'a> {
    pub(super) kernel: &'a dyn Kernel,
    pub(super) m: usize,
    pub(super) n: usize,
    /// Along k.
    pub(super) words: usize,
    pub(super) left: Left<'a>,
    pub(super) right: Right<'a>,
    pub(super) out: SharedMut<'a, f32>,
    pub(super) epilogue: Epilogue<'a>,
}

/// Steps after which what was prefetched has arrived: with fewer it would only be in the way.
const PREFETCH_FROM: usize = 64;
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

/// C = A·B and the epilogue for sizes `(m, k, n)`, split between threads. C is `out`, its rows
/// `epilogue.row` apart.
pub(crate) fn product(
    kernel: &dyn Kernel,
    (m, k, n): (usize, usize, usize),
    left: Left,
    right: Right,
    out: &mut [f32],
    epilogue: Epilogue,
) -> Result<()> {
    let (numbers, name) = (kernel.numbers(), kernel.name());
    match left {
        Left::Plain(a) => a.check(m, k),
        Left::Rounded(a) => assert!(a.is_for(kernel, m, k), "rounded for another than {name}"),
    }
    match right {
        Right::Packed(b) => assert!(b.is_for(kernel, k, n), "packed for another than {name}"),
        Right::Plain(b) => b.check(k, n),
    }
    let plain = (matches!(left, Left::Plain(_)), matches!(right, Right::Plain(_)));
    assert!(plain.0 == (numbers == Numbers::F32), "f32 is not rounded, all else is");
    assert!(!plain.1 || numbers == Numbers::F32, "all but f32 is packed before");
    let out = SharedMut::new(out);
    epilogue.check(m, n, &out);
    if m == 0 || n == 0 {
        return Ok(());
    }
    Product { kernel, m, n, words: numbers.words(k), left, right, out, epilogue }.run()
}

/// Rows and steps of a block of A, so that it stays in the second cache, and its sums lose few
/// digits.
struct Blocks {
    rows: usize,
    /// In words.
    steps: usize,
}

/// How a product is cut into tasks: parts of the rows times parts of the panels.
struct Split {
    row_parts: usize,
    column_parts: usize,
}

/// What a task has to itself.
struct Task<'a> {
    registers: Registers,
    /// A block of A, where it is copied, and a panel of B, where that is.
    left: &'a mut [f32],
    panel: &'a mut [f32],
    sums: Sums,
}

/// The sums of a tile on their way to C.
#[repr(align(64))]
struct Sums([u32; MAX_ROWS * MAX_WIDTH]);

/// Rows and words of A.
struct Block {
    rows: Range<usize>,
    words: Range<usize>,
}

/// A tile's place in C, and its part of the sums.
pub(super) struct Place {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// Along k.
    pub(super) words: usize,
    /// Whether the sums begin here, and whether they are complete after it.
    pub(super) first: bool,
    pub(super) last: bool,
}

impl Product<'_> {
    fn run(&self) -> Result<()> {
        let (rows, width) = (self.kernel.rows(), self.kernel.width());
        let (tiles, panels) = (self.m.div_ceil(rows), self.n.div_ceil(width));
        // Places in the panels can be counted, also of a B that is never packed as a whole.
        sizes::numel("matmul", &[panels, self.words, width])?;
        let Split { row_parts, column_parts } = self.split(tiles, panels);
        let tasks = row_parts * column_parts;
        let (left, panel) = self.scratch();
        let mut scratch = Output::<f32>::new("matmul", &[tasks, left + panel])?;
        let scratch = SharedMut::new(scratch.slice_mut());
        parallel::run(tasks, self.task_ns(tasks), &|task| {
            let (part, columns) = (task / column_parts, task % column_parts);
            let tiles = parallel::part(tiles, row_parts, part);
            let at = task * (left + panel);
            // SAFETY: each task has its own scratch memory.
            let scratch = unsafe { scratch.slice(at..at + left + panel) };
            let (left, panel) = scratch.split_at_mut(left);
            let sums = Sums([0; MAX_ROWS * MAX_WIDTH]);
            let mut task = Task { registers: self.kernel.begin(), left, panel, sums };
            let panels = parallel::part(panels, column_parts, columns);
            self.part(tiles.start * rows..self.m.min(tiles.end * rows), panels, &mut task);
        });
        Ok(())
    }

    fn blocks(&self) -> Blocks {
        let (rows, max_steps) = match (self.left, self.right) {
            (Left::Plain(_), Right::Packed(_)) => (96, 384),
            // Panels are copied once for each block, so blocks are taller.
            (Left::Plain(_), Right::Plain(_)) => (192, 256),
            (Left::Rounded(_), _) => {
                let rows = (BLOCK_BYTES / (4 * self.words).max(1)).clamp(BLOCK.0, BLOCK.1);
                return Blocks { rows: rows / BLOCK.0 * BLOCK.0, steps: self.words };
            }
        };
        // Of nearly one size: a short last one would pass over C for little.
        let count = self.words.div_ceil(max_steps).max(1);
        Blocks { rows, steps: self.words.div_ceil(count).next_multiple_of(UNROLL) }
    }

    /// Elements of working memory of one task: a block of A, and a panel of B.
    fn scratch(&self) -> (usize, usize) {
        let Blocks { rows, steps } = self.blocks();
        let steps = steps.min(self.words);
        let left = if self.copies_rows() { rows.min(self.m) * steps } else { 0 };
        let panel = match self.right {
            Right::Packed(_) => 0,
            Right::Plain(_) => steps * self.kernel.width(),
        };
        (left, panel)
    }

    /// Whether blocks of A are copied.
    fn copies_rows(&self) -> bool {
        matches!(self.left, Left::Plain(a) if a.col != 1)
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
    fn split(&self, tiles: usize, panels: usize) -> Split {
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
    fn task_ns(&self, tasks: usize) -> usize {
        let steps = sizes::work(&[self.words, self.kernel.numbers().steps()]);
        let fs = sizes::work(&[self.m, self.n, steps, self.kernel.fs_per_mac()]);
        let arrival = sizes::work(&[self.arriving(), PS_PER_BYTE]);
        let finish = match self.left {
            Left::Plain(_) => 0,
            Left::Rounded(_) => sizes::work(&[self.m, self.n, PS_PER_ELEMENT]),
        };
        ((fs / 1000).max(arrival) / tasks / 1000).saturating_add(finish / tasks / 1000 + 100)
    }

    /// The rows `rows` and panels `panels` of C.
    fn part(&self, rows: Range<usize>, panels: Range<usize>, task: &mut Task) {
        let blocks = self.blocks();
        // Without any step there is one block, which writes the bias.
        for from in (0..self.words.max(1)).step_by(blocks.steps.max(1)) {
            for rows in chunks(rows.clone(), blocks.rows) {
                let block = Block { rows, words: from..self.words.min(from + blocks.steps) };
                self.copy_rows(&block, task);
                for panel in panels.clone() {
                    self.panel(&block, panel, task);
                }
            }
        }
    }

    /// Copies a block of A if its columns are not adjacent.
    fn copy_rows(&self, block: &Block, task: &mut Task) {
        if let Left::Plain(a) = self.left
            && a.col != 1
        {
            let bytes = bytemuck::cast_slice_mut(task.left);
            let room = Room { bytes, scales: &mut [], offsets: &mut [] };
            self.kernel.pack_rows(a, block.rows.clone(), block.words.clone(), room);
        }
    }

    /// A block of A times one panel of B.
    fn panel(&self, block: &Block, panel: usize, task: &mut Task) {
        let (words, width) = (block.words.clone(), self.kernel.width());
        let columns = panel * width..self.n.min((panel + 1) * width);
        let row = width * self.kernel.numbers().bytes();
        let Task { registers, left, panel: memory, sums } = task;
        let (b, distance) = match self.right {
            Right::Packed(b) => {
                (&b.panel(panel)[words.start * row..words.end * row], Some(self.words * row))
            }
            Right::Plain(b) => {
                let out = bytemuck::cast_slice_mut(&mut memory[..words.len() * width]);
                let room = Room { bytes: &mut *out, scales: &mut [], offsets: &mut [] };
                self.kernel.pack_weight(b, words.clone(), columns.clone(), room);
                (&*out, None)
            }
        };
        let tiles = Tiles::new(block.rows.len(), self.kernel.rows());
        for (i, tile) in tiles.each().enumerate() {
            let place = Place {
                rows: block.rows.start + tile.start..block.rows.start + tile.end,
                columns: columns.clone(),
                words: words.len(),
                first: words.start == 0,
                last: words.end == self.words,
            };
            let operands = (self.rows_of(block, tile, left), b);
            let ahead = distance.map(|distance| Ahead { distance, tile: i, tiles: tiles.count });
            self.tile(&place, operands, ahead, registers, sums);
        }
    }

    /// The rows `tile` of a block of A.
    fn rows_of<'a>(&'a self, block: &Block, tile: Range<usize>, copy: &'a [f32]) -> Mat<'a, u32> {
        let (words, row) = (&block.words, block.rows.start + tile.start);
        let (data, row, col) = match self.left {
            Left::Rounded(a) => return a.rows(row),
            Left::Plain(a) if a.col == 1 => (&a.data[row * a.row + words.start..], a.row, 1),
            Left::Plain(_) => (&copy[tile.start * words.len()..], 1, tile.len()),
        };
        Mat { data: bytemuck::cast_slice(data), row, col }
    }

    /// One tile: straight into C where it can be, else by way of `sums`.
    fn tile(
        &self,
        place: &Place,
        (left, panel): (Mat<u32>, &[u8]),
        ahead: Option<Ahead>,
        registers: &Registers,
        sums: &mut Sums,
    ) {
        let (kernel, width) = (self.kernel, self.kernel.width());
        let (rows, words) = (place.rows.len(), place.words);
        if words >= PREFETCH_FROM {
            // Sums are added to at the end of a tile: by then they are here.
            self.prefetch(place);
        }
        let whole = kernel.numbers() == Numbers::F32 && place.columns.len() == width;
        if !whole || (place.last && self.epilogue.gelu) {
            let (start, out) = (Start::Zero, Window::whole(&mut sums.0, width));
            kernel.tile(registers, Tile { rows, words, left, panel, ahead, start, out });
            return epilogue::finish(self, place, &mut sums.0[..rows * width]);
        }
        let start = match (place.first, self.epilogue.bias) {
            (true, None) => Start::Zero,
            (true, Some(bias)) => Start::Row(&bias[place.columns.clone()]),
            (false, _) => Start::Out,
        };
        let row = self.epilogue.row_of(self.n);
        // SAFETY: inside C (checked), and this task's alone.
        let out = unsafe {
            let first = self.out.ptr(place.rows.start * row + place.columns.start);
            Window::new(first.cast(), row, (rows, width))
        };
        kernel.tile(registers, Tile { rows, words, left, panel, ahead, start, out });
    }

    /// Asks for the lines of C that a tile will write once its sums are complete: rows lie far
    /// apart, so nothing else would fetch them before.
    fn prefetch(&self, place: &Place) {
        let (row, before) = (self.epilogue.row_of(self.n), self.epilogue.before.as_ref());
        for r in place.rows.clone() {
            // SAFETY: inside the outputs (checked).
            unsafe {
                prefetch(self.out.ptr(r * row + place.columns.start));
                if let Some(before) = before {
                    prefetch(before.ptr(r * self.n + place.columns.start));
                }
            }
        }
    }
}
