//! A text as tokens.

use std::ops::Range;

/// One text, or pair of texts, as tokens: `[CLS] a … [SEP]` or `[CLS] a … [SEP] b … [SEP]`. All
/// vectors have the same length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// 0 for the first text with its `[CLS]` and `[SEP]`, 1 for the second with its `[SEP]`.
    pub type_ids: Vec<u32>,
    /// Where each token stands in its text, in **bytes** (`&text[start..end]`); `(0, 0)` for an
    /// added special token. [`char_offsets`] converts to characters, which Python counts.
    pub offsets: Vec<(usize, usize)>,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Which word of its text each token belongs to, from 0; `None` for an added special token.
    pub words: Vec<Option<u32>>,
    /// Whether the token was added (`[CLS]`, `[SEP]`) rather than found in the text.
    pub special: Vec<bool>,
    /// Whether tokens were cut off to keep within the maximum length.
    pub truncated: bool,
    /// How many tokens at the beginning are a prompt
    /// ([`Tokenizer::prompt_tokens`](super::Tokenizer::prompt_tokens)), which some models leave out
    /// when they pool. 0 without a prompt.
    pub prompt: usize,
}

impl Encoding {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens; only a tokenizer without special tokens gives that.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Where the first token of each given word stands, in an encoding of `count` words by
    /// [`Tokenizer::encode_words`](super::Tokenizer::encode_words). `None` for a word without a
    /// token, and for one whose first token was cut off.
    pub fn first_tokens(&self, count: usize) -> Vec<Option<usize>> {
        let mut places = vec![None; count];
        let mut last = None;
        for (at, word) in self.words.iter().enumerate() {
            let Some(word) = word.filter(|_| !self.special[at]).map(|word| word as usize) else {
                continue;
            };
            // A cut on the left may go through a word.
            let cut = self.truncated && last.is_none() && self.offsets[at].0 > 0;
            if last.replace(word) != Some(word)
                && !cut
                && let Some(place) = places.get_mut(word)
            {
                *place = Some(at);
            }
        }
        places
    }
}

/// Converts offsets in bytes, as [`Encoding::offsets`] has them, into offsets in characters
/// (Unicode code points).
pub fn char_offsets(text: &str, offsets: &[(usize, usize)]) -> Vec<(usize, usize)> {
    if text.is_ascii() {
        return offsets.to_vec();
    }
    let starts = |range: Range<usize>| {
        let bytes = text.as_bytes().get(range).unwrap_or_default();
        // The second and later bytes of a character are 0b10xxxxxx.
        bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
    };
    // Counting goes from one offset to the next, which is mostly near.
    let (mut from, mut count) = (0, 0);
    let mut chars = |at: usize| {
        let at = at.min(text.len());
        count = if at < from { count - starts(at..from) } else { count + starts(from..at) };
        from = at;
        count
    };
    offsets.iter().map(|&(start, end)| (chars(start), chars(end))).collect()
}
