//! How far rounding in f32 may carry a result: as far as rounded inputs carry it in f64.
//!
//! A layer norm of three nearly equal numbers magnifies the rounding of its inputs a hundred times.
//! No fixed tolerance fits both such a row and an ordinary one.

use gradus::autograd::Op;
use gradus::autograd::registry::Case;
use gradus::tensor::{Result, Tensor};
use gradus_testing::Numbers;

/// The largest relative change of an input: four roundings of f32.
const CHANGE: f64 = 4.0 / (1 << 24) as f64;
/// An f32 kernel rounds several times where an input is changed once.
const ROUNDINGS: f64 = 4.0;
/// The largest slack, relative to the largest result. A wrong formula errs by more.
const MAX_SLACK: f64 = 1e-3;

/// `x`, each number changed by up to four roundings of f32. Equal numbers stay equal, so that ties
/// stay ties.
pub fn rounded(x: &Tensor) -> Result<Tensor> {
    // The sine of a large multiple takes every value between -1 and 1, as numbers drawn at random.
    let factor = x.mul_scalar(12_345.678)?.sin()?.mul_scalar(CHANGE)?.add_scalar(1.0)?;
    x.mul(&factor)
}

/// What rounding may add to the error of a result of f32, where the exact result is `exact`, and
/// that of [`rounded`] inputs is `of_rounded`.
pub fn slack(exact: &Tensor, of_rounded: &Tensor) -> f64 {
    let (exact, of_rounded) = (exact.numbers(), of_rounded.numbers());
    let changes = exact.iter().zip(&of_rounded).map(|(a, b)| (a - b).abs());
    let largest = |numbers: &mut dyn Iterator<Item = f64>| {
        numbers.filter(|x| x.is_finite()).fold(0.0, f64::max)
    };
    let most = MAX_SLACK * largest(&mut exact.iter().map(|x| x.abs()));
    (ROUNDINGS * largest(&mut changes.into_iter())).min(most)
}

/// What rounding may add to the gradients of an attention, where [`slack`] shows nothing.
///
/// Softmax ignores what is added to all scores of a row, so the gradients of a row's scores sum to
/// 0. A bias with one entry a head has that sum as its gradient, and a window of one key has no
/// other gradient: the exact result is 0 for all inputs, and rounding leaves a part of the terms,
/// which are products of the values and the incoming gradient.
pub fn slack_of_attention(case: &Case) -> f64 {
    const INCOMING: f64 = 1.5; // its numbers are below this
    let values = match case.op {
        Op::Attention => &case.inputs[2],
        Op::AttentionQkvPacked => &case.inputs[0],
        _ => return 0.0,
    };
    let terms: f64 = values.numbers().iter().map(|x| INCOMING * x.abs()).sum();
    CHANGE / 2.0 * terms
}

/// What rounding may add to a sum of terms whose magnitudes sum to `terms`, where the terms cancel
/// for all inputs: the gradients of a softmax sum to 0, and so does the gradient of one number that
/// a view repeats along its dimension.
pub fn slack_of_terms(terms: f64) -> f64 {
    ROUNDINGS * CHANGE * terms
}
