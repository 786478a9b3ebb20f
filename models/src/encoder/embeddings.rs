//! The first part of the encoder: from tokens to vectors.

use gradus_autograd::Var;
use gradus_nn::{Dropout, Embedding, Forward, Init, LayerNorm, Path};
use gradus_tensor::Tensor;

use super::layer_norm;
use crate::family::Positions;
use crate::{EncoderConfig, Result};

/// Tokens, as the embeddings take them; see [`EncoderInput`](super::EncoderInput).
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    pub ids: &'a Tensor,
    pub types: &'a Tensor,
    pub positions: &'a Tensor,
    /// Which are padding inside a text, u8 `[tokens, 1]`.
    pub padding: Option<&'a Tensor>,
}

/// Word, position and type embeddings, summed, normalised, dropped out.
pub(super) struct Embeddings {
    pub(super) word: Embedding,
    /// Models with rotary positions have none.
    position: Option<Embedding>,
    /// Whether padding has a position of its own, as in RoBERTa.
    has_padding_position: bool,
    /// DistilBERT and ModernBERT have none.
    token_type: Option<Embedding>,
    /// GPT-2 has none.
    norm: Option<LayerNorm>,
    dropout: Dropout,
}

impl Embeddings {
    /// The embeddings of the encoder at `path`.
    pub(super) fn new(path: &Path, config: &EncoderConfig) -> Result<Self> {
        let init = Init::Normal { std: config.initializer_range };
        let (width, types) = (config.embedding_width(), config.type_vocab_size);
        let (names, positions) = (config.family().embeddings, config.max_position_embeddings);
        let rotary = config.family().positions == Positions::Rotary;
        let table = |name, rows| Embedding::new(&path.join(name), rows, width, init);
        Ok(Embeddings {
            word: table(names.words, config.vocab_size)?,
            position: (!rotary).then(|| table(names.positions, positions)).transpose()?,
            has_padding_position: config.family().positions == Positions::AfterPadding,
            token_type: (types > 0).then(|| table(names.types, types)).transpose()?,
            norm: names.norm.map(|norm| layer_norm(&path.join(norm), width, config)).transpose()?,
            dropout: Dropout::new(&path.join("embeddings"), config.hidden_dropout_prob)?,
        })
    }

    /// The embedding of the tokens.
    pub(super) fn forward(&self, tokens: Tokens, forward: &Forward) -> Result<Var> {
        let mut words = without_gradient(self.word.forward(tokens.ids)?, tokens.padding)?;
        if let Some(token_type) = &self.token_type {
            words = words.add(&token_type.forward(tokens.types)?)?;
        }
        let padding = tokens.padding.filter(|_| self.has_padding_position);
        let position =
            |table: &Embedding| without_gradient(table.forward(tokens.positions)?, padding);
        let positions = self.position.as_ref().map(position).transpose()?;
        let sum = match (&self.norm, positions) {
            (Some(norm), Some(positions)) => norm.forward_residual(&words, &positions, None)?,
            (Some(norm), None) => norm.forward(&words)?,
            (None, Some(positions)) => words.add(&positions)?,
            (None, None) => words,
        };
        Ok(self.dropout.forward(&sum, forward)?)
    }
}

/// `x`, of which the rows of `mask` give no gradient further: what padding is embedded as learns
/// nothing, like the row `padding_idx` of PyTorch's tables.
fn without_gradient(x: Var, mask: Option<&Tensor>) -> gradus_tensor::Result<Var> {
    match mask {
        Some(mask) => x.detach().where_(mask, &x),
        None => Ok(x),
    }
}
