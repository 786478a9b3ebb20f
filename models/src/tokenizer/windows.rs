//! A question with a long text, as windows of tokens that overlap.

use std::ops::Range;

use super::encode::{direction, whole};
use super::{Encoding, Tokenizer};
use crate::error::{Error, Result};

/// A question with a part of the text that may answer it: `[CLS] question [SEP] part [SEP]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The tokens. Those of the text have their offsets in the whole text, in bytes.
    pub encoding: Encoding,
    /// Which tokens are the text's.
    pub context: Range<usize>,
}

impl Window {
    /// The tokens of the window whose text is that of `place` (bytes of the text): the last token
    /// that starts at its start or before, and the first that ends at its end or after. `None`
    /// where the window does not hold all of it.
    ///
    /// ```
    /// use gradus_models::Tokenizer;
    ///
    /// # fn main() -> gradus_models::Result<()> {
    /// let tokenizer = Tokenizer::train_wordpiece(&["who wrote it", "ada wrote it"], 60)?;
    /// let window = &tokenizer.encode_windows("who?", "ada wrote it", 16, 4)?[0];
    /// let (start, end) = window.tokens_of(&(4..12)).unwrap();
    /// assert_eq!(window.encoding.tokens[start..=end], ["wrote", "it"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tokens_of(&self, place: &Range<usize>) -> Option<(usize, usize)> {
        let offsets = self.encoding.offsets.get(self.context.clone())?;
        let (first, last) = (offsets.first()?, offsets.last()?);
        if first.0 > place.start || last.1 < place.end {
            return None;
        }
        let start = offsets.iter().rposition(|offset| offset.0 <= place.start)?;
        let end = offsets.iter().position(|offset| offset.1 >= place.end)?;
        Some((self.context.start + start, self.context.start + end))
    }
}

impl Tokenizer {
    /// Encodes a question with a text, the context, in windows of at most `max_length` tokens,
    /// special tokens included, as `truncation="only_second"` with `return_overflowing_tokens` in
    /// `transformers`. Only the context is cut: neighbouring windows have `stride` of its tokens in
    /// common. There is always a window, for an empty context too.
    ///
    /// ```
    /// use gradus_models::Tokenizer;
    ///
    /// # fn main() -> gradus_models::Result<()> {
    /// let tokenizer = Tokenizer::train_wordpiece(&["a b c d e f"], 60)?;
    /// let windows = tokenizer.encode_windows("e", "a b c d e f", 8, 2)?;
    /// let texts: Vec<_> =
    ///     windows.iter().map(|w| w.encoding.tokens[w.context.clone()].join(" ")).collect();
    /// assert_eq!(texts, ["a b c d", "c d e f"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] when the question leaves no room for more than `stride` tokens of a context
    /// that must be cut; [`Error::Tokenizer`] when the tokenizer fails.
    pub fn encode_windows(
        &self,
        question: &str,
        context: &str,
        max_length: usize,
        stride: usize,
    ) -> Result<Vec<Window>> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&self.source, e.to_string());
        let texts = [question, context];
        let question = self.inner.encode(question, false).map_err(failed)?;
        let mut context = self.inner.encode(context, false).map_err(failed)?;
        let room = self.room(max_length, true)?.saturating_sub(question.len());
        let mut rest = Vec::new();
        if context.len() > room {
            if room <= stride {
                return Err(Error::Input(format!(
                    "the question has {} tokens, so that a window of {max_length} tokens has room \
                     for {room} of the context, which must be more than the {stride} that windows \
                     share; shorten the question, or choose longer windows or a smaller stride",
                    question.len()
                )));
            }
            context.truncate(room, stride, direction(self.side));
            rest = context.take_overflowing();
        }
        let window = |part| {
            let (mut encoding, sequences) = self.finished(question.clone(), Some(part))?;
            for (i, place) in encoding.offsets.iter_mut().enumerate() {
                if !encoding.special[i] {
                    *place = whole(texts[usize::from(sequences[i] == Some(1))], *place);
                }
            }
            let of_context = |at: &usize| sequences[*at] == Some(1) && !encoding.special[*at];
            let first = (0..encoding.len()).find(of_context).unwrap_or(encoding.len());
            let last = (first..encoding.len()).rfind(of_context).map_or(first, |last| last + 1);
            Ok(Window { encoding, context: first..last })
        };
        std::iter::once(context).chain(rest).map(window).collect::<Result<_, _>>().map_err(failed)
    }
}
