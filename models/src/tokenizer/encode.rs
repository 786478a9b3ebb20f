//! Text to tokens.

use rayon::prelude::*;
use tokenizers::{PostProcessor, TruncationDirection, TruncationParams, truncate_encodings};

use super::excerpt::Excerpt;
use super::pieces::lacks_prefix_space;
use super::{Encoding, Side, Tokenizer};
use crate::error::{Error, Result};

/// A pair of texts that are both cut: how many tokens of each are encoded at most to see which is
/// longer.
const MAX_COMPARED: usize = 8192;

/// The part of a text that is encoded, and its tokens.
type Part<'a> = (Excerpt<'a>, tokenizers::Encoding);

impl Tokenizer {
    /// Encodes a text or a pair of texts in at most `max_length` tokens, special tokens included
    /// (`usize::MAX` for no limit). The longer text of a pair is cut first, like `longest_first` in
    /// `transformers`, on the side that the tokenizer's files name.
    ///
    /// # Errors
    /// [`Error::Input`] when `max_length` has no room for the special tokens; [`Error::Tokenizer`]
    /// when the tokenizer fails, as one without an unknown token does on an unknown word.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Encoding> {
        self.encode_cut(text, pair, max_length, self.side)
    }

    /// As [`Tokenizer::encode`], with the side on which texts of too many tokens are cut. After a
    /// cut on the left, [`Encoding::words`] counts from a place in the part that is left out.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_cut(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
        side: Side,
    ) -> Result<Encoding> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&self.source, e.to_string());
        let room = self.room(max_length, pair.is_some())?;
        let ((excerpt, first), second) = match pair {
            None => (self.part(text, room, side).map_err(failed)?, None),
            Some(pair) => {
                let (first, second) = self.parts(text, pair, room, side).map_err(failed)?;
                (first, Some(second))
            }
        };
        let (pair_excerpt, second) = second.unzip();
        let (mut encoding, sequences) = self.within(first, second, room, side).map_err(failed)?;
        for (i, place) in encoding.offsets.iter_mut().enumerate() {
            *place = match &pair_excerpt {
                _ if encoding.special[i] => *place,
                Some(excerpt) if sequences[i] == Some(1) => {
                    whole(pair.unwrap_or_default(), excerpt.place(*place))
                }
                _ => whole(text, excerpt.place(*place)),
            };
        }
        Ok(encoding)
    }

    /// Encodes a text whose words are given, in at most `max_length` tokens, special tokens
    /// included; a text of more is cut on the side that the tokenizer's files name.
    ///
    /// Each word is encoded by itself, as with `is_split_into_words=True` in `transformers`:
    /// [`Encoding::words`] counts the given words, and [`Encoding::offsets`] are places within a
    /// word. A word of several parts, such as `U.S.`, is one word here and several in
    /// [`Tokenizer::encode`]. A word may have no token, such as one of spaces.
    ///
    /// ```
    /// use gradus_models::Tokenizer;
    ///
    /// # fn main() -> gradus_models::Result<()> {
    /// let tokenizer = Tokenizer::train_wordpiece(&["a card", "u.s. cards"], 60)?;
    /// let encoding = tokenizer.encode_words(&["U.S.", " ", "card"], 512)?;
    /// assert_eq!(encoding.tokens, ["[CLS]", "u", ".", "s", ".", "card", "[SEP]"]);
    /// assert_eq!(encoding.first_tokens(3), [Some(1), None, Some(5)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; also for a byte-level tokenizer without `add_prefix_space`, which
    /// would encode a word otherwise than after a space.
    pub fn encode_words<S: AsRef<str>>(&self, words: &[S], max_length: usize) -> Result<Encoding> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&self.source, e.to_string());
        if self.inner.get_pre_tokenizer().is_some_and(lacks_prefix_space) {
            let message = "the tokenizer is byte-level without add_prefix_space, so it cannot \
                           encode given words; set add_prefix_space to true in tokenizer_config.json, and in \
                           tokenizer.json where the tokenizer has no class of its own";
            return Err(Error::tokenizer(&self.source, message));
        }
        let room = self.room(max_length, false)?;
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let encoded = self.inner.encode(words, false).map_err(failed)?;
        Ok(self.within(encoded, None, room, self.side).map_err(failed)?.0)
    }

    /// The tokens of a text, or a pair, that an input of `max_length` tokens has room for.
    pub(super) fn room(&self, max_length: usize, pair: bool) -> Result<usize> {
        let added = self.ends.as_ref().map_or(0, |ends| ends.added_tokens(pair));
        max_length.checked_sub(added).ok_or_else(|| {
            Error::Input(format!(
                "a maximum length of {max_length} has no room for {added} special tokens"
            ))
        })
    }

    /// Cuts tokens to `room`, and adds the special ones. Returns the sequence of each token too.
    fn within(
        &self,
        first: tokenizers::Encoding,
        second: Option<tokenizers::Encoding>,
        room: usize,
        side: Side,
    ) -> tokenizers::Result<(Encoding, Vec<Option<usize>>)> {
        let found = first.len() + second.as_ref().map_or(0, |e| e.len());
        let params = TruncationParams {
            max_length: room,
            direction: direction(side),
            ..TruncationParams::default()
        };
        let (mut first, mut second) = truncate_encodings(first, second, &params)?;
        // The crate keeps the tokens that were cut off, and would process them for nothing.
        first.take_overflowing();
        if let Some(second) = &mut second {
            second.take_overflowing();
        }
        let kept = first.len() + second.as_ref().map_or(0, |e| e.len());
        let (mut encoding, sequences) = self.finished(first, second)?;
        encoding.truncated = kept < found;
        Ok((encoding, sequences))
    }

    /// Adds the special tokens. Returns the sequence of each token too.
    pub(super) fn finished(
        &self,
        first: tokenizers::Encoding,
        second: Option<tokenizers::Encoding>,
    ) -> tokenizers::Result<(Encoding, Vec<Option<usize>>)> {
        let whole = match &self.ends {
            Some(ends) => ends.process(first, second, true)?,
            None => self.inner.post_process(first, second, true)?,
        };
        let sequences = whole.get_sequence_ids();
        let encoding = Encoding {
            ids: whole.get_ids().to_vec(),
            type_ids: match self.has_types {
                true => whole.get_type_ids().to_vec(),
                false => vec![0; whole.len()],
            },
            offsets: whole.get_offsets().to_vec(),
            tokens: whole.get_tokens().to_vec(),
            words: whole.get_word_ids().to_vec(),
            special: whole.get_special_tokens_mask().iter().map(|&m| m != 0).collect(),
            truncated: false,
            prompt: 0,
        };
        Ok((encoding, sequences))
    }

    /// The tokens of a pair, each text as in [`Tokenizer::part`]. Where both have more than `room`
    /// tokens, each keeps half of the room, and the longer one gets the odd token: more is encoded
    /// until it is known which is longer. Of texts with more than [`MAX_COMPARED`] tokens, the
    /// longer is the one with more bytes.
    fn parts<'a>(
        &self,
        text: &'a str,
        pair: &'a str,
        room: usize,
        side: Side,
    ) -> tokenizers::Result<(Part<'a>, Part<'a>)> {
        let direction = direction(side);
        let mut tokens = room;
        loop {
            let mut first = self.part(text, tokens, side)?;
            let mut second = self.part(pair, tokens, side)?;
            let (a, b) = (first.1.len(), second.1.len());
            let known = match (first.0.cut, second.0.cut) {
                (false, false) => true,
                (true, false) => a > b,
                (false, true) => b > a,
                (true, true) => false,
            };
            if known || room.is_multiple_of(2) || a <= room || b <= room {
                return Ok((first, second));
            }
            if tokens > MAX_COMPARED.max(room) {
                let shorter = if text.len() > pair.len() { &mut second } else { &mut first };
                shorter.1.truncate(room, 0, direction);
                return Ok((first, second));
            }
            tokens = tokens.saturating_mul(4);
        }
    }

    /// The tokens of a text, or of a part at one side that has more than `room` tokens: a text of
    /// megabytes costs no more than its part.
    fn part<'a>(&self, text: &'a str, room: usize, side: Side) -> tokenizers::Result<Part<'a>> {
        let mut tokens = room;
        loop {
            let excerpt = match &self.excerpts {
                Some(excerpts) if tokens < text.len() => excerpts.take(text, tokens, side),
                _ => Excerpt::whole(text),
            };
            let encoded = self.inner.encode(excerpt.text.as_ref(), false)?;
            if !excerpt.cut || encoded.len() > room {
                return Ok((excerpt, encoded));
            }
            tokens = tokens.saturating_mul(4).max(64);
        }
    }

    /// Encodes many texts or pairs, in parallel on the current rayon pool; the results are in the
    /// order of the inputs.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch<S: AsRef<str> + Sync>(
        &self,
        texts: &[(S, Option<S>)],
        max_length: usize,
    ) -> Result<Vec<Encoding>> {
        texts
            .par_iter()
            .map(|(text, pair)| {
                self.encode(text.as_ref(), pair.as_ref().map(S::as_ref), max_length)
            })
            .collect()
    }

    /// How many tokens a prompt has at the beginning of a text, counted as in
    /// sentence-transformers: the tokens of the prompt alone, at most `max_length`, without the
    /// special token at its end.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn prompt_tokens(&self, prompt: &str, max_length: usize) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let encoding = self.encode(prompt, None, max_length)?;
        Ok(encoding.len() - usize::from(encoding.special.last() == Some(&true)))
    }
}

pub(super) fn direction(side: Side) -> TruncationDirection {
    match side {
        Side::Left => TruncationDirection::Left,
        Side::Right => TruncationDirection::Right,
    }
}

/// A place that ends with a whole character. The library takes a byte for the space that it puts
/// before a text, also where the text begins with a longer character.
pub(super) fn whole(text: &str, (start, mut end): (usize, usize)) -> (usize, usize) {
    while end > start && !text.is_char_boundary(end) {
        end -= 1;
    }
    (start, end)
}
