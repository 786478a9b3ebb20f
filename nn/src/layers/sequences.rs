//! What the layers of an encoder share in one pass.

use gradus_autograd::Var;
use gradus_tensor::Tensor;

use crate::RotaryEmbedding;

/// Where the sequences of a packed batch lie, and what tells attention where a token stands. BERT
/// needs the offsets alone: `(&offsets).into()`.
#[derive(Clone, Copy)]
pub struct Sequences<'a> {
    /// Where each sequence begins, and the last one ends, u32 `[sequences + 1]`.
    pub offsets: &'a Tensor,
    /// The rotation of queries and keys, and the tokens' positions, u32 `[tokens]`.
    pub rotary: Option<(&'a RotaryEmbedding, &'a Tensor)>,
    /// What is added to the scores, by head and distance: `[heads, 2·m + 1]`, as
    /// [`Var::attention`] takes it.
    pub bias: Option<&'a Var>,
}

impl<'a> From<&'a Tensor> for Sequences<'a> {
    fn from(offsets: &'a Tensor) -> Self {
        Sequences { offsets, rotary: None, bias: None }
    }
}
