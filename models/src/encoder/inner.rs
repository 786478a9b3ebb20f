//! Layers between the encoder and the last layer of a head: a linear layer, an activation, a norm.

use gradus_autograd::Var;
use gradus_nn::{Activation, Dropout, Forward, Init, LayerNorm, Linear, Path};

use super::layer_norm;
use crate::family::InnerLayer;
use crate::{EncoderConfig, Result};

/// A linear layer, an activation and a norm. The masked-LM head has it in every type. Before labels
/// BERT has none, because its pooler is in the encoder.
pub(super) struct Inner {
    before: Option<Dropout>,
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
}

impl Inner {
    /// The layer before the labels of texts, by `names`, in the model at `root`.
    pub(super) fn of_texts(
        root: &Path,
        config: &EncoderConfig,
        names: &InnerLayer,
    ) -> Result<Self> {
        let parts = (names.dense, names.norm);
        let inner = Inner::new(root, config, parts, config.hidden_size, names.activation)?;
        let before = || Dropout::new(&root.join(names.dense), config.head_dropout());
        Ok(Inner { before: names.dropout_before.then(before).transpose()?, ..inner })
    }

    /// The layer before the labels of words and the ends of answers, where the type has one.
    pub(super) fn everywhere(root: &Path, config: &EncoderConfig) -> Result<Option<Self>> {
        let names = config.family().classifier.as_ref().filter(|names| names.everywhere);
        names.map(|names| Inner::of_texts(root, config, names)).transpose()
    }

    /// The layer before the decoder of a masked language model.
    pub(super) fn of_masked_lm(root: &Path, config: &EncoderConfig) -> Result<Self> {
        let Some(names) = &config.family().masked_lm else {
            return Err(config.lacks_head("that fills masks"));
        };
        let activation = names.activation.unwrap_or(config.hidden_act);
        let parts = (names.dense, Some(names.norm));
        Inner::new(root, config, parts, config.embedding_width(), activation)
    }

    /// The layer with `outputs` outputs. `activation` is the type's usual one.
    fn new(
        root: &Path,
        config: &EncoderConfig,
        (dense, norm): (&str, Option<&str>),
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        let (path, head) = (root.join(dense), config.switches()?.head);
        let linear = if head.no_bias { Linear::no_bias } else { Linear::new };
        let init = Init::Normal { std: config.initializer_range };
        let norm = norm.map(|name| layer_norm(&root.join(name), outputs, config));
        Ok(Inner {
            before: None,
            dense: linear(&path, config.hidden_size, outputs, init)?,
            activation: head.activation.unwrap_or(activation),
            norm: norm.transpose()?,
        })
    }

    /// `[n, hidden]` → `[n, outputs]`.
    pub(super) fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let dropped = self.before.as_ref().map(|before| before.forward(x, forward)).transpose()?;
        let x = dropped.as_ref().unwrap_or(x);
        let y = self.dense.forward_then(x, self.activation, forward)?;
        match &self.norm {
            Some(norm) => Ok(norm.forward(&y)?),
            None => Ok(y),
        }
    }
}
