//! What a product is of, and what becomes of it.

use std::ops::Range;

use super::kernel::Kernel;
use super::numbers::Numbers;
use super::panels::{Packed, Rounded};
use crate::mat::Mat;
use crate::parallel::SharedMut;

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
    /// The kernel's.
    pub(super) numbers: Numbers,
    pub(super) width: usize,
    pub(super) writes_into_c: bool,
    pub(super) m: usize,
    pub(super) n: usize,
    /// Along k.
    pub(super) words: usize,
    pub(super) left: Left<'a>,
    pub(super) right: Right<'a>,
    pub(super) out: SharedMut<'a, f32>,
    pub(super) epilogue: Epilogue<'a>,
}

/// What happens to an element of C once its sum is complete.
#[derive(Default)]
pub(crate) struct Epilogue<'a> {
    /// `[n]`, added to every row.
    pub(crate) bias: Option<&'a [f32]>,
    /// Whether C becomes GELU(A·B + bias).
    pub(crate) gelu: bool,
    /// Where A·B + bias goes too, if a derivative will need it; of C's shape.
    pub(crate) before: Option<SharedMut<'a, f32>>,
    /// How far C's rows are apart, where they are parts of longer ones.
    pub(crate) row: Option<usize>,
}

impl Epilogue<'_> {
    /// How far the rows of an `[m, n]` are apart.
    pub(super) fn row_of(&self, n: usize) -> usize {
        self.row.unwrap_or(n)
    }

    /// Panics unless everything fits a C of `[m, n]`.
    pub(super) fn check(&self, m: usize, n: usize, out: &SharedMut<f32>) {
        assert!(self.bias.is_none_or(|bias| bias.len() == n), "a bias for each column");
        assert!(self.row_of(n) >= n, "rows of C overlap");
        out.check(m, n, self.row_of(n));
        self.before.iter().for_each(|before| before.check(m, n, n));
    }
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
