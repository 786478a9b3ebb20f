//! The decoder of a language model.

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Init, Parameter, Path};
use gradus_tensor::Tensor;

use super::Encoder;
use crate::{EncoderConfig, Result};

/// From states to logits over the vocabulary: the word embeddings, transposed, and a bias.
pub(super) struct Decoder {
    bias: Option<Parameter>,
}

/// Logits over the vocabulary that are held at a time, in elements: 64 MiB.
pub(crate) const MAX_LOGITS: usize = 16 << 20;

impl Decoder {
    /// The decoder of the model at `root`, with the bias of that name.
    pub(super) fn new(root: &Path, config: &EncoderConfig, bias: Option<&str>) -> Result<Self> {
        let bias = bias.map(|name| root.parameter(name, &[config.vocab_size], Init::Zeros));
        Ok(Decoder { bias: bias.transpose()? })
    }

    /// The logits of `x` `[n, width]` with the words of `encoder`: `[n, vocabulary]`.
    pub(super) fn forward(&self, x: &Var, encoder: &Encoder) -> Result<Var> {
        let bias = self.bias.as_ref().map(Parameter::var);
        let logits = x.linear(&encoder.word_embeddings().weight().var(), bias.as_ref())?;
        Ok(logits.at_least_f32()?)
    }

    /// The cross-entropy of the logits of `x` against `targets` (u32 `[n]`), without holding all
    /// logits at once.
    pub(super) fn loss(
        &self,
        x: &Var,
        encoder: &Encoder,
        targets: &Tensor,
        options: &CrossEntropy,
    ) -> Result<Var> {
        let words = encoder.word_embeddings().weight().var();
        let rows = (MAX_LOGITS / words.shape()[0].max(1)).max(1);
        let bias = self.bias.as_ref().map(Parameter::var);
        Ok(x.linear_cross_entropy(&words, bias.as_ref(), targets, options, rows)?)
    }
}
