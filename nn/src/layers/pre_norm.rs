//! An encoder layer that normalises before its blocks.

use gradus_autograd::Var;
use gradus_tensor::Result;

use super::attention::Attention;
use super::feed_forward::FeedForward;
use crate::{Dropout, Forward, KeyValues, LayerConfig, LayerNorm, Linear, Path, Sequences};

/// An encoder layer that normalises the input of its blocks, not the sums (Xiong et al.,
/// arXiv:2002.04745), as in GPT-2 and ModernBERT (Warner et al., arXiv:2412.13663): x +
/// attention(norm(x)), then x + feed-forward(norm(x)). The states are normalised once more after the
/// last layer.
///
/// Parameters: those of [`EncoderLayer`](crate::EncoderLayer), by the names of
/// [`LayerNames`](crate::LayerNames).
pub struct PreNormLayer {
    attention_norm: Option<LayerNorm>,
    attention: Attention,
    attention_dropout: Dropout,
    norm: LayerNorm,
    feed_forward: FeedForward,
    between_dropout: Dropout,
    output: Linear,
    dropout: Dropout,
}

impl PreNormLayer {
    /// The layer at `path`. Without `attention_norm` the attention takes the input as it is: the
    /// embeddings are normalised already. `dropout` of the configuration is that of the
    /// attention's result, `feed_forward_dropout` that of the feed-forward block's.
    ///
    /// ```
    /// # use gradus_nn::{LayerConfig, PreNormLayer, Store};
    /// let store = Store::new(0);
    /// let config = LayerConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// PreNormLayer::new(&store.root().join("layers.0"), &config, false)?;
    /// assert!(store.get("layers.0.attention.output.LayerNorm.weight").is_none());
    /// assert!(store.get("layers.0.output.LayerNorm.weight").is_some());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of heads does not divide the hidden size, or a dropout or ε is out of its
    /// range.
    pub fn new(path: &Path, config: &LayerConfig, attention_norm: bool) -> Result<Self> {
        let (h, names) = (config.hidden, &config.names);
        let norm = |name| {
            LayerNorm::with_bias(&(path / name), h, config.layer_norm_eps, config.biases.norm)
        };
        Ok(PreNormLayer {
            attention_norm: attention_norm.then(|| norm(names.attention_norm)).transpose()?,
            attention: Attention::new(path, config)?,
            attention_dropout: Dropout::new(&(path / "attention" / "output"), config.dropout)?,
            norm: norm(names.output_norm)?,
            feed_forward: FeedForward::new(path, config)?,
            between_dropout: Dropout::new(&(path / "intermediate"), config.intermediate_dropout)?,
            output: Linear::with_bias(
                &(path / names.output),
                config.intermediate,
                h,
                config.residual_init(),
                config.biases.output,
            )?,
            dropout: Dropout::new(&(path / "output"), config.feed_forward_dropout)?,
        })
    }

    /// As [`SelfAttention::probabilities`](crate::SelfAttention::probabilities).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerConfig, PreNormLayer, Store};
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// let layer = PreNormLayer::new(&Store::new(0).root(), &config, true)?;
    /// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
    /// let offsets = Tensor::from_slice(&[0u32, 3], &[2])?;
    /// assert_eq!(layer.probabilities(&x, &offsets)?.shape(), [2, 3, 3]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `x` has another width than the layer.
    pub fn probabilities<'a>(&self, x: &Var, sequences: impl Into<Sequences<'a>>) -> Result<Var> {
        self.attention.probabilities(&self.normed(x)?, &sequences.into())
    }

    fn normed(&self, x: &Var) -> Result<Var> {
        self.attention_norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
    }

    /// `x` `[tokens, hidden]`, sequences end to end → the same shape.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerConfig, Forward, PreNormLayer, Store};
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// let layer = PreNormLayer::new(&Store::new(0).root(), &config, true)?;
    /// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// assert_eq!(layer.forward(&x, &offsets, &Forward::inference())?.shape(), [3, 4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn forward<'a>(
        &self,
        x: &Var,
        sequences: impl Into<Sequences<'a>>,
        forward: &Forward,
    ) -> Result<Var> {
        let attended = self.attention.forward(&self.normed(x)?, &sequences.into(), forward)?;
        self.after(x, &attended, forward)
    }

    /// [`forward`](PreNormLayer::forward) for the next tokens `x` `[tokens, hidden]` of one
    /// sequence, in inference. `seen` holds the earlier ones, and then these too.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{KeyValues, LayerConfig, PreNormLayer, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, causal: true, ..Default::default() };
    /// let layer = PreNormLayer::new(&Store::new(0).root(), &config, true)?;
    /// let x = Var::constant(Tensor::ones(&[1, 4], DType::F32)?);
    /// let offsets = Tensor::from_slice(&[0u32, 1], &[2])?;
    /// let mut seen = KeyValues::default();
    /// for tokens in 1..4 {
    ///     assert_eq!(layer.step(&x, &offsets, &mut seen)?.shape(), [1, 4]);
    ///     assert_eq!(seen.len(), tokens);
    /// }
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the layer is not causal, or the shapes do not fit.
    pub fn step<'a>(
        &self,
        x: &Var,
        sequences: impl Into<Sequences<'a>>,
        seen: &mut KeyValues,
    ) -> Result<Var> {
        let attended = self.attention.step(&self.normed(x)?, &sequences.into(), seen)?;
        self.after(x, &attended, &Forward::inference())
    }

    /// The layer's output, of its input and the attention's result.
    fn after(&self, x: &Var, attended: &Var, forward: &Forward) -> Result<Var> {
        let x = x.add(&self.attention_dropout.forward(attended, forward)?)?;
        let between = self.feed_forward.forward(&self.norm.forward(&x)?, forward)?;
        let between = self.between_dropout.forward(&between, forward)?;
        let y = self.output.forward_in(&between, forward)?;
        x.add(&self.dropout.forward(&y, forward)?)
    }
}
