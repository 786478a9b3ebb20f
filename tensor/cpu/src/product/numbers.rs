//! How the numbers of a product's operands are written.

/// Columns of half a panel of rounded numbers: their words fill a vector of 64 bytes.
pub(super) const HALF: usize = 16;
/// The widest panel and the tallest tile of all kernels.
pub(super) const MAX_WIDTH: usize = 2 * HALF;
pub(super) const MAX_ROWS: usize = 32;

/// How the numbers of a product's operands are written. A **word** is 4 bytes of a row of A: as
/// many steps along k as a kernel takes at once.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code)] // no processor has kernels of all
pub(crate) enum Numbers {
    /// A step a word; panels are `[k][width]`.
    F32,
    /// Two steps a word; panels as for all rounded numbers are `[2][words][16]`, of long rows
    /// [block](Numbers::block) after block.
    Bf16,
    /// A in 0..255, B in −127..127; four steps a word.
    U8ByI8,
    /// The same with A less 128, for instructions that know signed numbers alone (NEON's).
    I8ByI8,
    /// A in 16 bits, B in 8; two steps a word, for which B takes half a word.
    I16ByI8,
}

impl Numbers {
    /// Steps along k in a word.
    pub(super) fn steps(self) -> usize {
        match self {
            Numbers::F32 => 1,
            Numbers::Bf16 | Numbers::I16ByI8 => 2,
            Numbers::U8ByI8 | Numbers::I8ByI8 => 4,
        }
    }

    /// Bytes that a word's steps of one column take in B.
    pub(super) fn bytes(self) -> usize {
        if self == Numbers::I16ByI8 { 2 } else { 4 }
    }

    /// Words of a row of `k` steps; steps beyond `k` count as 0.
    pub(super) fn words(self, k: usize) -> usize {
        match self {
            Numbers::F32 => k,
            Numbers::I16ByI8 => k.div_ceil(2),
            // Whole tiles of AMX, so that one packed weight is for all kernels.
            _ => k.div_ceil(self.steps()).next_multiple_of(HALF),
        }
    }

    /// Of rows of so many words, those that a tile takes at once. Of bf16 as many as keep a panel in
    /// the second cache beside rows of A; of integers all, because their sums are scaled together.
    pub(super) fn block(self, words: usize) -> usize {
        const MOST: usize = 512;
        match self {
            // Of nearly one size: a short last one would pass over C for little.
            Numbers::Bf16 => words.div_ceil(words.div_ceil(MOST).max(1)).next_multiple_of(HALF),
            _ => words,
        }
    }

    /// Whether sums are i32, to be scaled.
    pub(super) fn are_integers(self) -> bool {
        !matches!(self, Numbers::F32 | Numbers::Bf16)
    }
}

/// Where packed numbers go. Integers have a scale for each row of A or column of B, and an offset:
/// the integer of a row's 0, the sum of a column's integers. Other numbers leave both untouched.
pub(crate) struct Room<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) scales: &'a mut [f32],
    pub(super) offsets: &'a mut [i32],
}
