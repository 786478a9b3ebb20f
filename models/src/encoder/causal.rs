//! The encoder as a causal language model.

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward, KeyValues, Path};
use gradus_tensor::Tensor;

use super::decoder::Decoder;
use super::{Encoder, EncoderInput};
use crate::{EncoderConfig, Error, PackedBatch, Result};

/// `GPT2LMHeadModel`: after every token, the logits of the next one. The decoder is tied to the word
/// embeddings.
///
/// ```
/// use gradus_models::{CausalLm, EncoderConfig, EncoderInput, PackedBatch};
/// use gradus_nn::{Forward, Store};
/// use gradus_tensor::Tensor;
///
/// # fn main() -> gradus_models::Result<()> {
/// let text = r#"{"model_type": "gpt2", "vocab_size": 50, "n_embd": 8, "n_layer": 1, "n_head": 2}"#;
/// let config = EncoderConfig::from_json(text)?;
/// let model = CausalLm::new(&Store::new(0).root(), &config)?;
/// let batch = PackedBatch::from_parts([(&[7u32, 9, 3][..], &[0; 3][..])], &config)?;
/// let last = Tensor::from_slice(&[2u32], &[1])?;
/// let logits = model.forward(&EncoderInput::new(&batch)?, &last, &Forward::inference())?;
/// assert_eq!(logits.shape(), [1, 50]); // of the token after 3
/// # Ok(())
/// # }
/// ```
///
/// [`step`](CausalLm::step) computes one token after the other.
pub struct CausalLm {
    encoder: Encoder,
    decoder: Decoder,
}

impl CausalLm {
    /// Builds the model from the parameters under `root`.
    ///
    /// # Errors
    /// For a model type without such a head.
    pub fn new(root: &Path, config: &EncoderConfig) -> Result<Self> {
        if config.family().causal_lm.is_none() {
            return Err(config.lacks_head("that predicts the next word from those before it"));
        }
        Ok(CausalLm {
            encoder: Encoder::new(&config.encoder_path(root), config, false)?,
            decoder: Decoder::new(root, config, None)?,
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Logits over the vocabulary after the tokens `positions` (u32 `[n]`, places in the packed
    /// batch): `[n, vocabulary]`.
    ///
    /// # Errors
    /// If the input is on another device, or has no such places.
    pub fn forward(
        &self,
        input: &EncoderInput,
        positions: &Tensor,
        forward: &Forward,
    ) -> Result<Var> {
        self.decode(&self.encoder.forward(input, forward)?.index_select(0, positions)?)
    }

    /// The logits after tokens of these last hidden states `[n, hidden]`: `[n, vocabulary]`.
    ///
    /// # Errors
    /// If the states have another width.
    pub fn decode(&self, states: &Var) -> Result<Var> {
        self.decoder.forward(states, &self.encoder)
    }

    /// The cross-entropy of [`forward`](CausalLm::forward)'s logits against the true next words
    /// `targets` (u32 `[n]`), without holding all logits at once.
    ///
    /// # Errors
    /// As [`forward`](CausalLm::forward).
    pub fn loss(
        &self,
        input: &EncoderInput,
        positions: &Tensor,
        targets: &Tensor,
        options: &CrossEntropy,
        forward: &Forward,
    ) -> Result<Var> {
        let hidden = self.encoder.forward(input, forward)?.index_select(0, positions)?;
        self.decoder.loss(&hidden, &self.encoder, targets, options)
    }

    /// The logits after the last of `ids`, `[1, vocabulary]`. `ids` are the next tokens of a
    /// sequence whose earlier ones `seen` holds; it then holds these too.
    ///
    /// ```
    /// # use gradus_models::{CausalLm, EncoderConfig, KeyValueCache};
    /// # use gradus_nn::Store;
    /// # fn main() -> gradus_models::Result<()> {
    /// # let text = r#"{"model_type": "gpt2", "vocab_size": 50, "n_embd": 8, "n_layer": 1, "n_head": 2}"#;
    /// # let config = EncoderConfig::from_json(text)?;
    /// let model = CausalLm::new(&Store::new(0).root(), &config)?;
    /// let mut seen = KeyValueCache::new(&config);
    /// model.step(&[7, 9], &mut seen)?;
    /// let logits = model.step(&[3], &mut seen)?; // of the token after 7, 9, 3
    /// assert_eq!((logits.shape(), seen.len()), (&[1, 50][..], 3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] when there are no ids, an id is outside the vocabulary, or the model has no
    /// positions for so many tokens.
    pub fn step(&self, ids: &[u32], seen: &mut KeyValueCache) -> Result<Var> {
        let config = self.encoder.config();
        let (before, most) = (seen.len(), config.max_tokens());
        if before + ids.len() > most {
            return Err(Error::Input(format!(
                "the sequence has {} tokens, the model takes at most {most}",
                before + ids.len()
            )));
        }
        let mut batch = PackedBatch::from_parts([(ids, &vec![0; ids.len()][..])], config)?;
        batch.position_ids.iter_mut().for_each(|place| *place += before as u32);
        let input = EncoderInput::new(&batch)?.to_device(self.encoder.device())?;
        let states = self.encoder.step(&input, &mut seen.layers)?;
        self.decode(&states.narrow(0, ids.len() - 1, 1)?)
    }
}

/// The keys and values of the tokens of one sequence, in every layer.
#[derive(Clone, Debug)]
pub struct KeyValueCache {
    layers: Vec<KeyValues>,
}

impl KeyValueCache {
    /// One without tokens, for a model of this configuration.
    pub fn new(config: &EncoderConfig) -> Self {
        KeyValueCache { layers: vec![KeyValues::default(); config.num_hidden_layers] }
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, KeyValues::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
