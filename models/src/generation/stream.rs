//! The text of tokens that come one after another.

use crate::{Result, Tokenizer};

/// Turns tokens into text as they come. A character may be several tokens of a byte-level
/// vocabulary; its text comes with the last of them.
pub(crate) struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// The tokens before are not needed any more to decode the later ones.
    start: usize,
    /// The text of the tokens before has been given out.
    given: usize,
}

impl<'a> TextStream<'a> {
    /// A stream after the tokens of a prompt, whose text is not given out.
    pub fn after(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Self {
        // Some decoders put a space between tokens: a few tokens of the prompt tell it.
        let ids = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        TextStream { tokenizer, start: 0, given: ids.len(), ids }
    }

    /// The text that a token completes; none inside a character.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.rest()?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        (self.start, self.given) = (self.given, self.ids.len());
        Ok(text)
    }

    /// The text of the tokens that complete no character, at the end.
    pub fn end(self) -> Result<String> {
        self.rest()
    }

    /// The text that has not been given out.
    fn rest(&self) -> Result<String> {
        let before = self.tokenizer.decode(&self.ids[self.start..self.given], true)?;
        let all = self.tokenizer.decode(&self.ids[self.start..], true)?;
        Ok(all.get(before.len()..).unwrap_or_default().to_string())
    }
}

/// The tokens of a prompt that a decoder looks at.
const CONTEXT: usize = 8;
