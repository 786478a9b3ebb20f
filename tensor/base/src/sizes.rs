//! Sizes that follow from shapes. Only this file multiplies them, so that none wraps around.
//!
//! The shape of every tensor has been counted: products of its own sizes fit, in any order and with
//! its strides. Products of the sizes of two tensors may not fit, and a broadcast view makes huge
//! sizes out of one element. So whoever asks for memory asks by shape ([`bytes`]), and estimates of
//! time use [`work`].

use crate::error::{Error, ErrorKind, Result};

/// The most elements of a shape: this many elements of eight bytes fill the address space of a
/// process.
const MAX_NUMEL: usize = isize::MAX as usize / 8;

/// Number of elements of `shape`, or `None` if it does not fit the address space. A size of 0 makes
/// it 0, but the other sizes must fit all the same, so that products of sizes never overflow.
///
/// ```
/// # use gradus_base::layout::checked_numel;
/// assert_eq!(checked_numel(&[2, 3]), Some(6));
/// assert_eq!(checked_numel(&[usize::MAX, 2]), None);
/// ```
pub fn checked_numel(shape: &[usize]) -> Option<usize> {
    let n = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s.max(1)))?;
    if n > MAX_NUMEL {
        return None;
    }
    Some(if shape.contains(&0) { 0 } else { n })
}

/// Row-major strides of `shape`. Those of a shape that [`checked_numel`] refuses end at the largest
/// number.
///
/// ```
/// # use gradus_base::layout::row_major;
/// assert_eq!(row_major(&[2, 3, 4]), [12, 4, 1]);
/// ```
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d].saturating_mul(shape[d].max(1));
    }
    strides
}

/// Number of elements of `shape`.
///
/// # Errors
/// If they are more than fit in memory.
pub fn numel(op: &'static str, shape: &[usize]) -> Result<usize> {
    checked_numel(shape).ok_or_else(|| {
        Error::of(
            ErrorKind::OutOfMemory,
            op,
            format!("the shape {shape:?} has more elements than fit in memory"),
        )
    })
}

/// Checks the shape of a result; the error names the operands' shapes.
///
/// ```
/// # use gradus_base::sizes::result;
/// let error = result("matmul", &[usize::MAX, 2], &[&[usize::MAX, 1], &[1, 2]]).unwrap_err();
/// assert!(error.to_string().contains("more elements than fit in memory"));
/// ```
pub fn result(op: &'static str, shape: &[usize], operands: &[&[usize]]) -> Result<()> {
    if checked_numel(shape).is_some() {
        return Ok(());
    }
    let operands: Vec<String> = operands.iter().map(|shape| format!("{shape:?}")).collect();
    let operands = operands.join(" and ");
    let message =
        format!("the result of {operands} is {shape:?}, more elements than fit in memory");
    Err(Error::of(ErrorKind::OutOfMemory, op, message))
}

/// Bytes of `shape` elements of `size` bytes.
///
/// ```
/// # use gradus_base::sizes::bytes;
/// assert_eq!(bytes("zeros", &[2, 3], 4)?, 24);
/// # Ok::<(), gradus_base::Error>(())
/// ```
///
/// # Errors
/// If they are more than fit in memory.
pub fn bytes(op: &'static str, shape: &[usize], size: usize) -> Result<usize> {
    // An element has at most eight bytes, and `numel` leaves room for that.
    Ok(numel(op, shape)? * size)
}

/// How much there is to do, for estimates of time: the product, or the largest number beyond it.
///
/// ```
/// # use gradus_base::sizes::work;
/// assert_eq!(work(&[2, 3, 4]), 24);
/// assert_eq!(work(&[usize::MAX, 2]), usize::MAX);
/// ```
pub fn work(factors: &[usize]) -> usize {
    factors.iter().fold(1, |work, &f| work.saturating_mul(f))
}

/// An empty list with room for `len` entries.
///
/// ```
/// # use gradus_base::sizes::list;
/// assert!(list::<u32>("sort", 10)?.is_empty());
/// assert!(list::<u32>("sort", usize::MAX).is_err());
/// # Ok::<(), gradus_base::Error>(())
/// ```
///
/// # Errors
/// If there is not enough memory.
pub fn list<T>(op: &'static str, len: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(len).map_err(|_| {
        let mib = len as f64 * size_of::<T>() as f64 / (1 << 20) as f64;
        Error::of(
            ErrorKind::OutOfMemory,
            op,
            format!("out of memory: {mib:.1} MiB asked for a list of {len}"),
        )
    })?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_overflow_are_refused() {
        assert_eq!(checked_numel(&[usize::MAX, 2]), None);
        assert_eq!(checked_numel(&[usize::MAX, usize::MAX, 0]), None);
        assert_eq!(checked_numel(&[MAX_NUMEL + 1]), None);
        assert_eq!(checked_numel(&[MAX_NUMEL]), Some(MAX_NUMEL));
        assert_eq!(checked_numel(&[0, 7]), Some(0));
        assert_eq!(checked_numel(&[]), Some(1));
        assert!(
            bytes("test", &[MAX_NUMEL], 8).is_ok() && bytes("test", &[MAX_NUMEL, 2], 1).is_err()
        );
        assert_eq!(work(&[usize::MAX, 0]), 0);
        assert_eq!(work(&[usize::MAX, 3]), usize::MAX);
        assert_eq!(row_major(&[2, usize::MAX, 3]), [usize::MAX, 3, 1]);
        assert!(list::<u64>("test", usize::MAX).is_err() && list::<u64>("test", 1 << 50).is_err());
    }

    #[test]
    fn a_refusal_names_the_operation_and_the_shapes() {
        let error = result("matmul", &[1 << 40, 1 << 40], &[&[3], &[3]]).unwrap_err().to_string();
        assert!(
            error.starts_with("[matmul] the result of [3] and [3] is [1099511627776, "),
            "{error}"
        );
        assert!(error.ends_with("more elements than fit in memory"), "{error}");
    }
}
