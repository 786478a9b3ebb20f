//! BERT (Devlin et al., arXiv:1810.04805) and the models that are built like it: embeddings,
//! encoder, pooler.
//!
//! Parameters have the names of Hugging Face's checkpoints, so folders load in both directions
//! without a table of names. Other types than BERT have other names; `family/` has them.
//!
//! ```
//! use gradus_models::{Encoder, EncoderConfig, EncoderInput, PackedBatch};
//! use gradus_nn::{Forward, Store};
//!
//! # fn main() -> gradus_models::Result<()> {
//! let config = EncoderConfig::new(50, 1, 8, 2, 16); // vocabulary, layers, width, heads, inner width
//! let encoder = Encoder::new(&Store::new(0).root().join("bert"), &config, false)?;
//! let sequences: [(&[u32], &[u32]); 2] = [(&[2, 7, 9, 3], &[0; 4]), (&[2, 8, 3], &[0; 3])];
//! let input = EncoderInput::new(&PackedBatch::from_parts(sequences, &config)?)?;
//! let states = encoder.forward(&input, &Forward::inference())?;
//! assert_eq!(states.shape(), [7, 8]); // all tokens end to end: no padding
//! # Ok(())
//! # }
//! ```

mod causal;
mod decoder;
mod embeddings;
mod heads;
mod inner;
mod input;
mod layers;
mod places;
mod pool;
mod sentence;

pub use causal::{CausalLm, KeyValueCache};
pub(crate) use decoder::MAX_LOGITS;
pub use heads::{MaskedLm, SequenceClassifier, SpanPredictor, TokenClassifier};
pub use input::EncoderInput;
pub(crate) use pool::{Pooled, pool};
pub use sentence::SentenceEncoder;

use std::ops::Range;
use std::sync::Arc;

use gradus_autograd::{Var, checkpoint, is_grad_enabled};
use gradus_nn::{Embedding, Forward, Init, KeyValues, LayerNorm, Linear, Path};
use gradus_tensor::{Device, Tensor};

use self::embeddings::{Embeddings, Tokens};
use self::layers::{Layer, layers};
use self::places::{Placed, Places};
use crate::{EncoderConfig, Error, Pooling, Result};

/// The limit of a group in inference: bytes of a layer's largest activation. A group may always
/// have the tokens of the second number: with fewer rows the processor would wait for a layer's
/// weights.
const GROUP_BYTES: usize = 6 << 20;
const GROUP_TOKENS: usize = 256;

/// Sequences in groups of at most `most` tokens; a longer one is a group of its own.
fn groups(offsets: &[u32], most: usize) -> Vec<Range<usize>> {
    let (sequences, mut groups, mut first) = (offsets.len() - 1, Vec::new(), 0);
    for end in 1..=sequences {
        // The group is full, or this sequence is the last.
        if end == sequences || (offsets[end + 1] - offsets[first]) as usize > most {
            groups.push(first..end);
            first = end;
        }
    }
    groups
}

/// The encoder, which all heads share.
pub struct Encoder {
    config: EncoderConfig,
    embeddings: Embeddings,
    /// From the width of the embeddings to that of the layers, where they differ.
    project: Option<Linear>,
    layers: Vec<Arc<Layer>>,
    places: Places,
    /// After the last layer, where layers normalise before their blocks.
    final_norm: Option<LayerNorm>,
    pooler: Option<Linear>,
}

impl Encoder {
    /// Builds the encoder from the parameters under `path` (in a model with a head,
    /// [`EncoderConfig::encoder_path`]), with the pooler if asked.
    pub fn new(path: &Path, config: &EncoderConfig, pooler: bool) -> Result<Self> {
        config.validate()?;
        let family = config.family();
        let init = Init::Normal { std: config.initializer_range };
        let (h, width) = (config.hidden_size, config.embedding_width());
        let final_norm = |name| layer_norm(&path.join(name), h, config);
        let project = || Linear::new(&path.join("embeddings_project"), width, h, init);
        Ok(Encoder {
            embeddings: Embeddings::new(path, config)?,
            project: (width != h).then(project).transpose()?,
            layers: layers(&path.join(family.layers), config)?,
            places: Places::new(path, config)?,
            final_norm: family.final_norm.map(final_norm).transpose()?,
            pooler: pooler
                .then(|| Linear::new(&path.join("pooler").join("dense"), h, h, init))
                .transpose()?,
            config: config.clone(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The device of the parameters, on which batches must be too.
    pub fn device(&self) -> Device {
        self.embeddings.word.weight().device()
    }

    /// The word embeddings, which the decoder of a language model shares.
    pub(crate) fn word_embeddings(&self) -> &Embedding {
        &self.embeddings.word
    }

    /// The last hidden state, `[tokens, hidden]`.
    ///
    /// Inference on the CPU takes a large batch in groups of whole sequences, one after another
    /// through all layers, so that the output of a layer is still in the cache when the next one
    /// reads it; the result is the same, bit for bit.
    pub fn forward(&self, input: &EncoderInput, forward: &Forward) -> Result<Var> {
        let tokens = input.as_tokens();
        let apart = self.device() == Device::Cpu && !forward.training && !is_grad_enabled();
        let most = (GROUP_BYTES / 4 / self.config.intermediate_size.max(1)).max(GROUP_TOKENS);
        if !apart || input.tokens() <= most {
            return self.encode(tokens, &input.offsets, forward);
        }
        let offsets = input.offsets.to_vec::<u32>()?;
        let mut parts = Vec::new();
        for group in groups(&offsets, most) {
            let (start, end) = (offsets[group.start] as usize, offsets[group.end] as usize);
            let own: Vec<u32> =
                offsets[group.start..=group.end].iter().map(|o| o - start as u32).collect();
            let part = |t: &Tensor| t.narrow(0, start, end - start);
            let (ids, types) = (part(tokens.ids)?, part(tokens.types)?);
            let (positions, padding) = (part(tokens.positions)?, None); // nothing learns here
            let own = Tensor::from_slice(&own, &[own.len()])?;
            let tokens = Tokens { ids: &ids, types: &types, positions: &positions, padding };
            parts.push(self.encode(tokens, &own, forward)?);
        }
        Ok(Var::cat(&parts.iter().collect::<Vec<_>>(), 0)?)
    }

    /// The input of the first layer.
    fn embed(&self, tokens: Tokens, forward: &Forward) -> Result<Var> {
        let embedded = self.embeddings.forward(tokens, forward)?;
        match &self.project {
            Some(project) => Ok(project.forward_in(&embedded, forward)?),
            None => Ok(embedded),
        }
    }

    fn encode(&self, tokens: Tokens, offsets: &Tensor, forward: &Forward) -> Result<Var> {
        let mut x = self.embed(tokens, forward)?;
        let places = self.places.of(offsets, tokens.positions, self.device())?;
        for layer in &self.layers {
            x = through(layer, x, &places, forward)?;
        }
        self.end(x)
    }

    /// The last hidden state of the next tokens of one sequence, `[tokens, hidden]`; `seen` has the
    /// earlier ones, for each layer.
    fn step(&self, input: &EncoderInput, seen: &mut [KeyValues]) -> Result<Var> {
        let mut x = self.embed(input.as_tokens(), &Forward::inference())?;
        let places = self.places.of(&input.offsets, &input.position_ids, self.device())?;
        for (layer, seen) in self.layers.iter().zip(seen) {
            x = layer.step(&x, &places, seen)?;
        }
        self.end(x)
    }

    /// The last layer's output, normalised where the model's type does.
    fn end(&self, x: Var) -> Result<Var> {
        match &self.final_norm {
            Some(norm) => Ok(norm.forward(&x)?),
            None => Ok(x),
        }
    }

    /// The embeddings' output and every layer's, each `[tokens, hidden]`.
    pub fn hidden_states(&self, input: &EncoderInput, forward: &Forward) -> Result<Vec<Var>> {
        let mut states = vec![self.embed(input.as_tokens(), forward)?];
        let places = self.places.of(&input.offsets, &input.position_ids, self.device())?;
        for (i, layer) in self.layers.iter().enumerate() {
            states.push(through(layer, states[i].clone(), &places, forward)?);
        }
        if let Some(last) = states.pop() {
            states.push(self.end(last)?);
        }
        Ok(states)
    }

    /// The attention probabilities of these layers, for an input of one sequence: `[heads, tokens,
    /// tokens]` for each layer; every row sums to 1.
    ///
    /// # Errors
    /// [`Error::Input`] when there is not exactly one sequence, or the model has no such layers.
    pub fn attentions(&self, input: &EncoderInput, layers: Range<usize>) -> Result<Vec<Var>> {
        if input.sequences() != 1 {
            return Err(Error::Input(format!(
                "the batch has {} sequences, but attention is shown for one; pass them one by one",
                input.sequences()
            )));
        }
        if layers.start > layers.end || layers.end > self.layers.len() {
            return Err(Error::Input(format!(
                "the model has no layers {layers:?}; choose from 0..{}",
                self.layers.len()
            )));
        }
        let forward = Forward::inference();
        let mut x = self.embed(input.as_tokens(), &forward)?;
        let places = self.places.of(&input.offsets, &input.position_ids, self.device())?;
        let mut shown = Vec::with_capacity(layers.len());
        for (i, layer) in self.layers[..layers.end].iter().enumerate() {
            if i >= layers.start {
                shown.push(layer.probabilities(&x, &places)?);
            }
            if i + 1 < layers.end {
                x = layer.forward(&x, &places, &forward)?;
            }
        }
        Ok(shown)
    }

    /// One vector a sequence, `[sequences, hidden]`, by a mode over its tokens. With `cls`, the
    /// first token's state goes through the pooler (dense and tanh) if the encoder was built with
    /// one.
    pub fn pool(&self, hidden: &Var, input: &EncoderInput, pooling: Pooling) -> Result<Var> {
        match (pooling, &self.pooler) {
            (Pooling::Mean, _) => mean_pool(hidden, input),
            (Pooling::Cls, Some(pooler)) => {
                Ok(pooler.forward(&hidden.index_select(0, &input.first)?)?.tanh()?)
            }
            (Pooling::Cls, None) => Ok(hidden.index_select(0, &input.first)?),
            (other, _) => Pooled::new(input, &[])?.pool(hidden, other),
        }
    }
}

/// The output of a layer. With activation checkpointing, backward runs the layer again instead of
/// keeping what it computed.
fn through(layer: &Arc<Layer>, x: Var, places: &Placed, forward: &Forward) -> Result<Var> {
    if !forward.checkpointing {
        return Ok(layer.forward(&x, places, forward)?);
    }
    let (layer, places, forward) = (layer.clone(), places.clone(), *forward);
    Ok(checkpoint(move || layer.forward(&x, &places, &forward))?)
}

/// A norm over `width` numbers, with a bias or without, as the configuration says.
pub(super) fn layer_norm(path: &Path, width: usize, config: &EncoderConfig) -> Result<LayerNorm> {
    let switches = config.switches()?;
    let new = if switches.biases.norm { LayerNorm::new } else { LayerNorm::no_bias };
    Ok(new(path, width, config.layer_norm_eps)?)
}

/// The mean of every sequence's tokens: `[tokens, hidden]` → `[sequences, hidden]`.
pub fn mean_pool(hidden: &Var, input: &EncoderInput) -> Result<Var> {
    let shape = [input.sequences(), hidden.size(-1)?];
    let device = hidden.tensor().device();
    let zeros = Var::constant(Tensor::zeros_on(&shape, hidden.dtype(), device)?);
    let sums = zeros.index_add(0, &input.sequence_ids, hidden)?;
    Ok(sums.mul(&Var::constant(input.inverse_lengths.to_dtype(hidden.dtype())?))?)
}

/// Rows scaled to length 1 (a row of zeros stays zero): `[n, hidden]`. As `F.normalize`, whose eps
/// is 1e-12.
pub fn normalize(x: &Var) -> Result<Var> {
    // The square is limited before the root, whose slope at 0 is infinite.
    let norm = x.square()?.sum(&[-1], true)?.clamp(1e-24, f64::INFINITY)?.sqrt()?;
    Ok(x.div(&norm)?)
}

#[cfg(test)]
mod tests {
    use gradus_autograd::no_grad;
    use gradus_nn::Store;

    use super::*;
    use crate::PackedBatch;

    #[test]
    fn groups_are_whole_sequences_within_the_limit() {
        let offsets = |lengths: &[u32]| -> Vec<u32> {
            let ends = lengths.iter().scan(0, |end, n| {
                *end += n;
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect()
        };
        // Where each group ends.
        let cases: [(&[u32], &[usize]); 5] = [
            (&[], &[]),
            (&[3, 3, 4], &[3]),
            (&[3, 3, 5], &[2, 3]),
            (&[11, 1, 30, 2, 8], &[1, 2, 3, 5]),
            (&[10, 10], &[1, 2]),
        ];
        for (lengths, want) in cases {
            let groups = groups(&offsets(lengths), 10);
            let ends: Vec<usize> = groups.iter().map(|group| group.end).collect();
            assert_eq!(ends, want, "{lengths:?}");
            let starts: Vec<usize> = groups.iter().map(|group| group.start).collect();
            assert_eq!(starts, [&[0], &ends[..]].concat()[..ends.len()], "one after another");
        }
    }

    #[test]
    fn a_batch_in_groups_is_the_batch() {
        let config: EncoderConfig = serde_json::from_str(
            r#"{"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
                "intermediate_size": 8192, "max_position_embeddings": 400}"#,
        )
        .unwrap();
        let encoder = Encoder::new(&Store::new(3).root().join("bert"), &config, false).unwrap();
        let lengths = [1usize, 90, 300, 7, 120, 100, 30, 5];
        let ids: Vec<u32> = (0..300).map(|i| i * 7 % 50).collect();
        let types = vec![0; 300];
        let parts = lengths.iter().map(|&n| (&ids[..n], &types[..n]));
        let input = EncoderInput::new(&PackedBatch::from_parts(parts, &config).unwrap()).unwrap();
        assert!(input.tokens() > 2 * GROUP_TOKENS, "several groups");
        let run =
            || encoder.forward(&input, &Forward::inference()).unwrap().tensor().to_vec::<f32>();
        // A recorded pass never takes a batch in groups.
        let (grouped, whole) = (no_grad(run).unwrap(), run().unwrap());
        assert_eq!(grouped, whole);
    }
}
