//! Self-attention over packed sequences.

use gradus_autograd::Var;
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor, bail};

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
    /// Name of the `self` part, where attention's dropout has its stream.
    name: String,
}

impl SelfAttention {
    /// The block at `path` (in BERT `encoder.layer.<i>.attention`).
    ///
    /// # Errors
    /// If the number of heads does not divide the hidden size.
    pub fn new(path: &Path, config: &EncoderConfig) -> Result<Self> {
        let h = config.hidden;
        if config.heads == 0 || h == 0 || !h.is_multiple_of(config.heads) {
            let fail =
                || bail!("attention", "{} heads do not divide the hidden size {h}", config.heads);
            return fail().map_err(|e: gradus_tensor::Error| e.at(path.name()));
        }
        let (within, output) = (path / "self", path / "output");
        let linear = |path: Path| Linear::new(&path, h, h, Init::Normal { std: config.init_std });
        Ok(SelfAttention {
            query: linear(&within / "query")?,
            key: linear(&within / "key")?,
            value: linear(&within / "value")?,
            dense: linear(&output / "dense")?,
            norm: LayerNorm::new(&(&output / "LayerNorm"), h, config.layer_norm_eps)?,
            dropout: Dropout::new(&output, config.dropout),
            heads: config.heads,
            attention_dropout: config.attention_dropout,
            name: within.name().to_string(),
        })
    }

    /// `x` `[tokens, hidden]`, sequences end to end, beginning at `offsets` (u32
    /// `[sequences + 1]`) → the same shape. A token attends to its own sequence only.
    pub fn forward(&self, x: &Var, offsets: &Tensor, forward: &Forward) -> Result<Var> {
        let (q, k, v) = (self.query.forward(x)?, self.key.forward(x)?, self.value.forward(x)?);
        let per_head = q.size(-1)? / self.heads;
        let drops = forward.training && self.attention_dropout != 0.0;
        let options = Attention {
            heads: self.heads,
            scale: 1.0 / (per_head as f64).sqrt(),
            dropout: drops.then(|| (self.attention_dropout, forward.key.place(&self.name))),
        };
        let context = q.attention(&k, &v, offsets, &options).map_err(|e| e.at(&self.name))?;
        let y = self.dropout.forward(&self.dense.forward(&context)?, forward)?;
        self.norm.forward(&y.add(x)?)
    }
}
