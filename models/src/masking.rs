//! Masks for the masked language model (Devlin et al. 2019, section 3.1).

use gradus_tensor::RngKey;

use crate::error::{Error, Result};

/// A sequence, masked by [`mask_tokens`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedTokens {
    /// The ids, some of them replaced.
    pub ids: Vec<u32>,
    /// The places to predict, ascending.
    pub positions: Vec<u32>,
    /// The ids that stood there.
    pub labels: Vec<u32>,
}

/// How [`mask_tokens`] masks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Masking {
    /// The size of the vocabulary, from which random ids are drawn.
    pub vocab_size: usize,
    /// The id of `[MASK]`.
    pub mask_id: u32,
    /// The probability with which a token, or a word, is picked; 0.15 in BERT's training.
    pub probability: f64,
    /// Whether the pieces of a word are picked together.
    pub whole_words: bool,
    /// The seed of the choices.
    pub seed: u64,
}

impl Masking {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Input`] when the probability is outside 0 to 1, or the mask's id is outside the
    /// vocabulary.
    pub fn validate(&self) -> Result<()> {
        let Masking { vocab_size, mask_id, probability, .. } = *self;
        if !(0.0..=1.0).contains(&probability) {
            return Err(Error::Input(format!(
                "the masking probability is {probability}; it must be from 0 to 1"
            )));
        }
        if mask_id as usize >= vocab_size {
            return Err(Error::Input(format!(
                "the mask id {mask_id} is outside the vocabulary of {vocab_size}"
            )));
        }
        Ok(())
    }
}

/// What a token of a sequence is to the masking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The first piece of a word.
    First,
    /// A later piece of the word before it.
    Later,
    /// A token such as `[CLS]`, which is never picked.
    Special,
}

/// Masks tokens for the masked language model (Devlin et al. 2019, section 3.1).
///
/// Each token that is not special is picked with the masking's probability; 80% of the picked
/// tokens become the mask, 10% a random id, 10% stay. With [`Masking::whole_words`] the words are
/// picked, and what becomes of each piece is drawn for itself. The choice depends on the seed,
/// `step` and the place alone. When chance picks nothing, one token or word is picked nevertheless,
/// so that a loss over the picked tokens is defined; none is picked only where every token is
/// special.
///
/// ```
/// use gradus_models::masking::{Masking, Piece, mask_tokens};
///
/// # fn main() -> gradus_models::Result<()> {
/// let masking = Masking {
///     vocab_size: 30_522,
///     mask_id: 103,
///     probability: 0.15,
///     whole_words: false,
///     seed: 0,
/// };
/// let ids = [101, 2073, 2003, 102];
/// let pieces = [Piece::Special, Piece::First, Piece::First, Piece::Special];
/// let masked = mask_tokens(&ids, &pieces, &masking, 1)?;
/// for (&place, &label) in masked.positions.iter().zip(&masked.labels) {
///     assert_eq!(ids[place as usize], label);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Input`] when the lengths differ; as [`Masking::validate`].
pub fn mask_tokens(
    ids: &[u32],
    pieces: &[Piece],
    masking: &Masking,
    step: u64,
) -> Result<MaskedTokens> {
    masking.validate()?;
    if ids.len() != pieces.len() || u32::try_from(ids.len()).is_err() {
        return Err(Error::Input(format!(
            "{} ids and {} pieces; one piece for each id, fewer than 2^32",
            ids.len(),
            pieces.len()
        )));
    }
    let key = RngKey::new(masking.seed).place("masks").step(step);
    // Four random words for each token: whether it is picked, what it becomes, which word replaces
    // it.
    let word = |place: usize, which: usize| key.block([place as u32, 0, 0, 0])[which];
    let draw = |place: usize, which: usize| f64::from(word(place, which)) / 2f64.powi(32);
    let units = units(pieces, masking.whole_words);
    let mut picked: Vec<&(usize, usize)> =
        units.iter().filter(|(start, _)| draw(*start, 0) < masking.probability).collect();
    if picked.is_empty() {
        picked.extend(units.iter().min_by(|a, b| draw(a.0, 0).total_cmp(&draw(b.0, 0))));
    }
    let places: Vec<usize> = picked.into_iter().flat_map(|&(start, end)| start..end).collect();
    let mut masked = ids.to_vec();
    for &i in &places {
        let kind = draw(i, 1);
        if kind < 0.8 {
            masked[i] = masking.mask_id;
        } else if kind < 0.9 {
            masked[i] = ((u64::from(word(i, 2)) * masking.vocab_size as u64) >> 32) as u32;
        }
    }
    Ok(MaskedTokens {
        ids: masked,
        positions: places.iter().map(|&i| i as u32).collect(),
        labels: places.iter().map(|&i| ids[i]).collect(),
    })
}

/// What is picked at once, as ranges: tokens, or words. A piece whose word began elsewhere is a
/// word of its own.
fn units(pieces: &[Piece], whole_words: bool) -> Vec<(usize, usize)> {
    let mut units: Vec<(usize, usize)> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match (piece, units.last_mut()) {
            (Piece::Special, _) => {}
            (Piece::Later, Some(last)) if whole_words && last.1 == at => last.1 = at + 1,
            _ => units.push((at, at + 1)),
        }
    }
    units
}

#[cfg(test)]
#[path = "masking_tests.rs"]
mod tests;
