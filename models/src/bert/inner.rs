//! The layer before the labels of texts, which BERT does not have: its pooler is in the encoder.

use gradus_autograd::Var;
use gradus_nn::{Activation, Dropout, Forward, Init, Linear, Path};

use crate::family::InnerLayer;
use crate::{BertConfig, Result};

/// A linear layer and an activation, from the first token's state to the input of the labels'
/// layer.
pub(super) struct Inner {
    before: Option<Dropout>,
    dense: Linear,
    activation: Activation,
}

impl Inner {
    /// The layer of `names` in the model at `root`.
    pub(super) fn new(root: &Path, config: &BertConfig, names: &InnerLayer) -> Result<Self> {
        let (path, h) = (root.join(names.dense), config.hidden_size);
        let before = names.dropout_before.then(|| Dropout::new(&path, config.head_dropout()));
        Ok(Inner {
            before: before.transpose()?,
            dense: Linear::new(&path, h, h, Init::Normal { std: config.initializer_range })?,
            activation: names.activation,
        })
    }

    /// `[sequences, hidden]` → the same shape.
    pub(super) fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let dropped = self.before.as_ref().map(|before| before.forward(x, forward)).transpose()?;
        Ok(self.dense.forward_then(dropped.as_ref().unwrap_or(x), self.activation, forward)?)
    }
}
