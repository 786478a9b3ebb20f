//! What the tokens of a vocabulary stand for in a text, and where words are.

use std::ops::Range;

use serde_json::Value;
use tokenizers::{ModelWrapper, PreTokenizerWrapper};
use unicode_categories::UnicodeCategories;

use super::Tokenizer;
use super::parts::SPACE;
use crate::error::{Error, Result};

/// What a token stands for in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A word, without the spaces around it.
    Word(String),
    /// The continuation of the word before it: `##ing` of WordPiece.
    Continuation(String),
    /// Exactly this text. It begins with a space where a word begins.
    Exact(String),
}

impl Tokenizer {
    /// What a token stands for in a text.
    pub(crate) fn piece(&self, id: u32) -> Piece {
        let token = self.token(id).unwrap_or_default();
        if self.inner.get_added_tokens_decoder().contains_key(&id) {
            return Piece::Word(token);
        }
        if self.inner.get_pre_tokenizer().is_some_and(is_byte_level) {
            return Piece::Exact(self.decode(&[id], false).unwrap_or(token));
        }
        match self.inner.get_model() {
            ModelWrapper::WordPiece(words) => {
                match token.strip_prefix(&words.continuing_subword_prefix) {
                    Some(rest) => Piece::Continuation(rest.to_string()),
                    None => Piece::Word(token),
                }
            }
            ModelWrapper::Unigram(_) | ModelWrapper::BPE(_) => {
                Piece::Exact(token.replace(SPACE, " "))
            }
            ModelWrapper::WordLevel(_) => Piece::Word(token),
        }
    }

    /// Whether an added token takes the spaces before it.
    pub(crate) fn takes_space(&self, id: u32) -> bool {
        self.inner.get_added_tokens_decoder().get(&id).is_some_and(|token| token.lstrip)
    }

    /// Whether the tokenizer's own words are split at punctuation and Chinese characters, as BERT's
    /// are.
    pub(crate) fn has_words(&self) -> bool {
        matches!(self.inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
    }

    /// Lets a byte-level tokenizer put a space before a text that has none, so that its first word
    /// is encoded as it is after a space: `add_prefix_space` of `transformers`, which the encoding of
    /// given words needs. [`Tokenizer::save`] writes the setting. Returns whether it was off.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer's parts cannot be changed.
    pub fn set_prefix_space(&mut self) -> Result<bool> {
        let lacks = self.inner.get_pre_tokenizer().is_some_and(lacks_prefix_space);
        if !lacks {
            return Ok(false);
        }
        let failed = |e: serde_json::Error| Error::tokenizer(&self.source, e.to_string());
        let changed = |part: serde_json::Result<Value>| {
            let mut part = part?;
            set_everywhere(&mut part, "add_prefix_space");
            Ok(part)
        };
        let words =
            changed(serde_json::to_value(self.inner.get_pre_tokenizer())).map_err(failed)?;
        let ends = changed(serde_json::to_value(&self.ends)).map_err(failed)?;
        let words: Option<PreTokenizerWrapper> = serde_json::from_value(words).map_err(failed)?;
        let ends = serde_json::from_value(ends).map_err(failed)?;
        self.inner.with_pre_tokenizer(words);
        self.ends = ends;
        self.set_config([("add_prefix_space", true.into())]);
        Ok(true)
    }
}

/// Switches on a key of an object and of all in it, where it is there.
fn set_everywhere(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match name == key {
                    true => *value = Value::Bool(true),
                    false => set_everywhere(value, key),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| set_everywhere(value, key)),
        _ => {}
    }
}

fn is_byte_level(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(_) => true,
        PreTokenizerWrapper::Sequence(all) => all.as_ref().iter().any(is_byte_level),
        _ => false,
    }
}

/// Whether a word means another one at the beginning of a text than after a space.
pub(super) fn lacks_prefix_space(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(bytes) => !bytes.add_prefix_space,
        PreTokenizerWrapper::Sequence(all) => all.as_ref().iter().any(lacks_prefix_space),
        _ => false,
    }
}

/// A part of a text without the white space at its ends. A part of white space alone is empty.
pub(crate) fn trimmed(text: &str, (start, end): (usize, usize)) -> Range<usize> {
    let part = text.get(start..end).unwrap_or_default();
    let from = start + part.len() - part.trim_start().len();
    from..(start + part.trim_end().len()).max(from)
}

/// Whether a word goes on at a byte of a text: neither the character before it nor the one after is
/// white space, punctuation, or of a script that is written without spaces.
pub(crate) fn goes_on(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    let after = text.get(at..).and_then(|text| text.chars().next());
    before.zip(after).is_some_and(|(before, after)| !stands_alone(before) && !stands_alone(after))
}

fn stands_alone(c: char) -> bool {
    let without_spaces = matches!(
        u32::from(c),
        // Chinese, Japanese, Thai and Lao, Burmese, Khmer.
        0x3040..=0x30FF
            | 0x3400..=0x4DBF
            | 0x4E00..=0x9FFF
            | 0xF900..=0xFAFF
            | 0x20000..=0x2FA1F
            | 0x0E00..=0x0EFF
            | 0x1000..=0x109F
            | 0x1780..=0x17FF
    );
    c.is_whitespace() || c.is_ascii_punctuation() || c.is_punctuation() || without_spaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_loses_the_spaces_at_its_ends() {
        let text = "a  é b";
        assert_eq!(trimmed(text, (1, 6)), 3..5);
        assert_eq!(trimmed(text, (1, 3)), 3..3);
        assert_eq!(trimmed(text, (3, 5)), 3..5);
    }

    #[test]
    fn words_end_at_spaces_punctuation_and_in_scripts_without_spaces() {
        let text = "über 3,5 東京 naïve";
        let on: Vec<usize> =
            text.char_indices().map(|(at, _)| at).filter(|&at| goes_on(text, at)).collect();
        let of = |at: usize| text[at..].chars().next().unwrap();
        assert_eq!(on.iter().map(|&at| of(at)).collect::<String>(), "beraïve");
    }
}
