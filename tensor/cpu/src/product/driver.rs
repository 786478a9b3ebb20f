//! The loops of a product, one driver for all kernels: blocks of k, blocks of rows, panels of
//! columns, tiles of rows.

use std::ops::Range;

use super::epilogue;
use super::kernel::{Ahead, Kernel, Places, Registers, Start, Tile, Tiles, UNROLL, Window, chunks};
use super::numbers::{MAX_ROWS, MAX_WIDTH, Numbers, Room};
use super::operands::{Epilogue, Left, Place, Product, Right};
use super::split::{Blocks, Split};
use crate::mat::Mat;
use crate::parallel::{self, SharedMut};
use crate::storage::Output;
use gradus_base::Result;
use gradus_base::sizes;

/// Steps after which what was prefetched has arrived: with fewer it would only be in the way.
const PREFETCH_FROM: usize = 64;

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
        Left::Rounded(a) => assert!(a.is_for(kernel, m, k), "rounded for {name}"),
    }
    match right {
        Right::Packed(b) => assert!(b.is_for(kernel, k, n), "packed for {name}"),
        Right::Plain(b) => b.check(k, n),
    }
    let is_f32 = numbers == Numbers::F32;
    assert_eq!(matches!(left, Left::Plain(_)), is_f32, "f32 is not rounded, all else is");
    assert!(is_f32 || matches!(right, Right::Packed(_)), "all but f32 is packed before");
    let out = SharedMut::new(out);
    epilogue.check(m, n, &out);
    if m == 0 || n == 0 {
        return Ok(());
    }
    let (width, words, writes_into_c) = (kernel.width(), numbers.words(k), kernel.writes_into_c());
    Product { kernel, numbers, width, writes_into_c, m, n, words, left, right, out, epilogue }.run()
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

impl Product<'_> {
    fn run(&self) -> Result<()> {
        let (rows, width) = (self.kernel.rows(), self.width);
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

    /// Elements of working memory of one task: a block of A, and a panel of B.
    fn scratch(&self) -> (usize, usize) {
        let Blocks { rows, steps } = self.blocks();
        let steps = steps.min(self.words);
        let left = if self.copies_rows() { rows.min(self.m) * steps } else { 0 };
        let panel = match self.right {
            Right::Packed(_) => 0,
            Right::Plain(_) => steps * self.width,
        };
        (left, panel)
    }

    /// Whether blocks of A are copied.
    fn copies_rows(&self) -> bool {
        matches!(self.left, Left::Plain(a) if a.col != 1)
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
        let (words, width) = (block.words.clone(), self.width);
        let columns = panel * width..self.n.min((panel + 1) * width);
        let row = width * self.numbers.bytes();
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
        let share = UNROLL.div_ceil(tiles.count);
        for (i, tile) in tiles.each().enumerate() {
            let place = Place {
                rows: block.rows.start + tile.start..block.rows.start + tile.end,
                columns: columns.clone(),
                words: words.len(),
                first: words.start == 0,
                last: words.end == self.words,
            };
            let operands = (self.rows_of(block, tile, left), b);
            let ahead = distance.map(|distance| Ahead { distance, tile: i, share });
            self.tile(&place, operands, ahead, registers, sums);
        }
    }

    /// The rows `tile` of a block of A.
    fn rows_of<'a>(&'a self, block: &Block, tile: Range<usize>, copy: &'a [f32]) -> Mat<'a, u32> {
        let (words, row) = (&block.words, block.rows.start + tile.start);
        let (data, row, col) = match self.left {
            Left::Rounded(a) => return a.part(row, words.start),
            Left::Plain(a) if a.col == 1 => {
                let first = row * a.row + words.start;
                // Without any step it may be beyond the data.
                (&a.data[first.min(a.data.len())..], a.row, 1)
            }
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
        let (kernel, width) = (self.kernel, self.width);
        let (rows, words) = (place.rows.len(), place.words);
        let places = self.places(place);
        let start = match self.epilogue.bias {
            Some(bias) if self.tile_adds_bias(place) => Start::Row(&bias[place.columns.clone()]),
            _ => Start::Zero,
        };
        if !self.fills_panel(place) || (place.last && self.epilogue.gelu) {
            let out = Window::whole(&mut sums.0, width);
            kernel.tile(registers, Tile { rows, words, left, panel, ahead, places, start, out });
            return epilogue::finish(self, place, &mut sums.0[..rows * width]);
        }
        let start = if place.first { start } else { Start::Out };
        let row = self.epilogue.row_of(self.n);
        // SAFETY: inside C (checked), and this task's alone.
        let out = unsafe {
            let first = self.out.ptr(place.rows.start * row + place.columns.start);
            Window::new(first.cast(), row, (rows, width))
        };
        kernel.tile(registers, Tile { rows, words, left, panel, ahead, places, start, out });
    }

    /// Whether a tile has C's numbers alone, so that it can be written there.
    fn fills_panel(&self, place: &Place) -> bool {
        self.writes_into_c && place.columns.len() == self.width
    }

    /// Whether a tile's sums begin with the bias; else the epilogue adds it.
    pub(super) fn tile_adds_bias(&self, place: &Place) -> bool {
        self.fills_panel(place) && place.first
    }

    /// What a tile asks for: C, and what is kept for a derivative.
    fn places(&self, place: &Place) -> Places {
        if place.words < PREFETCH_FROM {
            return Places::NONE;
        }
        let first = |of: &SharedMut<f32>, row: usize| {
            // SAFETY: inside the output (checked), and only asked for.
            let first = unsafe { of.ptr(place.rows.start * row + place.columns.start) };
            (first.cast_const(), row)
        };
        let out = first(&self.out, self.epilogue.row_of(self.n));
        let before = self.epilogue.before.as_ref().map(|before| first(before, self.n));
        Places::new(out, before, (place.rows.len(), place.columns.len()))
    }
}
