//! Long texts as one sequence of tokens.

use tokenizers::PreTokenizerWrapper;

use super::Tokenizer;
use crate::Result;

/// The least bytes of a piece: smaller ones would cost more than their tokens.
const PIECE: usize = 4 << 10;

impl Tokenizer {
    /// The tokens of a long text, its line ends among them, without special tokens around it.
    ///
    /// A byte-level tokenizer gets the text in pieces, in parallel on the current rayon pool: it
    /// makes no token of a line end and what follows it, so the tokens are the same.
    ///
    /// # Errors
    /// When the text cannot be encoded.
    pub fn encode_long(&self, text: &str) -> Result<Vec<u32>> {
        let pieces = if self.is_byte_level() { pieces(text) } else { vec![text] };
        let pairs: Vec<(&str, Option<&str>)> =
            pieces.into_iter().map(|text| (text, None)).collect();
        let encodings = self.encode_batch(&pairs, usize::MAX)?;
        let own = encodings.into_iter().flat_map(|encoding| {
            encoding.ids.into_iter().zip(encoding.special).filter(|(_, special)| !special)
        });
        Ok(own.map(|(id, _)| id).collect())
    }

    /// Whether texts are split as GPT-2 splits them, and no space is put before one.
    fn is_byte_level(&self) -> bool {
        let whole = self.inner.get_normalizer().is_none();
        let bytes = |words: &PreTokenizerWrapper| match words {
            PreTokenizerWrapper::ByteLevel(bytes) => !bytes.add_prefix_space && bytes.use_regex,
            _ => false,
        };
        whole && self.inner.get_pre_tokenizer().is_some_and(bytes)
    }
}

/// A text in pieces that end with a line end, and after which comes no white space.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    for (at, _) in text.match_indices('\n') {
        let end = at + 1;
        let next = text[end..].chars().next();
        if end - start >= PIECE && next.is_some_and(|next| !next.is_whitespace()) {
            pieces.push(&text[start..end]);
            start = end;
        }
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_change_no_tokens() {
        let verse =
            "Speak, speak.\n\nFirst  Citizen:\n\tYou are all resolved\n rather to die\n\n\n";
        let text = verse.repeat(300);
        let tokenizer = Tokenizer::train_byte_level([Ok(text.clone())], 300).unwrap();
        let whole = tokenizer.encode(&text, None, usize::MAX).unwrap().ids;
        assert_eq!(tokenizer.encode_long(&text).unwrap(), whole);
        let cut = pieces(&text);
        assert!(cut.len() > 3 && cut.concat() == text);
        assert!(cut[..cut.len() - 1].iter().all(|piece| piece.ends_with('\n')));
        assert_eq!(tokenizer.decode(&whole, true).unwrap(), text);
        assert!(pieces("").is_empty());
    }
}
