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
            targets[row],
            classes as isize - 1
        );
    }
    Ok(())
}
