//! BERT (Devlin et al., arXiv:1810.04805): embeddings, encoder, pooler.
//!
//! Parameters are named as in the Hugging Face checkpoint, so a folder of theirs loads and a folder
//! of ours loads there, without any table of names.

mod heads;

pub use heads::{MaskedLm, SequenceClassifier, TokenClassifier};

use std::ops::Range;

use gradus_autograd::Var;
use gradus_nn::{
    Dropout, Embedding, EncoderConfig, EncoderLayer, Forward, Init, LayerNorm, Linear, Path,
};
use gradus_tensor::{DType, Device, Tensor};

use crate::{BertConfig, Error, PackedBatch, Pooling, Result};

/// A packed batch as tensors: what a model eats.
#[derive(Clone, Debug)]
pub struct BertInput {
    /// Token ids, u32 `[tokens]`.
    pub ids: Tensor,
    /// Token types, u32 `[tokens]`.
    pub type_ids: Tensor,
    /// Place of each token in its sequence, u32 `[tokens]`.
    pub position_ids: Tensor,
    /// Where each sequence begins, and the end of the last, u32 `[sequences + 1]`.
    pub offsets: Tensor,
    /// Sequence of each token, u32 `[tokens]`.
    sequence_ids: Tensor,
    /// First token of each sequence, u32 `[sequences]`.
    first: Tensor,
    /// 1/length of each sequence, f32 `[sequences, 1]`.
    inverse_lengths: Tensor,
    /// All of the u32 tensors end to end: the others are views of it, so that a GPU gets one upload.
    words: Tensor,
}

impl BertInput {
    /// The batch's tensors, on the CPU.
    ///
    /// # Errors
    /// If the batch has not one type and one position for each id.
    pub fn new(batch: &PackedBatch) -> Result<Self> {
        let tokens = batch.ids.len();
        let ends = batch.offsets.last().copied().unwrap_or_default() as usize;
        if [batch.type_ids.len(), batch.position_ids.len(), ends] != [tokens; 3] {
            return Err(Error::Input(format!(
                "a batch of {tokens} ids has {} type ids and {} positions, and its offsets end at {ends}",
                batch.type_ids.len(),
                batch.position_ids.len()
            )));
        }
        let lengths: Vec<usize> =
            batch.offsets.windows(2).map(|w| (w[1] - w[0]) as usize).collect();
        let inverse: Vec<f32> = lengths.iter().map(|&n| 1.0 / n.max(1) as f32).collect();
        let sequence_ids: Vec<u32> = lengths
            .iter()
            .enumerate()
            .flat_map(|(i, &n)| std::iter::repeat_n(i as u32, n))
            .collect();
        let words =
            [&batch.ids, &batch.type_ids, &batch.position_ids, &sequence_ids, &batch.offsets];
        let words = words.map(Vec::as_slice).concat();
        let words = Tensor::from_slice(&words, &[words.len()])?;
        let inverse_lengths = Tensor::from_slice(&inverse, &[inverse.len(), 1])?;
        Self::views(words, inverse_lengths)
    }

    /// The same batch on `device`.
    ///
    /// # Errors
    /// If the device cannot hold it.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        let inverse_lengths = self.inverse_lengths.to_device(device)?;
        Self::views(self.words.to_device(device)?, inverse_lengths)
    }

    /// The parts of `words`: four of one number for each token, then the offsets.
    fn views(words: Tensor, inverse_lengths: Tensor) -> Result<Self> {
        let sequences = inverse_lengths.numel();
        let tokens = (words.numel() - sequences - 1) / 4;
        let part = |i: usize| words.narrow(0, i * tokens, tokens);
        Ok(BertInput {
            ids: part(0)?,
            type_ids: part(1)?,
            position_ids: part(2)?,
            sequence_ids: part(3)?,
            offsets: words.narrow(0, 4 * tokens, sequences + 1)?,
            first: words.narrow(0, 4 * tokens, sequences)?,
            inverse_lengths,
            words,
        })
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.first.numel()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.numel()
    }
}

/// Word, position and type embeddings, summed, normalised, dropped out.
struct Embeddings {
    word: Embedding,
    position: Embedding,
    token_type: Embedding,
    norm: LayerNorm,
    dropout: Dropout,
}

impl Embeddings {
    fn new(path: &Path, config: &BertConfig) -> Result<Self> {
        let (h, init) = (config.hidden_size, Init::Normal { std: config.initializer_range });
        let table = |name, rows| Embedding::new(&path.join(name), rows, h, init);
        Ok(Embeddings {
            word: table("word_embeddings", config.vocab_size)?,
            position: table("position_embeddings", config.max_position_embeddings)?,
            token_type: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::new(&path.join("LayerNorm"), h, config.layer_norm_eps)?,
            dropout: Dropout::new(path, config.hidden_dropout_prob),
        })
    }

    fn forward(&self, input: &BertInput, forward: &Forward) -> Result<Var> {
        let words =
            self.word.forward(&input.ids)?.add(&self.token_type.forward(&input.type_ids)?)?;
        let positions = self.position.forward(&input.position_ids)?;
        let normed = self.norm.forward_residual(&words, &positions, None)?;
        Ok(self.dropout.forward(&normed, forward)?)
    }
}

/// The encoder: what every head stands on.
pub struct Bert {
    config: BertConfig,
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
    pooler: Option<Linear>,
}

impl Bert {
    /// Builds the encoder from the parameters under `path` (`bert` in every head's checkpoint), with
    /// the pooler if asked.
    pub fn new(path: &Path, config: &BertConfig, pooler: bool) -> Result<Self> {
        config.validate()?;
        let encoder = EncoderConfig {
            hidden: config.hidden_size,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            activation: config.hidden_act,
            dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
            layer_norm_eps: config.layer_norm_eps,
            init_std: config.initializer_range,
        };
        let init = Init::Normal { std: config.initializer_range };
        let h = config.hidden_size;
        let layers = path.join("encoder").join("layer");
        Ok(Bert {
            embeddings: Embeddings::new(&path.join("embeddings"), config)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| EncoderLayer::new(&layers.join(i), &encoder))
                .collect::<gradus_tensor::Result<_>>()?,
            pooler: pooler
                .then(|| Linear::new(&path.join("pooler").join("dense"), h, h, init))
                .transpose()?,
            config: config.clone(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Where the parameters lie, and the batches must.
    pub fn device(&self) -> Device {
        self.embeddings.word.weight().device()
    }

    /// The word embeddings, which the masked-LM decoder shares.
    pub(crate) fn word_embeddings(&self) -> &Embedding {
        &self.embeddings.word
    }

    /// The last hidden state, `[tokens, hidden]`.
    pub fn forward(&self, input: &BertInput, forward: &Forward) -> Result<Var> {
        let mut x = self.embeddings.forward(input, forward)?;
        for layer in &self.layers {
            x = layer.forward(&x, &input.offsets, forward)?;
        }
        Ok(x)
    }

    /// The embeddings' output and every layer's, each `[tokens, hidden]`.
    pub fn hidden_states(&self, input: &BertInput, forward: &Forward) -> Result<Vec<Var>> {
        let mut states = vec![self.embeddings.forward(input, forward)?];
        for (i, layer) in self.layers.iter().enumerate() {
            states.push(layer.forward(&states[i], &input.offsets, forward)?);
        }
        Ok(states)
    }

    /// What every head of these layers attends to, for an input of one sequence: a `[heads, tokens, tokens]` a layer,
    /// whose rows sum to 1.
    ///
    /// # Errors
    /// [`Error::Input`] when there is not exactly one sequence, or the model has no such layers.
    pub fn attentions(&self, input: &BertInput, layers: Range<usize>) -> Result<Vec<Var>> {
        if input.sequences() != 1 {
            return Err(Error::Input(format!(
                "attention is shown of one sequence, and the batch has {}; pass them one by one",
                input.sequences()
            )));
        }
        if layers.start > layers.end || layers.end > self.layers.len() {
            return Err(Error::Input(format!(
                "layers {layers:?} are asked for, and the model has 0..{}",
                self.layers.len()
            )));
        }
        let forward = Forward::inference();
        let mut x = self.embeddings.forward(input, &forward)?;
        let mut shown = Vec::with_capacity(layers.len());
        for (i, layer) in self.layers[..layers.end].iter().enumerate() {
            if i >= layers.start {
                shown.push(layer.attention().probabilities(&x)?);
            }
            if i + 1 < layers.end {
                x = layer.forward(&x, &input.offsets, &forward)?;
            }
        }
        Ok(shown)
    }

    /// One vector a sequence, `[sequences, hidden]`: the mean of its tokens, or its first token,
    /// through the pooler (dense and tanh) if the encoder was built with one.
    pub fn pool(&self, hidden: &Var, input: &BertInput, pooling: Pooling) -> Result<Var> {
        match (pooling, &self.pooler) {
            (Pooling::Mean, _) => mean_pool(hidden, input),
            (Pooling::Cls, Some(pooler)) => {
                Ok(pooler.forward(&hidden.index_select(0, &input.first)?)?.tanh()?)
            }
            (Pooling::Cls, None) => Ok(hidden.index_select(0, &input.first)?),
        }
    }
}

/// The mean of every sequence's tokens: `[tokens, hidden]` → `[sequences, hidden]`.
pub fn mean_pool(hidden: &Var, input: &BertInput) -> Result<Var> {
    let shape = [input.sequences(), hidden.size(-1)?];
    let device = hidden.tensor().device();
    let zeros = Var::constant(Tensor::zeros_on(&shape, hidden.dtype(), device)?);
    let sums = zeros.index_add(0, &input.sequence_ids, hidden)?;
    Ok(sums.mul(&Var::constant(input.inverse_lengths.to_dtype(hidden.dtype())?))?)
}

/// Rows scaled to length 1 (a row of zeros stays zero): `[n, hidden]`.
pub fn normalize(x: &Var) -> Result<Var> {
    let norm = x.square()?.sum(&[-1], true)?.sqrt()?;
    // Rounded to f32 whatever the dtype, as ever.
    let floor = Tensor::full(&[], 1e-12, DType::F32)?.to_dtype(x.dtype())?;
    let floor = Var::constant(floor.to_device(x.tensor().device())?);
    Ok(x.div(&norm.maximum(&floor)?)?)
}
