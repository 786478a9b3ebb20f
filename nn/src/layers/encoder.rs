//! The encoder layer of BERT.

use gradus_autograd::Var;
use gradus_tensor::Result;

use super::feed_forward::FeedForward;
use crate::{
    Activation, Dropout, Forward, Init, LayerNames, LayerNorm, Linear, Path, SelfAttention,
    Sequences,
};

/// Sizes and rates of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerConfig {
    /// Width of the hidden states.
    pub hidden: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Width between the two dense layers of the feed-forward part.
    pub intermediate: usize,
    /// The function between them.
    pub activation: Activation,
    /// Dropout probability of each block's result.
    pub dropout: f64,
    /// Dropout probability of the attention probabilities.
    pub attention_dropout: f64,
    /// ε of the layer norms.
    pub layer_norm_eps: f64,
    /// Standard deviation of the initial weights.
    pub init_std: f64,
    /// The names of a layer's parts.
    pub names: LayerNames,
    /// Which parts have biases.
    pub biases: Biases,
    /// Whether the feed-forward part is gated: activation(gate)·intermediate.
    pub gated: bool,
    /// Dropout probability before the second dense layer of the feed-forward part; BERT has none.
    pub intermediate_dropout: f64,
    /// How far a token sees, on each side of it; `None` for its whole sequence.
    pub window: Option<usize>,
    /// Whether a token sees only the tokens before it, and itself.
    pub causal: bool,
    /// What scores are multiplied by; `None` for 1/√(size of a head).
    pub scale: Option<f64>,
    /// Dropout probability of the feed-forward part's result, in a layer that normalises before its
    /// blocks.
    pub feed_forward_dropout: f64,
    /// Standard deviation of the initial weights of the layers whose results are added to the
    /// states; `None` for `init_std`.
    pub residual_std: Option<f64>,
}

impl LayerConfig {
    /// How the weights of a layer whose result is added to the states begin.
    pub(crate) fn residual_init(&self) -> Init {
        Init::Normal { std: self.residual_std.unwrap_or(self.init_std) }
    }
}

/// Which parts of an encoder layer have biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values, and the layer after the attention.
    pub attention: bool,
    /// The first dense layer of the feed-forward part.
    pub intermediate: bool,
    /// The second one.
    pub output: bool,
    /// The norms.
    pub norm: bool,
}

impl Default for Biases {
    /// All have.
    fn default() -> Self {
        Biases { attention: true, intermediate: true, output: true, norm: true }
    }
}

impl Default for LayerConfig {
    /// The sizes and rates of BERT-base.
    fn default() -> Self {
        LayerConfig {
            hidden: 768,
            heads: 12,
            intermediate: 3072,
            activation: Activation::Gelu,
            dropout: 0.1,
            attention_dropout: 0.1,
            layer_norm_eps: 1e-12,
            init_std: 0.02,
            names: LayerNames::BERT,
            biases: Biases::default(),
            gated: false,
            intermediate_dropout: 0.0,
            window: None,
            causal: false,
            scale: None,
            feed_forward_dropout: 0.0,
            residual_std: None,
        }
    }
}

/// One layer of BERT's encoder, normalised after each sum (Devlin et al., arXiv:1810.04805):
/// [`SelfAttention`], then dense, activation, dense, dropout, the residual sum, layer norm.
///
/// Parameters, by BERT's names ([`LayerNames`] has others): `attention.*` (see [`SelfAttention`]),
/// `intermediate.dense` `[intermediate, hidden]`, `output.dense` `[hidden, intermediate]`,
/// `output.LayerNorm`.
pub struct EncoderLayer {
    attention: SelfAttention,
    feed_forward: FeedForward,
    /// BERT has none between the two halves.
    between_dropout: Dropout,
    output: Linear,
    dropout: Dropout,
    norm: LayerNorm,
}

impl EncoderLayer {
    /// The layer at `path` (in BERT `encoder.layer.<i>`).
    ///
    /// ```
    /// # use gradus_nn::{LayerConfig, EncoderLayer, Store};
    /// let store = Store::new(0);
    /// let config = LayerConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// EncoderLayer::new(&store.root().join("encoder.layer.0"), &config)?;
    /// let weight = store.get("encoder.layer.0.intermediate.dense.weight").unwrap();
    /// assert_eq!(weight.shape(), [8, 4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of heads does not divide the hidden size, or a dropout or ε is out of its
    /// range.
    pub fn new(path: &Path, config: &LayerConfig) -> Result<Self> {
        let (h, between, names) = (config.hidden, config.intermediate, &config.names);
        let (init, bias) = (config.residual_init(), config.biases.output);
        Ok(EncoderLayer {
            attention: SelfAttention::new(path, config)?,
            feed_forward: FeedForward::new(path, config)?,
            between_dropout: Dropout::new(&(path / "intermediate"), config.intermediate_dropout)?,
            output: Linear::with_bias(&(path / names.output), between, h, init, bias)?,
            dropout: Dropout::new(&(path / "output"), config.dropout)?,
            norm: LayerNorm::new(&(path / names.output_norm), h, config.layer_norm_eps)?,
        })
    }

    /// The attention block.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerConfig, EncoderLayer, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// let layer = EncoderLayer::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::ones(&[3, 4], DType::F32)?);
    /// let offsets = Tensor::from_slice(&[0u32, 3], &[2])?;
    /// assert_eq!(layer.attention().probabilities(&x, &offsets)?.shape(), [2, 3, 3]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention(&self) -> &SelfAttention {
        &self.attention
    }

    /// `x` `[tokens, hidden]`, sequences end to end, beginning at the offsets (u32
    /// `[sequences + 1]`) of [`Sequences`] → the same shape.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerConfig, EncoderLayer, Forward, Store};
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// let layer = EncoderLayer::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let y = layer.forward(&x, &offsets, &Forward::inference())?;
    /// assert_eq!(y.shape(), [3, 4]);
    /// // The layer ends with a norm, so each row has the mean 0.
    /// assert!(y.mean(&[1], false)?.tensor().to_f64_vec().iter().all(|m| m.abs() < 1e-6));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward<'a>(
        &self,
        x: &Var,
        sequences: impl Into<Sequences<'a>>,
        forward: &Forward,
    ) -> Result<Var> {
        let attended = self.attention.forward(x, sequences, forward)?;
        let between = self.feed_forward.forward(&attended, forward)?;
        let between = self.between_dropout.forward(&between, forward)?;
        let y = self.output.forward_in(&between, forward)?;
        self.norm.forward_residual(&y, &attended, self.dropout.drawn(forward))
    }
}
