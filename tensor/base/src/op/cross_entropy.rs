//! Cross-entropy of logits against class indices.

use crate::{Result, bail};

/// How the rows' losses are reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum divided by the sum of the targets' weights (without weights: by the number of rows
    /// that are not ignored).
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are; ignored rows are 0.
    None,
}

/// The options of a cross-entropy without the class weights, which are a tensor (see `CrossEntropy`
/// in `gradus-tensor`).
#[derive(Clone, Copy)]
pub struct Options {
    /// The target whose rows do not count.
    pub ignore_index: Option<u32>,
    /// The part of a target that is spread over all classes, in 0..=1.
    pub label_smoothing: f64,
    /// How the rows' losses are reduced.
    pub reduction: Reduction,
}

/// Logits, and what they are compared with, as tensors or views `V`.
#[derive(Clone, Copy)]
pub struct Logits<V> {
    /// The logits, `[rows, classes]`.
    pub x: V,
    /// The class of each row, `[rows]`.
    pub targets: V,
    /// The factors of the classes, `[classes]`.
    pub weight: Option<V>,
    /// How they are compared.
    pub options: Options,
}

/// A class index as targets store it, in u32. A negative one marks a row that does not count, as
/// PyTorch's −100 does; it is stored as the i32 of the same bits, which is no class.
///
/// ```
/// # use gradus_base::op::cross_entropy::class_index;
/// assert_eq!(class_index("cross_entropy", 7)?, 7);
/// assert_eq!(class_index("cross_entropy", -100)?, -100i32 as u32); // ignored
/// assert!(class_index("cross_entropy", 1 << 32).is_err());
/// # Ok::<(), gradus_base::Error>(())
/// ```
///
/// # Errors
/// If `index` is below −2³¹ or above 2³² − 1.
pub fn class_index(op: &'static str, index: i64) -> Result<u32> {
    match (i32::try_from(index), u32::try_from(index)) {
        (_, Ok(class)) => Ok(class),
        (Ok(negative), _) => Ok(negative as u32),
        _ => bail!(op, "{index} is no class index; it must be within −2³¹ and 2³² − 1"),
    }
}

/// A stored class index as it was written.
fn written(index: u32) -> i64 {
    let negative = index as i32;
    if negative < 0 { i64::from(negative) } else { i64::from(index) }
}

/// Refuses a target that is neither a class nor ignored.
///
/// ```
/// # use gradus_base::op::cross_entropy::check_targets;
/// assert!(check_targets("cross_entropy", &[0, 2, 9], 3, Some(9)).is_ok());
/// let error = check_targets("cross_entropy", &[0, 7], 3, None).unwrap_err().to_string();
/// assert!(error.contains("the target of row 1 is 7, but there are 3 classes"));
/// ```
pub fn check_targets(
    op: &'static str,
    targets: &[u32],
    classes: usize,
    ignore: Option<u32>,
) -> Result<()> {
    let bad = targets.iter().position(|&y| y as usize >= classes && Some(y) != ignore);
    if let Some(row) = bad {
        bail!(
            op,
            "the target of row {row} is {}, but there are {classes} classes (0 to {}); correct the \
             label, or set ignore_index",
            written(targets[row]),
            classes as isize - 1
        );
    }
    Ok(())
}
