//! Indexing by numbers and ranges: `x.i((.., 1..3, 0))`.

use std::ops::RangeToInclusive;
use std::ops::{Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo};

use crate::{Result, Tensor, bail};

/// What an index takes of one dimension: one entry, which drops the dimension, or a range of
/// entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// One entry.
    One(usize),
    /// The entries from the first number up to the second; up to the end for `None`.
    Range(usize, Option<usize>),
}

impl From<usize> for Entries {
    fn from(index: usize) -> Entries {
        Entries::One(index)
    }
}

fn entries(range: impl RangeBounds<usize>) -> Entries {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => Some(last.saturating_add(1)),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => None,
    };
    Entries::Range(start, end)
}

macro_rules! ranges {
    ($($range:ty),*) => {$(
        impl From<$range> for Entries {
            fn from(range: $range) -> Entries {
                entries(range)
            }
        }
    )*};
}
ranges!(
    Range<usize>,
    RangeFrom<usize>,
    RangeFull,
    RangeInclusive<usize>,
    RangeTo<usize>,
    RangeToInclusive<usize>
);

/// Numbers and ranges for the first dimensions of a tensor: one of them, or a tuple. The index
/// takes the dimensions that follow as a whole.
pub trait Index {
    /// What the index takes of each dimension, from the first on.
    fn entries(self) -> Vec<Entries>;
}

impl<E: Into<Entries>> Index for E {
    fn entries(self) -> Vec<Entries> {
        vec![self.into()]
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        #[allow(non_snake_case, reason = "the names of the types serve as those of the values")]
        impl<$($name: Into<Entries>),*> Index for ($($name,)*) {
            fn entries(self) -> Vec<Entries> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    )*};
}
tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// One step of an indexing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// [`Tensor::narrow`] of the dimension, from the first number, with the second as length.
    Narrow(isize, usize, usize),
    /// [`Tensor::select`] of the dimension: its entry.
    Select(isize, usize),
}

/// The steps that take `index` of a tensor of `shape`, the last dimension first.
///
/// ```
/// # use gradus_tensor::ops::slice::{Step, steps};
/// assert_eq!(steps((.., 1..3), &[2, 4])?, [Step::Narrow(1, 1, 2)]);
/// assert_eq!(steps((0, 2), &[2, 4])?, [Step::Select(1, 2), Step::Select(0, 0)]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If there are more entries than dimensions, or an entry lies outside its dimension.
pub fn steps(index: impl Index, shape: &[usize]) -> Result<Vec<Step>> {
    let entries = index.entries();
    if entries.len() > shape.len() {
        bail!(
            "i",
            "{} entries for a tensor of {} dimensions {shape:?}",
            entries.len(),
            shape.len()
        );
    }
    let mut steps = Vec::new();
    for (d, (&entry, &size)) in entries.iter().zip(shape).enumerate().rev() {
        let (start, end) = match entry {
            Entries::One(at) if at < size => {
                steps.push(Step::Select(d as isize, at));
                continue;
            }
            Entries::One(at) => {
                bail!("i", "entry {at} of dimension {d} of {shape:?}; it has {size}")
            }
            Entries::Range(start, end) => (start, end.unwrap_or(size.max(start))),
        };
        if start > end || end > size {
            bail!("i", "entries {start}..{end} of dimension {d} of {shape:?}; it has {size}");
        }
        if (start, end) != (0, size) {
            steps.push(Step::Narrow(d as isize, start, end - start));
        }
    }
    Ok(steps)
}

impl Tensor {
    /// A view of some entries, as `x[…]` in NumPy: a number takes one entry and drops its
    /// dimension, a range keeps the dimension. A tuple is for several dimensions, from the first
    /// on.
    ///
    /// ```
    /// use gradus_tensor::{DType, Tensor};
    ///
    /// let x = Tensor::arange(0.0, 12.0, 1.0, DType::F32)?.reshape(&[3, 4])?;
    /// assert_eq!(x.i(1)?.to_vec::<f32>()?, [4.0, 5.0, 6.0, 7.0]);
    /// assert_eq!(x.i((.., 1..3))?.shape(), [3, 2]);
    /// assert_eq!(x.i((2, ..=1))?.to_vec::<f32>()?, [8.0, 9.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are more entries than dimensions, or an entry lies outside its dimension.
    pub fn i(&self, index: impl Index) -> Result<Tensor> {
        let mut x = self.clone();
        for step in steps(index, self.shape())? {
            x = match step {
                Step::Narrow(dim, start, length) => x.narrow(dim, start, length)?,
                Step::Select(dim, at) => x.select(dim, at)?,
            };
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Tensor};

    #[test]
    fn entries_of_every_form() {
        let x = Tensor::arange(0.0, 24.0, 1.0, DType::F32).unwrap().reshape(&[2, 3, 4]).unwrap();
        let is = |t: Tensor, shape: &[usize], first: f64| {
            assert_eq!((t.shape(), t.to_f64_vec().first()), (shape, Some(&first)));
        };
        is(x.i(1).unwrap(), &[3, 4], 12.0);
        is(x.i(..1).unwrap(), &[1, 3, 4], 0.0);
        is(x.i((0, 2)).unwrap(), &[4], 8.0);
        is(x.i((1, 1, 3)).unwrap(), &[], 19.0);
        is(x.i((.., 1.., 2..4)).unwrap(), &[2, 2, 2], 6.0);
        is(x.i((1.., ..=1, 3)).unwrap(), &[1, 2], 15.0);
        assert_eq!(x.i((.., 3..)).unwrap().shape(), [2, 0, 4]);
        assert_eq!(x.i((.., 2..2)).unwrap().shape(), [2, 0, 4]);
        assert!(x.i((.., 1..3)).unwrap().shares_storage(&x));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let x = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        let wide = usize::MAX;
        for (error, what) in [
            (x.i(2).err(), "entry 2 of dimension 0 of [2, 3]; it has 2"),
            (x.i((.., 1..4)).err(), "entries 1..4 of dimension 1"),
            (x.i((.., 4..)).err(), "entries 4..4 of dimension 1"),
            (x.i((.., 0..=wide)).err(), "of dimension 1"),
            (x.i((0, 0, 0)).err(), "3 entries for a tensor of 2 dimensions"),
            #[allow(clippy::reversed_empty_ranges)]
            (x.i(2..1).err(), "entries 2..1"),
        ] {
            let error = error.unwrap().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
