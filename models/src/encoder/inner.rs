//! The layer before the labels, which BERT does not have: its pooler is in the encoder.

use gradus_autograd::Var;
use gradus_nn::{Activation, Dropout, Forward, Init, LayerNorm, Linear, Path};

use super::layer_norm;
use crate::family::InnerLayer;
use crate::{EncoderConfig, Error, Result};

/// A linear layer, an activation and a norm, from states to the input of the labels' layer.
pub(super) struct Inner {
    before: Option<Dropout>,
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
}

impl Inner {
    /// The layer of `names` in the model at `root`.
    pub(super) fn new(root: &Path, config: &EncoderConfig, names: &InnerLayer) -> Result<Self> {
        let (path, h) = (root.join(names.dense), config.hidden_size);
        let switches = config.switches().map_err(|m| Error::config("", m))?;
        let (init, no_bias) =
            (Init::Normal { std: config.initializer_range }, switches.head.no_bias);
        let linear = if no_bias { Linear::no_bias } else { Linear::new };
        let norm = names.norm.map(|name| layer_norm(&root.join(name), h, config));
        let before = names.dropout_before.then(|| Dropout::new(&path, config.head_dropout()));
        Ok(Inner {
            before: before.transpose()?,
            dense: linear(&path, h, h, init)?,
            activation: switches.head.activation.unwrap_or(names.activation),
            norm: norm.transpose()?,
        })
    }

    /// The layer before the labels of words and the ends of answers, where the type has one.
    pub(super) fn everywhere(root: &Path, config: &EncoderConfig) -> Result<Option<Self>> {
        let names = config.family().classifier.as_ref().filter(|names| names.everywhere);
        names.map(|names| Inner::new(root, config, names)).transpose()
    }

    /// `[n, hidden]` → the same shape.
    pub(super) fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let dropped = self.before.as_ref().map(|before| before.forward(x, forward)).transpose()?;
        let x = dropped.as_ref().unwrap_or(x);
        let y = self.dense.forward_then(x, self.activation, forward)?;
        Ok(self.norm.as_ref().map_or_else(|| Ok(y.clone()), |norm| norm.forward(&y))?)
    }
}
