//! Raw text, packed into blocks of full length.

use crate::masking::Piece;
use crate::{Error, Result, Tokenizer};

/// A block of tokens: `[CLS]`, text, `[SEP]`. Where a document ends inside it, a `[SEP]` stands
/// between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Token ids.
    pub ids: Vec<u32>,
    /// What each token is to the masking.
    pub pieces: Vec<Piece>,
}

/// Packs a text into blocks of `max_length` tokens; the last may be shorter. A line is a paragraph,
/// an empty line ends a document. Lines are encoded in parallel on the current rayon pool.
///
/// # Errors
/// [`Error::Input`] when the tokenizer has no `[CLS]` or `[SEP]`, or `max_length` has no room for a
/// token next to them.
pub fn blocks(text: &str, tokenizer: &Tokenizer, max_length: usize) -> Result<Vec<Block>> {
    let (Some(cls), Some(sep)) = (tokenizer.cls_id(), tokenizer.sep_id()) else {
        return Err(Error::Input(
            "the tokenizer has no [CLS] or no [SEP], which blocks need".into(),
        ));
    };
    if max_length < 3 {
        return Err(Error::Input(format!(
            "a maximum length of {max_length} has no room for a token next to [CLS] and [SEP]"
        )));
    }
    let tokens = tokens(text, tokenizer, sep)?;
    let block = |tokens: &[(u32, Piece)]| {
        let ends = |id| std::iter::once((id, Piece::Special));
        let (ids, pieces) = ends(cls).chain(tokens.iter().copied()).chain(ends(sep)).unzip();
        Block { ids, pieces }
    };
    let useful = |tokens: &&[(u32, Piece)]| tokens.iter().any(|token| token.1 != Piece::Special);
    Ok(tokens.chunks(max_length - 2).filter(useful).map(block).collect())
}

/// The tokens of a text, with a `[SEP]` between its documents.
fn tokens(text: &str, tokenizer: &Tokenizer, sep: u32) -> Result<Vec<(u32, Piece)>> {
    let lines: Vec<(&str, Option<&str>)> = text.lines().map(|line| (line, None)).collect();
    let encodings = tokenizer.encode_batch(&lines, usize::MAX)?;
    let (mut tokens, mut document_ends) = (Vec::new(), false);
    for ((line, _), encoding) in lines.iter().zip(encodings) {
        if line.trim().is_empty() {
            document_ends = !tokens.is_empty();
            continue;
        }
        if std::mem::take(&mut document_ends) {
            tokens.push((sep, Piece::Special));
        }
        let mut word = None;
        for (i, &id) in encoding.ids.iter().enumerate().filter(|(i, _)| !encoding.special[*i]) {
            let piece = match word.replace(encoding.words[i]) {
                Some(before) if before == encoding.words[i] && before.is_some() => Piece::Later,
                _ => Piece::First,
            };
            tokens.push((id, piece));
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fills_blocks() {
        let text = "the tiger sleeps\n\n\nwho wakes it ?\nnot me\n\n";
        let tokenizer = Tokenizer::train_wordpiece(&[text], 40).unwrap();
        let (cls, sep) = (tokenizer.cls_id().unwrap(), tokenizer.sep_id().unwrap());
        let all = blocks(text, &tokenizer, usize::MAX).unwrap();
        assert_eq!(all.len(), 1);
        let line = |line: &str| {
            let ids = tokenizer.encode(line, None, 64).unwrap().ids;
            ids[1..ids.len() - 1].to_vec()
        };
        let truth = [
            vec![cls],
            line("the tiger sleeps"),
            vec![sep],
            line("who wakes it ?"),
            line("not me"),
            vec![sep],
        ];
        assert_eq!(all[0].ids, truth.concat());
        let special = all[0].pieces.iter().filter(|&&piece| piece == Piece::Special).count();
        assert_eq!(special, 3);
        // Pieces of a word follow its first.
        for (at, piece) in all[0].pieces.iter().enumerate() {
            let spelt = tokenizer.token(all[0].ids[at]).unwrap();
            assert_eq!(*piece == Piece::Later, spelt.starts_with("##"), "{spelt}");
        }
        let short = blocks(text, &tokenizer, 6).unwrap();
        assert!(short[..short.len() - 1].iter().all(|block| block.ids.len() == 6));
        let joined: Vec<u32> =
            short.iter().flat_map(|block| block.ids[1..block.ids.len() - 1].to_vec()).collect();
        assert_eq!(joined, all[0].ids[1..all[0].ids.len() - 1]);
    }

    #[test]
    fn what_gives_no_block() {
        let tokenizer = Tokenizer::train_wordpiece(&["some text"], 40).unwrap();
        assert!(blocks("\n \n", &tokenizer, 8).unwrap().is_empty());
        let error = blocks("some text", &tokenizer, 2).unwrap_err().to_string();
        assert!(error.contains("no room"), "{error}");
    }
}
