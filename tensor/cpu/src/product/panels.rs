//! Operands copied into the order in which the tiles read them.

use std::ops::Range;

use super::kernel::{Kernel, Tiles, chunks, prefetch};
use super::numbers::{MAX_ROWS, Numbers, Room};
use super::vectors::Vectors;
use crate::buffer::Buffer;
use crate::mat::Mat;
use crate::parallel::{self, SharedMut};
use gradus_base::Result;
use gradus_base::sizes;

/// Panels that a task copies side by side, and rows of the operand that it copies at once. It asks
/// for the next rows before: no processor guesses that a few lines of every row are read.
const GROUP: usize = 4;
const CHUNK: usize = 16;

/// Prefetches the elements `rows × columns` of a matrix whose columns are adjacent; of another,
/// nothing.
#[inline(always)]
fn ask_for(m: Mat<f32>, rows: Range<usize>, columns: Range<usize>) {
    if m.col != 1 {
        return;
    }
    for row in rows {
        for column in columns.clone().step_by(64 / size_of::<f32>()) {
            prefetch(m.data.as_ptr().wrapping_add(row * m.row + column));
        }
    }
}

/// So many zeros.
fn zeros<T: Default + Clone>(op: &'static str, len: usize) -> Result<Vec<T>> {
    let mut zeros = sizes::list(op, len)?;
    zeros.resize(len, T::default());
    Ok(zeros)
}

/// The right operand in panels, `[⌈n/width⌉]` of them, the last one padded with zeros.
pub(crate) struct Packed {
    buffer: Buffer,
    /// Of integers, the scale of each column (0 beyond the last) and the sum of its integers.
    pub(super) scales: Vec<f32>,
    pub(super) sums: Vec<i32>,
    k: usize,
    n: usize,
    numbers: Numbers,
    width: usize,
}

impl Packed {
    /// Packs `b [k, n]`, any strides. A column of integers with an infinity or a NaN results in
    /// NaN.
    pub(crate) fn new(
        op: &'static str,
        kernel: &dyn Kernel,
        b: Mat<f32>,
        (k, n): (usize, usize),
    ) -> Result<Packed> {
        b.check(k, n);
        let (numbers, width) = (kernel.numbers(), kernel.width());
        let (panels, words) = (n.div_ceil(width), numbers.words(k));
        let all = sizes::bytes(op, &[panels, words, width], numbers.bytes())?;
        let mut buffer = Buffer::scratch(op, all)?;
        let columns = if numbers.are_integers() { panels * width } else { 0 };
        let (mut scales, mut sums) = (zeros(op, columns)?, zeros(op, columns)?);
        let packing = Packing {
            kernel,
            b,
            k,
            n,
            row: width * numbers.bytes(),
            panel: words * width * numbers.bytes(),
            bytes: SharedMut::new(buffer.bytes_mut()),
            scales: SharedMut::new(&mut scales),
            sums: SharedMut::new(&mut sums),
        };
        packing.run(panels);
        Ok(Packed { buffer, scales, sums, k, n, numbers, width })
    }

    /// Whether it is a `[k, n]` in the panels of `kernel`.
    pub(crate) fn is_for(&self, kernel: &dyn Kernel, k: usize, n: usize) -> bool {
        (self.numbers, self.width) == (kernel.numbers(), kernel.width())
            && (self.k, self.n) == (k, n)
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.bytes().len()
    }

    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let size = self.numbers.words(self.k) * self.width * self.numbers.bytes();
        &self.buffer.bytes()[panel * size..(panel + 1) * size]
    }
}

/// A right operand on its way into panels.
struct Packing<'a> {
    kernel: &'a dyn Kernel,
    b: Mat<'a, f32>,
    k: usize,
    n: usize,
    /// Bytes of a word of all columns of a panel, and of a panel.
    row: usize,
    panel: usize,
    bytes: SharedMut<'a, u8>,
    scales: SharedMut<'a, f32>,
    sums: SharedMut<'a, i32>,
}

impl Packing<'_> {
    fn run(&self, panels: usize) {
        let (width, k) = (self.kernel.width(), self.k);
        let numbers = self.kernel.numbers();
        let f32 = numbers == Numbers::F32;
        // Panel by panel where steps are adjacent or a column has a scale; else a few rows of a few
        // panels at a time.
        let grouped = f32 && self.b.col == 1;
        let block = numbers.block(numbers.words(k)) * numbers.steps();
        let (group, chunk) = if grouped { (GROUP, CHUNK) } else { (1, block.max(1)) };
        // Rounding takes a nanosecond an element, a copy a third.
        let ns = group * k * width / if f32 { 3 } else { 1 };
        parallel::run(panels.div_ceil(group), ns, &|task| {
            let panels = task * group..panels.min((task + 1) * group);
            for ks in chunks(0..k, chunk) {
                let columns = panels.start * width..self.n.min(panels.end * width);
                ask_for(self.b, ks.end..k.min(ks.end + chunk), columns);
                for panel in panels.clone() {
                    self.pack(panel, ks.clone());
                }
            }
        });
    }

    /// The steps `ks` of one panel.
    fn pack(&self, panel: usize, ks: Range<usize>) {
        let (width, numbers) = (self.kernel.width(), self.kernel.numbers());
        let columns = panel * width..self.n.min((panel + 1) * width);
        let words = numbers.words(ks.len());
        let at = panel * self.panel + ks.start / numbers.steps() * self.row;
        let integers = if numbers.are_integers() { columns.clone() } else { 0..0 };
        // SAFETY: each panel, with its columns, belongs to one task.
        let room = unsafe {
            Room {
                bytes: self.bytes.slice(at..at + words * self.row),
                scales: self.scales.slice(integers.clone()),
                offsets: self.sums.slice(integers),
            }
        };
        self.kernel.pack_weight(self.b, ks, columns, room);
    }
}

/// Rows of a task that rounds A where its rows are adjacent: whole lines of memory of each step.
const TALL: usize = 64;

/// A left operand rounded as a whole, each row so many words. Of integers, what an integer of each
/// row is worth, and which one is 0.
pub(crate) struct Rounded {
    words: Buffer,
    pub(super) scales: Vec<f32>,
    pub(super) zeros: Vec<i32>,
    m: usize,
    k: usize,
    numbers: Numbers,
}

impl Rounded {
    /// Rounds `a [m, k]`; for integers its columns are adjacent.
    pub(crate) fn new(
        op: &'static str,
        kernel: &dyn Kernel,
        a: Mat<f32>,
        (m, k): (usize, usize),
    ) -> Result<Rounded> {
        a.check(m, k);
        let numbers = kernel.numbers();
        let words = numbers.words(k);
        // A tile of AMX reads whole, perhaps beyond the last row.
        let mut buffer = Buffer::scratch(op, sizes::bytes(op, &[m + MAX_ROWS, words], 4)?)?;
        let (mut scales, mut zeros) = (zeros(op, m)?, zeros(op, m)?);
        let out = &mut buffer.bytes_mut()[..m * words * 4];
        let of_rows = (SharedMut::new(&mut scales), SharedMut::new(&mut zeros));
        let task = if a.col == 1 { parallel::rows_per_task(k) } else { TALL };
        parallel::rows(out, words * 4, task, k as f64 * 0.3, |first, out| {
            let rows = first..first + out.len() / (words * 4);
            // SAFETY: each row belongs to one task.
            let (scales, offsets) =
                unsafe { (of_rows.0.slice(rows.clone()), of_rows.1.slice(rows.clone())) };
            kernel.pack_rows(a, rows, 0..k, Room { bytes: out, scales, offsets });
        });
        Ok(Rounded { words: buffer, scales, zeros, m, k, numbers })
    }

    /// Whether it is an `[m, k]` as `kernel` reads it.
    pub(super) fn is_for(&self, kernel: &dyn Kernel, m: usize, k: usize) -> bool {
        (self.numbers, self.m, self.k) == (kernel.numbers(), m, k)
    }

    /// From a row and a word on.
    pub(super) fn part(&self, row: usize, word: usize) -> Mat<'_, u32> {
        let words = self.numbers.words(self.k);
        let data = &bytemuck::cast_slice(self.words.bytes())[row * words + word..];
        Mat { data, row: words, col: 1 }
    }
}

/// The steps `ks` of the columns `columns` of `b`, as one panel of two vectors.
#[inline(always)]
pub(super) fn pack_panel<V: Vectors>(
    v: V,
    b: Mat<f32>,
    ks: Range<usize>,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let (width, first, cols) = (2 * V::N, columns.start, columns.len());
    assert!(cols <= width && out.len() == ks.len() * width, "one panel");
    let at = |p: usize, c: usize| p * b.row + (first + c) * b.col;
    if cols < width {
        out.fill(0.0);
    }
    if b.col == 1 {
        for (p, row) in ks.zip(out.chunks_exact_mut(width)) {
            copy(&mut row[..cols], &b.data[at(p, 0)..][..cols]);
        }
        return;
    }
    // Blocks of 8 columns × 8 steps are transposed in registers where steps are adjacent.
    let (full_c, full_k) = if b.row == 1 { (cols / 8 * 8, ks.len() / 8 * 8) } else { (0, 0) };
    for c in (0..full_c).step_by(8) {
        for p in (0..full_k).step_by(8) {
            let rows: [&[f32; 8]; 8] = std::array::from_fn(|i| {
                b.data[at(ks.start + p, c + i)..].first_chunk().expect("inside B (checked)")
            });
            let block = &mut out[p * width + c..][..7 * width + 8];
            // SAFETY: 8 rows of 8 elements, `width` apart, fit the block.
            unsafe { v.transpose8(rows, block.as_mut_ptr(), width) };
        }
    }
    for c in 0..cols {
        let done = if c < full_c { full_k } else { 0 };
        for p in done..ks.len() {
            out[p * width + c] = b.data[at(ks.start + p, c)];
        }
    }
}

/// Copies a row of a panel. A copy of constant length is a few moves; another is a call.
#[inline(always)]
pub(super) fn copy(to: &mut [f32], from: &[f32]) {
    match to.len() {
        16 => to[..16].copy_from_slice(&from[..16]),
        32 => to[..32].copy_from_slice(&from[..32]),
        len => to.copy_from_slice(&from[..len]),
    }
}

/// See [`F32Kernel::transpose_blocks`](super::F32Kernel::transpose_blocks).
#[inline(always)]
pub(super) fn transpose_blocks<V: Vectors>(
    v: V,
    (from, stride): (&[f32], usize),
    n: usize,
    d: usize,
    out: &mut [f32],
    tall: usize,
) -> (usize, usize) {
    for i in 0..n / 8 {
        for j in 0..d / 8 {
            let rows = std::array::from_fn(|r| {
                from[(8 * i + r) * stride + 8 * j..].first_chunk().expect("a block inside")
            });
            let block = &mut out[8 * j * tall + 8 * i..][..7 * tall + 8];
            // SAFETY: 8 rows of 8 elements, `tall` apart, fit the block.
            unsafe { v.transpose8(rows, block.as_mut_ptr(), tall) };
        }
    }
    (n / 8 * 8, d / 8 * 8)
}

/// The steps `ks` of the rows `rows` of A, tile after tile, each `[ks][height]`.
#[inline(always)]
pub(super) fn pack_rows(
    a: Mat<f32>,
    rows: Range<usize>,
    ks: Range<usize>,
    tallest: usize,
    out: &mut [f32],
) {
    let k = ks.len();
    for chunk in chunks(ks.clone(), CHUNK) {
        ask_for(a.t(), chunk.end..ks.end.min(chunk.end + CHUNK), rows.clone());
        for tile in Tiles::new(rows.len(), tallest).each() {
            let (first, height) = (rows.start + tile.start, tile.len());
            let out = &mut out[tile.start * k + (chunk.start - ks.start) * height..tile.end * k];
            let rows = Mat { data: &a.data[first * a.row..], ..a };
            match (a.row, height) {
                (1, 8) => copy_steps::<8>(rows, chunk.clone(), out),
                (1, 7) => copy_steps::<7>(rows, chunk.clone(), out),
                (1, 6) => copy_steps::<6>(rows, chunk.clone(), out),
                (1, 5) => copy_steps::<5>(rows, chunk.clone(), out),
                _ => {
                    for (p, out) in chunk.clone().zip(out.chunks_exact_mut(height)) {
                        (0..height).for_each(|r| out[r] = rows.data[r * a.row + p * a.col]);
                    }
                }
            }
        }
    }
}

/// The steps `ks` of `R` adjacent rows. Moves of constant length; a length known only when it runs
/// would be a call each.
#[inline(always)]
fn copy_steps<const R: usize>(a: Mat<f32>, ks: Range<usize>, out: &mut [f32]) {
    for (p, out) in ks.zip(out.as_chunks_mut::<R>().0) {
        *out = *a.data[p * a.col..].first_chunk().expect("inside A (checked)");
    }
}
