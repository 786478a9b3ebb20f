//! The encoder layer of BERT.

use gradus_autograd::Var;
use gradus_tensor::{Result, Tensor};

use crate::{
    Activation, Dropout, Forward, Init, LayerNames, LayerNorm, Linear, Path, SelfAttention,
};

/// Sizes and rates of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
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
}

impl Default for EncoderConfig {
    /// The sizes and rates of BERT-base.
    fn default() -> Self {
        EncoderConfig {
            hidden: 768,
            heads: 12,
            intermediate: 3072,
            activation: Activation::Gelu,
            dropout: 0.1,
            attention_dropout: 0.1,
            layer_norm_eps: 1e-12,
            init_std: 0.02,
            names: LayerNames::BERT,
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
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    dropout: Dropout,
    norm: LayerNorm,
}

impl EncoderLayer {
    /// The layer at `path` (in BERT `encoder.layer.<i>`).
    ///
    /// ```
    /// # use gradus_nn::{EncoderConfig, EncoderLayer, Store};
    /// let store = Store::new(0);
    /// let config = EncoderConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// EncoderLayer::new(&store.root().join("encoder.layer.0"), &config)?;
    /// let weight = store.get("encoder.layer.0.intermediate.dense.weight").unwrap();
    /// assert_eq!(weight.shape(), [8, 4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of heads does not divide the hidden size, or a dropout or ε is out of its
    /// range.
    pub fn new(path: &Path, config: &EncoderConfig) -> Result<Self> {
        let (h, between, names) = (config.hidden, config.intermediate, &config.names);
        let init = Init::Normal { std: config.init_std };
        Ok(EncoderLayer {
            attention: SelfAttention::new(path, config)?,
            intermediate: Linear::new(&(path / names.intermediate), h, between, init)?,
            activation: config.activation,
            output: Linear::new(&(path / names.output), between, h, init)?,
            dropout: Dropout::new(&(path / "output"), config.dropout)?,
            norm: LayerNorm::new(&(path / names.output_norm), h, config.layer_norm_eps)?,
        })
    }

    /// The attention block.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{EncoderConfig, EncoderLayer, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let config = EncoderConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// let layer = EncoderLayer::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::ones(&[3, 4], DType::F32)?);
    /// assert_eq!(layer.attention().probabilities(&x)?.shape(), [2, 3, 3]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention(&self) -> &SelfAttention {
        &self.attention
    }

    /// `x` `[tokens, hidden]`, sequences end to end, beginning at `offsets` (u32
    /// `[sequences + 1]`) → the same shape.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{EncoderConfig, EncoderLayer, Forward, Store};
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let config = EncoderConfig { hidden: 4, heads: 2, intermediate: 8, ..Default::default() };
    /// let layer = EncoderLayer::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let y = layer.forward(&x, &offsets, &Forward::inference())?;
    /// assert_eq!(y.shape(), [3, 4]);
    /// // The layer ends with a norm, so each row has the mean 0.
    /// assert!(y.mean(&[1], false)?.tensor().to_f64_vec().iter().all(|m| m.abs() < 1e-6));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward(&self, x: &Var, offsets: &Tensor, forward: &Forward) -> Result<Var> {
        let attended = self.attention.forward(x, offsets, forward)?;
        let between = self.intermediate.forward_then(&attended, self.activation, forward)?;
        let y = self.output.forward_in(&between, forward)?;
        self.norm.forward_residual(&y, &attended, self.dropout.drawn(forward))
    }
}
