//! Self-attention over packed sequences.

use gradus_autograd::Var;
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor, bail};

use super::dropout::check_probability;
use crate::{Dropout, EncoderConfig, Forward, Init, LayerNorm, Linear, Path};

/// The attention block of BERT (Devlin et al., arXiv:1810.04805; attention: Vaswani et al.,
/// arXiv:1706.03762): multi-head self-attention, a dense layer, dropout, the residual sum and layer
/// normalisation after it.
///
/// Parameters, named as in the Hugging Face checkpoint: `self.query`, `self.key`, `self.value`,
/// `output.dense` (each a [`Linear`] of `[hidden, hidden]`), `output.LayerNorm`.
pub struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    norm: LayerNorm,
    dropout: Dropout,
    heads: usize,
    attention_dropout: f64,
    /// Name of the `self` part, from which the dropout of the attention derives its stream.
    name: String,
}

impl SelfAttention {
    /// The block at `path` (in BERT `encoder.layer.<i>.attention`).
    ///
    /// ```
    /// # use gradus_nn::{EncoderConfig, SelfAttention, Store};
    /// let store = Store::new(0);
    /// let config = EncoderConfig { hidden: 4, heads: 2, ..Default::default() };
    /// SelfAttention::new(&store.root().join("attention"), &config)?;
    /// assert_eq!(store.get("attention.self.query.weight").unwrap().shape(), [4, 4]);
    /// assert_eq!(store.get("attention.output.LayerNorm.bias").unwrap().shape(), [4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of heads does not divide the hidden size, or a dropout or ε is out of its
    /// range.
    pub fn new(path: &Path, config: &EncoderConfig) -> Result<Self> {
        let h = config.hidden;
        if config.heads == 0 || h == 0 || !h.is_multiple_of(config.heads) {
            let fail = || {
                bail!(
                    "attention",
                    Shape,
                    "{} heads do not divide the hidden size {h}",
                    config.heads
                )
            };
            return fail().map_err(|e: gradus_tensor::Error| e.at(path.name()));
        }
        let (within, output) = (path / "self", path / "output");
        check_probability(config.attention_dropout).map_err(|e| e.at(within.name()))?;
        let linear = |path: Path| Linear::new(&path, h, h, Init::Normal { std: config.init_std });
        Ok(SelfAttention {
            query: linear(&within / "query")?,
            key: linear(&within / "key")?,
            value: linear(&within / "value")?,
            dense: linear(&output / "dense")?,
            norm: LayerNorm::new(&(&output / "LayerNorm"), h, config.layer_norm_eps)?,
            dropout: Dropout::new(&output, config.dropout)?,
            heads: config.heads,
            attention_dropout: config.attention_dropout,
            name: within.name().to_string(),
        })
    }

    /// The attention probabilities of one sequence: `x` `[tokens, hidden]` → `[heads, tokens,
    /// tokens]`, each row says what one token attends to, and sums to 1. They are for inspection;
    /// [`SelfAttention::forward`] never stores them.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{EncoderConfig, SelfAttention, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let config = EncoderConfig { hidden: 4, heads: 2, ..Default::default() };
    /// let attention = SelfAttention::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::ones(&[2, 4], DType::F32)?); // two equal tokens
    /// let p = attention.probabilities(&x)?;
    /// assert_eq!(p.shape(), [2, 2, 2]);
    /// assert_eq!(p.i(0)?.to_string(), "[[0.5 0.5]\n [0.5 0.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `x` has another width than the block.
    pub fn probabilities(&self, x: &Var) -> Result<Var> {
        let (tokens, hidden) = (x.size(0)?, x.size(-1)?);
        let per_head = hidden / self.heads;
        let split = |y: Var| y.reshape(&[tokens, self.heads, per_head])?.permute(&[1, 0, 2]);
        let (q, k) = (split(self.query.forward(x)?)?, split(self.key.forward(x)?)?);
        let scores = q.matmul(&k.transpose(1, 2)?)?;
        scores.mul_scalar(1.0 / (per_head as f64).sqrt())?.softmax(-1)
    }

    /// `x` `[tokens, hidden]`, sequences end to end, beginning at `offsets` (u32
    /// `[sequences + 1]`) → the same shape. A token attends to its own sequence only.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{EncoderConfig, Forward, SelfAttention, Store};
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let config = EncoderConfig { hidden: 4, heads: 2, ..Default::default() };
    /// let attention = SelfAttention::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let both = attention.forward(&x, &offsets, &Forward::inference())?;
    /// let offsets = Tensor::from_slice(&[0u32, 1], &[2])?;
    /// let second = attention.forward(&x.i(2..)?, &offsets, &Forward::inference())?;
    /// assert_eq!(both.i(2..)?.to_string(), second.to_string());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward(&self, x: &Var, offsets: &Tensor, forward: &Forward) -> Result<Var> {
        let qkv = Linear::forward_cat(&[&self.query, &self.key, &self.value], x, forward)?;
        let per_head = qkv.size(-1)? / 3 / self.heads;
        let drops = forward.training && self.attention_dropout != 0.0;
        let options = Attention {
            heads: self.heads,
            scale: 1.0 / (per_head as f64).sqrt(),
            dropout: drops.then(|| (self.attention_dropout, forward.key.place(&self.name))),
            ..Default::default()
        };
        let context =
            qkv.attention_qkvpacked(None, offsets, &options).map_err(|e| e.at(&self.name))?;
        let y = self.dense.forward_in(&context, forward)?;
        self.norm.forward_residual(&y, x, self.dropout.drawn(forward))
    }
}

#[cfg(test)]
mod tests {
    use gradus_tensor::{DType, RngKey};

    use super::*;
    use crate::Store;

    /// The probabilities times the values, the rest written out, against the fused kernel, at odd
    /// sizes.
    #[test]
    fn probabilities_times_values_are_what_forward_computes() {
        for (tokens, heads, hidden) in [(1, 1, 3), (5, 3, 12), (17, 2, 10)] {
            let config = EncoderConfig { hidden, heads, init_std: 0.7, ..EncoderConfig::default() };
            let block = SelfAttention::new(&Store::new(3).root(), &config).unwrap();
            let key = RngKey::new(tokens as u64);
            let x = Tensor::randn(&[tokens, hidden], DType::F32, key).unwrap();
            let x = Var::constant(x);
            let p = block.probabilities(&x).unwrap();
            assert_eq!(p.shape(), [heads, tokens, tokens]);
            for row in p.tensor().to_vec::<f32>().unwrap().chunks(tokens) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
            let v = block.value.forward(&x).unwrap();
            let v =
                v.reshape(&[tokens, heads, hidden / heads]).unwrap().permute(&[1, 0, 2]).unwrap();
            let context = p.matmul(&v).unwrap().permute(&[1, 0, 2]).unwrap();
            let y = block.dense.forward(&context.reshape(&[tokens, hidden]).unwrap()).unwrap();
            let composed = block.norm.forward(&y.add(&x).unwrap()).unwrap();
            let offsets = Tensor::from_slice(&[0, tokens as u32], &[2]).unwrap();
            let fused = block.forward(&x, &offsets, &Forward::inference()).unwrap();
            let (a, b) = (composed.tensor().to_vec::<f32>(), fused.tensor().to_vec::<f32>());
            for (a, b) in a.unwrap().iter().zip(b.unwrap()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
