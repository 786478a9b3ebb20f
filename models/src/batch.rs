//! Packed batches: sequences end to end, without padding; their order.
//!
//! A packed batch of sequences with lengths `l₀, l₁, …` is one row of `Σ lᵢ` tokens and the offsets
//! `[0, l₀, l₀+l₁, …]`. Layers that work token by token never see the offsets; attention and
//! pooling read them.

use std::ops::Range;

use gradus_autograd::no_grad;
use gradus_tensor::RngKey;

use crate::config::EncoderConfig;
use crate::error::{Error, Result};
use crate::evaluation::Examiner;
use crate::tokenizer::Encoding;
use crate::training::ranks::Communicator;

/// Sequences end to end, ready for the embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    /// Token ids, `[tokens]`.
    pub ids: Vec<u32>,
    /// Token types (0 for the first text, 1 for the second of a pair), `[tokens]`.
    pub type_ids: Vec<u32>,
    /// Each token's position: its place in its own sequence, from 0 (from the row after padding's in
    /// RoBERTa), `[tokens]`.
    pub position_ids: Vec<u32>,
    /// Where each sequence starts, and the end of the last: `[sequences + 1]`, from 0 to `tokens`.
    pub offsets: Vec<u32>,
    /// The id of padding, where a text has it and its embedding learns nothing: there is no padding
    /// between sequences.
    pub padding: Option<u32>,
}

impl PackedBatch {
    /// Packs encoded texts, checking them against the model's embeddings.
    ///
    /// # Errors
    /// [`Error::Input`] with the sequence and the place when a sequence is empty or longer than
    /// [`EncoderConfig::max_tokens`], or an id or a type is outside its embedding.
    pub fn new<'a>(
        encodings: impl IntoIterator<Item = &'a Encoding>,
        config: &EncoderConfig,
    ) -> Result<Self> {
        let parts = encodings.into_iter().map(|e| (e.ids.as_slice(), e.type_ids.as_slice()));
        Self::from_parts(parts, config)
    }

    /// As [`PackedBatch::new`], from `(ids, type_ids)` of each sequence.
    ///
    /// # Errors
    /// As [`PackedBatch::new`]; also when the two differ in length.
    pub fn from_parts<'a>(
        parts: impl IntoIterator<Item = (&'a [u32], &'a [u32])>,
        config: &EncoderConfig,
    ) -> Result<Self> {
        let mut batch = PackedBatch {
            ids: Vec::new(),
            type_ids: Vec::new(),
            position_ids: Vec::new(),
            offsets: vec![0],
            padding: None,
        };
        let padding = config.pad_token_id.filter(|_| config.family().padding_idx);
        for (sequence, (ids, types)) in parts.into_iter().enumerate() {
            let length = ids.len();
            if length == 0 {
                return Err(Error::Input(format!(
                    "sequence {sequence} has no tokens; encode it with its special tokens"
                )));
            }
            if length != types.len() {
                return Err(Error::Input(format!(
                    "sequence {sequence} has {length} ids and {} type ids",
                    types.len()
                )));
            }
            if length > config.max_tokens() {
                return Err(Error::Input(format!(
                    "sequence {sequence} has {length} tokens, the model takes at most {} (max_position_embeddings); \
                     truncate with a smaller maximum length",
                    config.max_tokens()
                )));
            }
            // A model without token types ignores them.
            let types_limit =
                if config.type_vocab_size == 0 { usize::MAX } else { config.type_vocab_size };
            for (name, values, limit) in
                [("id", ids, config.vocab_size), ("type id", types, types_limit)]
            {
                if let Some(at) = values.iter().position(|&v| v as usize >= limit) {
                    return Err(Error::Input(format!(
                        "sequence {sequence}, token {at}: {name} {} is outside the model's {limit}; \
                         does the tokenizer belong to this model?",
                        values[at]
                    )));
                }
            }
            batch.padding = batch.padding.or(padding.filter(|id| ids.contains(id)));
            batch.ids.extend_from_slice(ids);
            batch.type_ids.extend_from_slice(types);
            batch.position_ids.extend(config.positions(ids));
            let end = u32::try_from(batch.ids.len()).map_err(|_| {
                Error::Input("a batch of 2^32 tokens or more; make it smaller".into())
            })?;
            batch.offsets.push(end);
        }
        Ok(batch)
    }

    /// How many tokens there are in all.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The token range of each sequence, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|w| w[0] as usize..w[1] as usize)
    }

    /// The tokens of the longest sequence; 0 in an empty batch.
    pub fn longest(&self) -> usize {
        self.ranges().map(|r| r.len()).max().unwrap_or(0)
    }
}

/// The batches of one training epoch, as numbers of examples: all in a random order, cut into
/// batches. The same `(seed, epoch)` gives the same batches on every machine. Every example occurs
/// once; the last batch may be short.
///
/// Texts of all lengths share a batch. Batches of similar length save no time, because texts are
/// packed; and models learnt less from them: a batch is then no fair sample of the data.
///
/// # Errors
/// [`Error::Input`] when `batch_size` is 0.
pub fn shuffled_batches(
    examples: usize,
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Result<Vec<Vec<usize>>> {
    batches_of_at_least(1, examples, batch_size, seed, epoch)
}

/// As [`shuffled_batches`], where an example learns from the others of its batch: the short batch
/// gets `least` examples, if the one before it can spare them. There are as many batches.
///
/// # Errors
/// [`Error::Input`] when `batch_size` is 0.
pub fn batches_of_at_least(
    least: usize,
    examples: usize,
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Result<Vec<Vec<usize>>> {
    check_batch_size(batch_size)?;
    let mut order: Vec<usize> = (0..examples).collect();
    shuffle(&mut order, seed, epoch);
    let mut batches: Vec<_> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
    fill_last(&mut batches, least);
    Ok(batches)
}

/// Gives a last batch of fewer than `least` examples some of the batch before it, which keeps as
/// many.
pub(crate) fn fill_last(batches: &mut [Vec<usize>], least: usize) {
    if let [.., before, last] = batches
        && last.len() < least
    {
        let spare = before.len().saturating_sub(least);
        let moved = before.split_off(before.len() - spare.min(least - last.len()));
        last.extend(moved);
    }
}

/// The batches of an evaluation, as indices into `lengths`: the longest texts first, so that memory
/// peaks at once. [`restore_order`] puts the results back.
///
/// # Errors
/// [`Error::Input`] when `batch_size` is 0.
pub fn sorted_batches(lengths: &[usize], batch_size: usize) -> Result<Vec<Vec<usize>>> {
    check_batch_size(batch_size)?;
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    Ok(order.chunks(batch_size).map(<[usize]>::to_vec).collect())
}

/// Evaluates in batches of similar length: `compute` gives the numbers of a batch, with operations
/// that record no graph, and `take` gets the numbers of every batch, in order. Ranks that share the
/// evaluation compute some batches each, and take all.
///
/// # Errors
/// The first of `compute` or `take`; [`Error::Input`] when `batch_size` is 0; [`Error::Rank`] when a
/// rank has failed.
pub(crate) fn each_batch(
    lengths: &[usize],
    batch_size: usize,
    examiner: &mut dyn Examiner,
    mut compute: impl FnMut(&[usize]) -> Result<Vec<f32>> + Send,
    mut take: impl FnMut(&[usize], &[f32]) -> Result<()>,
) -> Result<()> {
    let batches = sorted_batches(lengths, batch_size)?;
    let (rank, size) = examiner.ranks().map_or((0, 1), |ranks| (ranks.rank(), ranks.size()));
    let (mut done, mut own) = (0, Vec::new());
    for batch in batches.iter().skip(rank).step_by(size) {
        // One entry into the thread pool for the whole batch. The mode belongs to the thread.
        let numbers = rayon::scope(|_| no_grad(|| compute(batch)))?;
        match size {
            1 => take(batch, &numbers)?,
            _ => own.push(numbers),
        }
        // The others are about as far.
        done = lengths.len().min(done + size * batch.len());
        examiner.progress(done, lengths.len());
    }
    let Some(ranks) = examiner.ranks().filter(|_| size > 1) else { return Ok(()) };
    let mut all: Vec<_> = gather_numbers(ranks, &own)?.into_iter().map(Vec::into_iter).collect();
    for (at, batch) in batches.iter().enumerate() {
        let numbers = all[at % size].next();
        take(batch, &numbers.ok_or_else(|| unshared(at % size))?)?;
    }
    Ok(())
}

/// The lists of numbers of all ranks.
fn gather_numbers(ranks: &dyn Communicator, own: &[Vec<f32>]) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut message = Vec::new();
    for numbers in own {
        message.extend_from_slice(&(numbers.len() as u64).to_ne_bytes());
        message.extend_from_slice(bytemuck::cast_slice(numbers));
    }
    let read = |(rank, message): (usize, &Vec<u8>)| {
        let (mut rest, mut lists) = (&message[..], Vec::new());
        while let Some((length, later)) = rest.split_first_chunk::<8>() {
            let bytes = 4 * u64::from_ne_bytes(*length) as usize;
            let (numbers, later) = later.split_at_checked(bytes).ok_or_else(|| unshared(rank))?;
            lists.push(bytemuck::pod_collect_to_vec(numbers));
            rest = later;
        }
        Ok(lists)
    };
    ranks.all_gather(message)?.iter().enumerate().map(read).collect()
}

fn unshared(rank: usize) -> Error {
    let message = "it evaluates other batches than this rank".into();
    Error::Rank { rank, message }
}

/// Puts the results of batches into the order of the inputs.
///
/// # Errors
/// [`Error::Input`] when there is not exactly one result for each index, or the indices are not
/// `0..n`.
pub fn restore_order<T>(batches: &[Vec<usize>], results: Vec<T>) -> Result<Vec<T>> {
    let wrong = || {
        Error::Input(
            "the batches must hold the indices 0 to n - 1, with one result for each".into(),
        )
    };
    let mut places: Vec<Option<T>> = results.iter().map(|_| None).collect();
    let mut results = results.into_iter();
    for &index in batches.iter().flatten() {
        let place = places.get_mut(index).ok_or_else(wrong)?;
        *place = Some(results.next().ok_or_else(wrong)?);
    }
    places.into_iter().collect::<Option<Vec<T>>>().ok_or_else(wrong)
}

fn check_batch_size(batch_size: usize) -> Result<()> {
    match batch_size {
        0 => Err(Error::Input("the batch size is 0; use at least 1".into())),
        _ => Ok(()),
    }
}

/// Shuffles in place (Fisher–Yates). The same length, `seed` and `stream` give the same order on
/// every machine; different streams of one seed are independent.
pub fn shuffle(items: &mut [usize], seed: u64, stream: u64) {
    RngKey::new(seed).place("order").step(stream).shuffle(items);
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
