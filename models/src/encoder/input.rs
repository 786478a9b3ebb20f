//! The input of a model.

use gradus_tensor::{Device, Tensor};

use super::embeddings::Tokens;
use crate::{Error, PackedBatch, Result};

/// A packed batch as tensors: the input of a model.
#[derive(Clone, Debug)]
pub struct EncoderInput {
    /// Token ids, u32 `[tokens]`.
    pub ids: Tensor,
    /// Token types, u32 `[tokens]`.
    pub type_ids: Tensor,
    /// Place of each token in its sequence, u32 `[tokens]`.
    pub position_ids: Tensor,
    /// Where each sequence begins, and the end of the last, u32 `[sequences + 1]`.
    pub offsets: Tensor,
    /// Sequence of each token, u32 `[tokens]`.
    pub(super) sequence_ids: Tensor,
    /// First token of each sequence, u32 `[sequences]`.
    pub(super) first: Tensor,
    /// 1/length of each sequence, f32 `[sequences, 1]`.
    pub(super) inverse_lengths: Tensor,
    /// Which tokens are padding inside a text, u8 `[tokens, 1]`; `None` where none is.
    padding: Option<Tensor>,
    /// All u32 tensors end to end. The others are views of it, so that a GPU gets one upload.
    words: Tensor,
}

impl EncoderInput {
    /// The batch's tensors, on the CPU.
    ///
    /// # Errors
    /// If the batch does not have one type and one position for each id.
    pub fn new(batch: &PackedBatch) -> Result<Self> {
        let tokens = batch.ids.len();
        let ends = batch.offsets.last().copied().unwrap_or_default() as usize;
        if [batch.type_ids.len(), batch.position_ids.len(), ends] != [tokens; 3] {
            return Err(Error::Input(format!(
                "a batch has {tokens} ids, {} type ids and {} positions, and its offsets end at \
                 {ends}; these numbers must be equal",
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
        let padding = batch.padding.map(|padding| {
            let is_padding: Vec<u8> = batch.ids.iter().map(|&id| (id == padding) as u8).collect();
            Tensor::from_slice(&is_padding, &[tokens, 1])
        });
        Ok(EncoderInput { padding: padding.transpose()?, ..Self::views(words, inverse_lengths)? })
    }

    /// The same batch on `device`.
    ///
    /// # Errors
    /// If the device cannot hold it.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        let inverse_lengths = self.inverse_lengths.to_device(device)?;
        let padding = self.padding.as_ref().map(|padding| padding.to_device(device)).transpose()?;
        let there = Self::views(self.words.to_device(device)?, inverse_lengths)?;
        Ok(EncoderInput { padding, ..there })
    }

    /// Cuts `words` into its parts: four with one number for each token, then the offsets.
    fn views(words: Tensor, inverse_lengths: Tensor) -> Result<Self> {
        let sequences = inverse_lengths.numel();
        let tokens = (words.numel() - sequences - 1) / 4;
        let part = |i: usize| words.narrow(0, i * tokens, tokens);
        Ok(EncoderInput {
            ids: part(0)?,
            type_ids: part(1)?,
            position_ids: part(2)?,
            sequence_ids: part(3)?,
            offsets: words.narrow(0, 4 * tokens, sequences + 1)?,
            first: words.narrow(0, 4 * tokens, sequences)?,
            inverse_lengths,
            padding: None,
            words,
        })
    }

    /// What the embeddings take.
    pub(super) fn as_tokens(&self) -> Tokens<'_> {
        Tokens {
            ids: &self.ids,
            types: &self.type_ids,
            positions: &self.position_ids,
            padding: self.padding.as_ref(),
        }
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
