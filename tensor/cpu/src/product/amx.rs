//! AMX: bytes and bf16, 16 or 32 rows at a time.

pub(super) mod instructions;

use std::sync::LazyLock;

use self::instructions::{Available, Block, Registers, SIDE};
use super::kernel::{self, Kernel, Tile};
use super::numbers::{HALF, MAX_ROWS, MAX_WIDTH, Numbers};

/// The kernel of bytes.
pub(super) fn int8() -> Option<&'static dyn Kernel> {
    static KERNEL: LazyLock<Option<Amx>> = LazyLock::new(|| {
        Some(Amx {
            available: Available::detect()?,
            name: "AMX, int8",
            numbers: Numbers::U8ByI8,
            fs_per_mac: 500,
            short: instructions::int8_short,
            tall: instructions::int8_tall,
        })
    });
    KERNEL.as_ref().map(|kernel| kernel as _)
}

/// The kernel of bf16.
pub(super) fn bf16() -> Option<&'static dyn Kernel> {
    static KERNEL: LazyLock<Option<Amx>> = LazyLock::new(|| {
        Some(Amx {
            available: Available::detect()?,
            name: "AMX, bf16",
            numbers: Numbers::Bf16,
            fs_per_mac: 900,
            short: instructions::bf16_short,
            tall: instructions::bf16_tall,
        })
    });
    KERNEL.as_ref().map(|kernel| kernel as _)
}

/// A kernel of 16 rows at a time, or 32.
struct Amx {
    available: Available,
    name: &'static str,
    numbers: Numbers,
    fs_per_mac: usize,
    short: Multiply,
    tall: Multiply,
}

/// C, its rows so many bytes apart, from a block.
type Multiply = unsafe fn(&Registers, Block, *mut u8, usize);

impl Kernel for Amx {
    fn name(&self) -> &'static str {
        self.name
    }

    fn numbers(&self) -> Numbers {
        self.numbers
    }

    fn rows(&self) -> usize {
        MAX_ROWS
    }

    fn width(&self) -> usize {
        MAX_WIDTH
    }

    fn fs_per_mac(&self) -> usize {
        self.fs_per_mac
    }

    fn begin(&self) -> kernel::Registers {
        kernel::Registers::Amx(Registers::new(self.available))
    }

    /// Rows beyond the tile's, up to 16 or 32, are read and written too, and mean nothing.
    fn tile(&self, registers: &kernel::Registers, tile: Tile) {
        tile.check(self);
        let kernel::Registers::Amx(registers) = registers else {
            unreachable!("`begin` sets the tiles up");
        };
        let is_tall = tile.rows > SIDE;
        let rows = if is_tall { 2 * SIDE } else { SIDE };
        tile.left.check(rows, tile.words);
        tile.out.check(rows);
        assert!(tile.words.is_multiple_of(HALF), "whole tiles");
        let half = tile.panel.len() / 2;
        let block = Block {
            a: tile.left.data.as_ptr().cast(),
            row_a: tile.left.row * 4,
            b: [tile.panel.as_ptr(), tile.panel[half..].as_ptr()],
            tiles: tile.words / HALF,
        };
        let (c, row_c) = (tile.out.ptr.cast::<u8>(), tile.out.row * 4);
        if block.tiles == 0 {
            // SAFETY: inside the window (checked).
            (0..rows).for_each(|r| unsafe { c.add(r * row_c).write_bytes(0, MAX_WIDTH * 4) });
            return;
        }
        tile.places.ask_for_all();
        let multiply = if is_tall { self.tall } else { self.short };
        // SAFETY: A, the panels and C are as long as they must be (checked).
        unsafe { multiply(registers, block, c, row_c) }
    }
}
