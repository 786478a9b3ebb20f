//! BERT with a pooling: texts to vectors.

use gradus_autograd::Var;
use gradus_nn::{Forward, Path};

use super::{Encoder, EncoderInput, pool};
use crate::folder::SentenceSettings;
use crate::{EncoderConfig, Pooling, Result};

/// BERT and the pooling of its last states, as a sentence-transformers folder sets it.
pub struct SentenceEncoder {
    encoder: Encoder,
    pooling: Vec<Pooling>,
    include_prompt: bool,
    width: usize,
}

impl SentenceEncoder {
    /// Builds the model from the parameters under `root`.
    ///
    /// # Errors
    /// When the configuration is not one of a BERT.
    pub fn new(root: &Path, config: &EncoderConfig, settings: &SentenceSettings) -> Result<Self> {
        Ok(SentenceEncoder {
            encoder: Encoder::new(&config.encoder_path(root), config, false)?,
            pooling: settings.pooling.clone(),
            include_prompt: settings.include_prompt,
            width: settings.width(config.hidden_size),
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Vectors `[sequences, width]` in f32, of any length; `prompts` counts the tokens of each
    /// sequence's prompt.
    pub fn forward(
        &self,
        input: &EncoderInput,
        prompts: &[usize],
        forward: &Forward,
    ) -> Result<Var> {
        let states = self.encoder.forward(input, forward)?;
        let left_out: &[usize] = if self.include_prompt { &[] } else { prompts };
        let vectors = pool(&states, input, &self.pooling, left_out)?.at_least_f32()?;
        match vectors.size(-1)? > self.width {
            true => Ok(vectors.narrow(-1, 0, self.width)?),
            false => Ok(vectors),
        }
    }
}
