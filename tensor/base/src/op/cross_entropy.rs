//! Cross-entropy of logits against class indices.

use crate::{Result, bail};

/// What becomes of the rows' losses.
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

/// The options of a cross-entropy without the class weights, which are a tensor (see `CrossEntropy` in
/// `gradus-tensor`).
#[derive(Clone, Copy)]
pub struct Options {
    /// The target whose rows count for nothing.
    pub ignore_index: Option<u32>,
    /// The part of a target that is spread over all classes, in 0..=1.
    pub label_smoothing: f64,
    /// What becomes of the rows' losses.
    pub reduction: Reduction,
}

/// Refuses a target that is neither a class nor ignored.
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
