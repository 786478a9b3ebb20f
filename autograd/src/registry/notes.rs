//! What a reader wants to know of an operation beside its code: the pages of the book have it.
//!
//! Formulas are LaTeX. x, a, b, w are inputs, y is the output; a bar marks the gradient of the loss:
//! `\bar y` arrives from the right, and the rule makes `\bar x` of it.

mod elements;
mod tensors;

use crate::op::Op;

/// The formula of an operation, its gradient and where both come from.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// PyTorch's name.
    pub torch: &'static str,
    /// What it computes.
    pub formula: &'static str,
    /// What its rule computes.
    pub gradient: &'static str,
    /// Why that is the gradient. Markdown.
    pub why: &'static str,
    /// Why it keeps what it keeps for backward; empty where that goes without saying.
    pub keeps: &'static str,
    /// Who described it; empty for what every textbook has.
    pub paper: &'static str,
}

/// A note without a paper and without a word about what is kept.
const fn plain(
    torch: &'static str,
    formula: &'static str,
    gradient: &'static str,
    why: &'static str,
) -> Note {
    Note { torch, formula, gradient, why, keeps: "", paper: "" }
}

impl Note {
    const fn keeps(self, keeps: &'static str) -> Note {
        Note { keeps, ..self }
    }

    const fn by(self, paper: &'static str) -> Note {
        Note { paper, ..self }
    }
}

/// The note of an operation; none for a user's own.
///
/// ```
/// # use gradus_autograd::Op;
/// # use gradus_autograd::registry::note;
/// assert_eq!(note(Op::Softmax).unwrap().torch, "torch.softmax");
/// ```
pub fn note(op: Op) -> Option<Note> {
    match op {
        Op::Unary(op) => Some(elements::unary(op)),
        Op::Binary(op) => Some(elements::binary(op)),
        Op::Custom(_) => None,
        other => tensors::note(other),
    }
}
