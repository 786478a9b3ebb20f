//! Self-attention over packed sequences.

use gradus_autograd::ops::attention::attention_probabilities;
use gradus_autograd::{Var, within};
use gradus_tensor::ops::attention::Attention as Options;
use gradus_tensor::{Result, Tensor, bail};

use super::dropout::check_probability;
use crate::{Dropout, Forward, Init, KeyValues, LayerConfig, LayerNorm, Linear, Path, Sequences};

/// Multi-head self-attention (Vaswani et al., arXiv:1706.03762) and the dense layer after it.
pub(crate) struct Attention {
    /// Query, key and value, or the one layer of all three.
    projections: Vec<Linear>,
    dense: Linear,
    heads: usize,
    window: Option<usize>,
    causal: bool,
    scale: f64,
    dropout: f64,
    /// The place from which the dropout derives its stream.
    name: String,
}

impl Attention {
    /// The attention of the layer at `path`.
    pub(crate) fn new(path: &Path, config: &LayerConfig) -> Result<Self> {
        let (h, heads, names) = (config.hidden, config.heads, &config.names);
        if heads == 0 || h == 0 || !h.is_multiple_of(heads) {
            let within = path / "attention";
            let fail =
                || bail!("attention", Shape, "{heads} heads do not divide the hidden size {h}");
            return fail().map_err(|e: gradus_tensor::Error| e.at(within.name()));
        }
        // Streams of random numbers have BERT's names in every model.
        let within = path / "attention" / "self";
        check_probability(config.attention_dropout).map_err(|e| e.at(within.name()))?;
        let layer = |name: &str, outputs, init| {
            Linear::with_bias(&(path / name), h, outputs, init, config.biases.attention)
        };
        let linear = |name, outputs| layer(name, outputs, Init::Normal { std: config.init_std });
        let projections = match names.qkv {
            Some(all) => vec![linear(all, 3 * h)?],
            None => vec![linear(names.query, h)?, linear(names.key, h)?, linear(names.value, h)?],
        };
        Ok(Attention {
            projections,
            dense: layer(names.attention_output, h, config.residual_init())?,
            heads,
            window: config.window,
            causal: config.causal,
            scale: config.scale.unwrap_or(1.0 / ((h / heads) as f64).sqrt()),
            dropout: config.attention_dropout,
            name: within.name().to_string(),
        })
    }

    /// Query, key and value side by side, `[tokens, 3·hidden]`, with their positions.
    fn qkv(&self, x: &Var, sequences: &Sequences, forward: &Forward) -> Result<Var> {
        let qkv = match &self.projections[..] {
            [all] => all.forward_in(x, forward)?,
            parts => Linear::forward_cat(&parts.iter().collect::<Vec<_>>(), x, forward)?,
        };
        match sequences.rotary {
            None => Ok(qkv),
            Some((rotary, positions)) => rotary.forward(&qkv, positions, self.heads),
        }
    }

    fn options(&self, forward: &Forward) -> Options {
        let drops = forward.training && self.dropout != 0.0;
        Options {
            heads: self.heads,
            scale: self.scale,
            dropout: drops.then(|| (self.dropout, forward.key.place(&self.name))),
            window: self.window,
            causal: self.causal,
            ..Options::default()
        }
    }

    /// See [`SelfAttention::probabilities`].
    pub(crate) fn probabilities(&self, x: &Var, sequences: &Sequences) -> Result<Var> {
        let forward = Forward::inference();
        let qkv = self.qkv(x, sequences, &forward)?;
        let (tokens, hidden) = (x.size(0)?, qkv.size(-1)? / 3);
        let part = |i: usize| qkv.narrow(-1, i * hidden, hidden);
        let options = self.options(&forward);
        let split =
            |y: Var| y.reshape(&[tokens, self.heads, hidden / self.heads])?.permute(&[1, 0, 2]);
        attention_probabilities(&split(part(0)?)?, &split(part(1)?)?, sequences.bias, &options)
    }

    /// [`forward`](Attention::forward) for the next tokens of one sequence, whose earlier ones are
    /// in `seen`, without dropout.
    pub(crate) fn step(&self, x: &Var, sequences: &Sequences, seen: &mut KeyValues) -> Result<Var> {
        if !self.causal || sequences.bias.is_some() {
            bail!("attention", "{}: only a causal layer without a bias goes on", self.name);
        }
        let forward = Forward::inference();
        let qkv = self.qkv(x, sequences, &forward)?;
        let (tokens, hidden, options) = (x.size(0)?, qkv.size(-1)? / 3, self.options(&forward));
        let part = |i: usize| qkv.narrow(-1, i * hidden, hidden);
        let is_first = seen.is_empty();
        let [keys, values] = seen.append([&part(1)?, &part(2)?])?;
        let context = if is_first {
            qkv.attention_qkvpacked(None, sequences.offsets, &options)?
        } else {
            let split = |y: &Var| {
                y.reshape(&[y.size(0)?, self.heads, hidden / self.heads])?.permute(&[1, 0, 2])
            };
            let p = last_probabilities(&split(&part(0)?)?, &split(&keys)?, &options)?;
            p.matmul(&split(&values)?)?.permute(&[1, 0, 2])?.reshape(&[tokens, hidden])?
        };
        self.dense.forward_in(&context, &forward)
    }

    /// `x` `[tokens, hidden]` → the same shape.
    pub(crate) fn forward(&self, x: &Var, sequences: &Sequences, forward: &Forward) -> Result<Var> {
        let qkv = self.qkv(x, sequences, forward)?;
        let options = self.options(forward);
        let context = within(&self.name, || {
            qkv.attention_qkvpacked(sequences.bias, sequences.offsets, &options)
        });
        self.dense.forward_in(&context.map_err(|e| e.at(&self.name))?, forward)
    }
}

/// The scores of the last queries `[heads, n, size]` of a sequence against all keys `[heads, m,
/// size]`, as probabilities `[heads, n, m]`. A query sees the keys before it, and its own.
fn last_probabilities(q: &Var, k: &Var, options: &Options) -> Result<Var> {
    let (n, m) = (q.size(1)?, k.size(1)?);
    let scores = q.matmul(&k.t()?)?.mul_scalar(options.scale)?;
    if n == 1 && options.window.is_none() {
        return scores.softmax(-1);
    }
    let sees = |query: usize, key: usize| {
        key <= query && options.window.is_none_or(|window| query - key <= window)
    };
    let mask: Vec<u8> = (0..n * m).map(|at| sees(m - n + at / m, at % m) as u8).collect();
    let mask = Tensor::from_slice(&mask, &[n, m])?.to_device(q.device())?;
    let never = Tensor::full(&[], f64::NEG_INFINITY, q.dtype())?.to_device(q.device())?;
    scores.where_(&mask, &Var::constant(never))?.softmax(-1)
}

/// The attention block of BERT (Devlin et al., arXiv:1810.04805): multi-head self-attention, a
/// dense layer, dropout, the residual sum and layer normalisation after it.
///
/// Parameters, by BERT's names ([`LayerNames`](crate::LayerNames) has others):
/// `attention.self.query`, `attention.self.key`, `attention.self.value`, `attention.output.dense`
/// (each a [`Linear`] of `[hidden, hidden]`), `attention.output.LayerNorm`.
pub struct SelfAttention {
    attention: Attention,
    norm: LayerNorm,
    dropout: Dropout,
}

impl SelfAttention {
    /// The block of the layer at `path` (in BERT `encoder.layer.<i>`).
    ///
    /// ```
    /// # use gradus_nn::{LayerConfig, SelfAttention, Store};
    /// let store = Store::new(0);
    /// let config = LayerConfig { hidden: 4, heads: 2, ..Default::default() };
    /// SelfAttention::new(&store.root(), &config)?;
    /// assert_eq!(store.get("attention.self.query.weight").unwrap().shape(), [4, 4]);
    /// assert_eq!(store.get("attention.output.LayerNorm.bias").unwrap().shape(), [4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of heads does not divide the hidden size, or a dropout or ε is out of its
    /// range.
    pub fn new(path: &Path, config: &LayerConfig) -> Result<Self> {
        let norm = path / config.names.attention_norm;
        Ok(SelfAttention {
            attention: Attention::new(path, config)?,
            norm: LayerNorm::with_bias(
                &norm,
                config.hidden,
                config.layer_norm_eps,
                config.biases.norm,
            )?,
            dropout: Dropout::new(&(path / "attention" / "output"), config.dropout)?,
        })
    }

    /// The attention probabilities of one sequence: `x` `[tokens, hidden]` → `[heads, tokens,
    /// tokens]`, each row says what one token attends to, and sums to 1. They are for inspection;
    /// [`SelfAttention::forward`] never stores them.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerConfig, SelfAttention, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, ..Default::default() };
    /// let attention = SelfAttention::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::ones(&[2, 4], DType::F32)?); // two equal tokens
    /// let offsets = Tensor::from_slice(&[0u32, 2], &[2])?;
    /// let p = attention.probabilities(&x, &offsets)?;
    /// assert_eq!(p.shape(), [2, 2, 2]);
    /// assert_eq!(p.i(0)?.to_string(), "[[0.5 0.5]\n [0.5 0.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `x` has another width than the block.
    pub fn probabilities<'a>(&self, x: &Var, sequences: impl Into<Sequences<'a>>) -> Result<Var> {
        self.attention.probabilities(x, &sequences.into())
    }

    /// `x` `[tokens, hidden]`, sequences end to end, beginning at the offsets (u32
    /// `[sequences + 1]`) of [`Sequences`] → the same shape. A token attends to its own sequence
    /// only.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{LayerConfig, Forward, SelfAttention, Store};
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let config = LayerConfig { hidden: 4, heads: 2, ..Default::default() };
    /// let attention = SelfAttention::new(&Store::new(0).root(), &config)?;
    /// let x = Var::constant(Tensor::randn(&[3, 4], DType::F32, RngKey::new(1))?);
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let both = attention.forward(&x, &offsets, &Forward::inference())?;
    /// let offsets = Tensor::from_slice(&[0u32, 1], &[2])?;
    /// let second = attention.forward(&x.i(2..)?, &offsets, &Forward::inference())?;
    /// assert_eq!(both.i(2..)?.to_string(), second.to_string());
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
        let y = self.attention.forward(x, &sequences.into(), forward)?;
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
            let config = LayerConfig { hidden, heads, init_std: 0.7, ..LayerConfig::default() };
            let block = SelfAttention::new(&Store::new(3).root(), &config).unwrap();
            let key = RngKey::new(tokens as u64);
            let x = Tensor::randn(&[tokens, hidden], DType::F32, key).unwrap();
            let x = Var::constant(x);
            let offsets = Tensor::from_slice(&[0, tokens as u32], &[2]).unwrap();
            let p = block.probabilities(&x, &offsets).unwrap();
            assert_eq!(p.shape(), [heads, tokens, tokens]);
            for row in p.tensor().to_vec::<f32>().unwrap().chunks(tokens) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
            let v = block.attention.projections[2].forward(&x).unwrap();
            let v =
                v.reshape(&[tokens, heads, hidden / heads]).unwrap().permute(&[1, 0, 2]).unwrap();
            let context = p.matmul(&v).unwrap().permute(&[1, 0, 2]).unwrap();
            let y = block
                .attention
                .dense
                .forward(&context.reshape(&[tokens, hidden]).unwrap())
                .unwrap();
            let composed = block.norm.forward(&y.add(&x).unwrap()).unwrap();
            let fused = block.forward(&x, &offsets, &Forward::inference()).unwrap();
            let (a, b) = (composed.tensor().to_vec::<f32>(), fused.tensor().to_vec::<f32>());
            for (a, b) in a.unwrap().iter().zip(b.unwrap()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
