//! The kernel of integers where six rows of a whole panel are too many sums for the registers: it
//! multiplies the two halves of a panel one after the other.

use super::kernel::{Kernel, Registers, Tile};
use super::numbers::{MAX_WIDTH, Numbers};

/// An instruction set's way to multiply half a panel. A value proves that the processor has it.
pub(super) trait Halves: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    const NUMBERS: Numbers;
    /// See [`Kernel::fs_per_mac`].
    const FS_PER_MAC: usize;

    /// `R` rows times half a panel.
    ///
    /// # Safety
    /// The tile was checked, and has `R` rows.
    unsafe fn multiply<const R: usize>(self, tile: &Tile, half: usize);
}

/// The kernel of such an instruction set.
pub(super) struct InHalves<H>(pub(super) H);

impl<H: Halves> Kernel for InHalves<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn numbers(&self) -> Numbers {
        H::NUMBERS
    }

    fn rows(&self) -> usize {
        6
    }

    fn width(&self) -> usize {
        MAX_WIDTH
    }

    fn fs_per_mac(&self) -> usize {
        H::FS_PER_MAC
    }

    fn tile(&self, _: &Registers, tile: Tile) {
        tile.check(self);
        tile.places.ask_for_all();
        for half in 0..2 {
            // SAFETY: the operands were checked.
            unsafe {
                match tile.rows {
                    1 => self.0.multiply::<1>(&tile, half),
                    2 => self.0.multiply::<2>(&tile, half),
                    3 => self.0.multiply::<3>(&tile, half),
                    4 => self.0.multiply::<4>(&tile, half),
                    5 => self.0.multiply::<5>(&tile, half),
                    6 => self.0.multiply::<6>(&tile, half),
                    _ => unreachable!("a tile has at most six rows"),
                }
            }
        }
    }
}

/// Where half a panel begins, and the same half of the next panel if this tile asks for it; its
/// words are `line` bytes apart.
#[inline(always)]
pub(super) fn half_of(tile: &Tile, half: usize, line: usize) -> (*const u8, Option<*const u8>) {
    let offset = half * tile.words * line;
    let next = tile.next_panel().map(|next| next.wrapping_add(offset));
    (tile.panel[offset..].as_ptr(), next)
}
