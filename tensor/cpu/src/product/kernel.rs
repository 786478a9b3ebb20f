//! What the driver asks of an instruction set.

use std::marker::PhantomData;
use std::ops::Range;

use super::numbers::{Numbers, Room};
use super::rounding;
use crate::mat::Mat;

/// One instruction set's way to multiply one kind of numbers.
///
/// A value proves that the processor has the instructions, because only the `detect` functions
/// make one. So the methods are safe: they check what they are given.
pub(crate) trait Kernel: Send + Sync {
    fn name(&self) -> &'static str;

    fn numbers(&self) -> Numbers;

    /// Rows of the tallest tile, at most [`MAX_ROWS`](super::numbers::MAX_ROWS).
    fn rows(&self) -> usize;

    /// Columns of a panel, at most
    /// [`MAX_WIDTH`](super::numbers::MAX_WIDTH).
    fn width(&self) -> usize;

    /// Femtoseconds of one multiply-add on one core.
    fn fs_per_mac(&self) -> usize;

    /// Whether rounded numbers are faster than f32 on this processor: not every one with the
    /// instructions is.
    fn is_worth_it(&self) -> bool {
        true
    }

    /// Whether a tile may start with other numbers than 0 and has no rows or columns beyond its own,
    /// so that it can be written straight into C.
    fn writes_into_c(&self) -> bool {
        false
    }

    /// What a task holds from its first tile to its last.
    fn begin(&self) -> Registers {
        Registers::Ordinary
    }

    /// Packs the steps `ks` of the columns `columns` of B as one panel.
    fn pack_weight(&self, b: Mat<f32>, ks: Range<usize>, columns: Range<usize>, room: Room) {
        rounding::pack_weight(self.numbers(), b, ks, columns, room);
    }

    /// Packs the steps `ks` of the rows `rows` of A.
    fn pack_rows(&self, a: Mat<f32>, rows: Range<usize>, ks: Range<usize>, room: Room) {
        rounding::pack_rows(self.numbers(), a, rows, ks, room);
    }

    /// Multiplies a tile. `registers` come from this kernel's `begin`.
    fn tile(&self, registers: &Registers, tile: Tile);
}

/// Registers that a task must ask for.
pub(crate) enum Registers {
    Ordinary,
    #[cfg(target_arch = "x86_64")]
    Amx(super::amx::instructions::Registers),
}

/// A few rows of A times a panel of B.
pub(crate) struct Tile<'a> {
    pub(super) rows: usize,
    /// Along k.
    pub(super) words: usize,
    /// `[rows, words]`; the columns of rounded numbers are adjacent.
    pub(super) left: Mat<'a, u32>,
    pub(super) panel: &'a [u8],
    pub(super) ahead: Option<Ahead>,
    pub(super) places: Places,
    pub(super) start: Start<'a>,
    /// `[rows, width]`: the sums, f32 (by their bits) or i32.
    pub(super) out: Window<'a>,
}

impl Tile<'_> {
    /// Panics unless the operands hold what `kernel` reads and writes.
    #[inline(always)]
    pub(super) fn check(&self, kernel: &(impl Kernel + ?Sized)) {
        let (numbers, width) = (kernel.numbers(), kernel.width());
        assert!((1..=kernel.rows()).contains(&self.rows), "a tile has some rows");
        self.left.check(self.rows, self.words);
        assert_eq!(self.panel.len(), self.words * width * numbers.bytes(), "a whole panel");
        self.out.check(self.rows);
        assert!(self.out.columns >= width, "room for all columns");
        match self.start {
            Start::Row(row) => assert!(row.len() >= width, "a number for each column"),
            Start::Zero | Start::Out => {}
        }
        assert!(numbers == Numbers::F32 || self.left.col == 1, "words of a row are adjacent");
        let starts_at_zero = matches!(self.start, Start::Zero);
        assert!(starts_at_zero || kernel.writes_into_c(), "sums that start elsewhere");
    }

    /// The first number that is added to the sums, and how far the rows of these numbers are apart.
    #[inline(always)]
    pub(super) fn start(&self) -> Option<(*const f32, usize)> {
        match self.start {
            Start::Zero => None,
            Start::Row(row) => Some((row.as_ptr(), 0)),
            Start::Out => Some((self.out.ptr.cast_const().cast(), self.out.row)),
        }
    }

    /// Where the next panel begins, if this tile is the one that asks for all of it.
    #[inline(always)]
    pub(super) fn next_panel(&self) -> Option<*const u8> {
        let ahead = self.ahead.filter(|ahead| ahead.tile == 0)?;
        Some(self.panel.as_ptr().wrapping_add(ahead.distance))
    }
}

/// Words of a tile between two looks at what to ask for.
pub(super) const UNROLL: usize = 4;

/// What is added to a tile's sums in f32.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// A number for each column.
    Row(&'a [f32]),
    /// What the tile's place in C holds.
    Out,
}

/// The next panel: the tiles of a panel ask for it while they multiply.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    /// Bytes from a place in this panel to the same place in the next one.
    pub(super) distance: usize,
    /// Which tile of the panel this is.
    pub(super) tile: usize,
    /// Rows of the next panel for each [`UNROLL`] words, so that all tiles together ask for it.
    pub(super) share: usize,
}

/// Where the sums of a tile will go in memory. A tile asks for these rows one by one while it
/// multiplies: they lie far apart, so nothing else would fetch them before, and all at once they
/// would be in the way of B's.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// The next row to ask for, how far the rows are apart, and how many are left.
    next: *const f32,
    distance: usize,
    left: usize,
    /// The first row of another matrix of so many rows, and their distance.
    other: Option<(*const f32, usize)>,
    rows: usize,
    columns: usize,
}

impl Places {
    /// Nothing to ask for.
    pub(super) const NONE: Places =
        Places { next: std::ptr::null(), distance: 0, left: 0, other: None, rows: 0, columns: 0 };

    /// `rows` rows of `columns` elements, and as many in the other matrix: first rows and distances.
    pub(super) fn new(
        (next, distance): (*const f32, usize),
        other: Option<(*const f32, usize)>,
        (rows, columns): (usize, usize),
    ) -> Self {
        Places { next, distance, left: rows, other, rows, columns }
    }

    /// Asks for the next row, if any is left.
    #[inline(always)]
    pub(super) fn ask(&mut self) {
        if self.left == 0 {
            return;
        }
        // Each line: not every processor fetches a line's neighbour with it.
        for column in (0..self.columns).step_by(64 / size_of::<f32>()) {
            prefetch(self.next.wrapping_add(column));
        }
        self.next = self.next.wrapping_add(self.distance);
        self.left -= 1;
        if self.left == 0
            && let Some((first, distance)) = self.other.take()
        {
            (self.next, self.distance, self.left) = (first, distance, self.rows);
        }
    }

    /// Asks for all rows.
    pub(super) fn ask_for_all(mut self) {
        while self.left > 0 {
            self.ask();
        }
    }
}

/// A part of a matrix that is this task's alone.
pub(super) struct Window<'a> {
    pub(super) ptr: *mut u32,
    /// How far apart the rows are.
    pub(super) row: usize,
    rows: usize,
    columns: usize,
    life: PhantomData<&'a mut [u32]>,
}

impl<'a> Window<'a> {
    /// A slice as rows of `columns`.
    pub(super) fn whole(slice: &'a mut [u32], columns: usize) -> Self {
        let rows = slice.len() / columns;
        Window { ptr: slice.as_mut_ptr(), row: columns, rows, columns, life: PhantomData }
    }

    /// # Safety
    /// `rows` rows of `columns` elements, `row` apart, begin at `ptr`, and nobody else uses them
    /// while the window is there.
    pub(super) unsafe fn new(ptr: *mut u32, row: usize, (rows, columns): (usize, usize)) -> Self {
        Window { ptr, row, rows, columns, life: PhantomData }
    }

    /// Panics unless there are `rows` rows.
    pub(super) fn check(&self, rows: usize) {
        assert!(self.rows >= rows, "a window of {} rows, not {rows}", self.rows);
    }
}

/// Rows cut into tiles of nearly one height: a last one of one or two rows would take as long as
/// one of four, because its few sums wait for each other.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub(super) count: usize,
    /// Rows of a tile, and how many of the first tiles have one more.
    height: usize,
    taller: usize,
}

impl Tiles {
    pub(super) fn new(rows: usize, tallest: usize) -> Tiles {
        let count = rows.div_ceil(tallest);
        let divisor = count.max(1);
        Tiles { count, height: rows / divisor, taller: rows % divisor }
    }

    /// The rows of each tile, counted from the first of all.
    pub(super) fn each(self) -> impl Iterator<Item = Range<usize>> {
        let start = move |i: usize| i * self.height + i.min(self.taller);
        (0..self.count).map(move |i| start(i)..start(i + 1))
    }
}

/// `range` in pieces of `size`.
pub(super) fn chunks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |from| from..range.end.min(from + size))
}

/// Asks for a line of memory, so that it is in the first cache when it is needed. The address may be
/// any: nothing is read or written.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch neither reads nor writes; every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above, every aarch64.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, readonly, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
