//! Text to ids: WordPiece, byte-level BPE and SentencePiece's Unigram over the `tokenizers` crate.
//!
//! A tokenizer file may carry padding and truncation of its own (a sentence-embedding model's often
//! pads to 128). Gradus never pads, and truncates at a length that the caller gives, so both are
//! switched off on loading; the side on which a long text is cut stays.
//!
//! ```
//! use gradus_models::Tokenizer;
//!
//! # fn main() -> gradus_models::Result<()> {
//! let tokenizer = Tokenizer::train_wordpiece(&["where is my card", "where is my card now"], 60)?;
//! let encoding = tokenizer.encode("Where is my card?", None, 512)?;
//! assert_eq!(encoding.tokens, ["[CLS]", "where", "is", "my", "card", "[UNK]", "[SEP]"]);
//! assert_eq!(tokenizer.decode(&encoding.ids, true)?, "where is my card");
//! # Ok(())
//! # }
//! ```

mod class;
mod encode;
mod encoding;
mod excerpt;
mod file;
mod learn;
mod long;
mod open;
mod options;
mod parts;
mod pieces;
mod sentencepiece;
mod vocabulary;
mod windows;
mod wordpiece;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokenizers::PostProcessorWrapper;

use crate::error::{Error, Result};
use crate::files;
pub use encoding::{Encoding, char_offsets};
use excerpt::Excerpts;
pub use excerpt::Side;
pub(crate) use pieces::{Piece, goes_on, trimmed};
#[cfg(feature = "hub")]
pub(crate) use vocabulary::TOKENIZERS;
pub(crate) use vocabulary::has_tokenizer;
pub use windows::Window;

/// The ids of the special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Special {
    pad: Option<u32>,
    unk: Option<u32>,
    cls: Option<u32>,
    sep: Option<u32>,
    mask: Option<u32>,
}

/// Text to ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Without its post-processor, which must run once, after the cut.
    inner: tokenizers::Tokenizer,
    /// The post-processor: the special tokens at the ends of a text.
    ends: Option<PostProcessorWrapper>,
    /// `tokenizer_config.json`, written back as it was read.
    config: Option<String>,
    /// The file or folder that it was read from, for errors.
    source: PathBuf,
    special: Special,
    vocab_size: usize,
    max_length: Option<usize>,
    /// How a part of a long text is taken; `None` for a tokenizer that needs the whole text.
    excerpts: Option<Excerpts>,
    /// On which side a long text is cut.
    side: Side,
    /// Whether the model sees token types.
    has_types: bool,
    /// Notes for a person.
    notes: Vec<String>,
}

impl Tokenizer {
    /// Writes `tokenizer.json`, and `tokenizer_config.json` where the tokenizer had one, so that
    /// `AutoTokenizer` of `transformers` loads the folder. Each file is written under another name
    /// and then renamed.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        let path = dir.join("tokenizer.json");
        files::write_atomic(&path, self.to_json()?.as_bytes())?;
        match &self.config {
            Some(config) => {
                files::write_atomic(&dir.join("tokenizer_config.json"), config.as_bytes())
            }
            None => Ok(()),
        }
    }

    /// The text of `tokenizer.json`.
    fn to_json(&self) -> Result<String> {
        let mut whole = self.inner.clone();
        whole.with_post_processor(self.ends.clone());
        whole.to_string(true).map_err(|e| Error::tokenizer(&self.source, e.to_string()))
    }

    /// The text of the ids, without the special tokens if `skip_special`. Ids outside the
    /// vocabulary are left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the file's decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|e| Error::tokenizer(&self.source, e.to_string()))
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The rows that a model's embedding needs: the highest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The longest input that the tokenizer's own configuration allows, where it states one.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Tokens that were added to the vocabulary, and special tokens, by their ids.
    pub(crate) fn added(&self) -> BTreeMap<u32, String> {
        self.inner.get_added_tokens_decoder().into_iter().map(|(id, t)| (id, t.content)).collect()
    }

    /// On which side a text of too many tokens is cut, as the tokenizer's files say.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Notes for a person about the tokenizer's files.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The id of `[PAD]`, or `<pad>`.
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pad
    }

    /// The id of `[UNK]`, or `<unk>`.
    pub fn unk_id(&self) -> Option<u32> {
        self.special.unk
    }

    /// The id of `[CLS]`, or `<s>`.
    pub fn cls_id(&self) -> Option<u32> {
        self.special.cls
    }

    /// The id of `[SEP]`, or `</s>`.
    pub fn sep_id(&self) -> Option<u32> {
        self.special.sep
    }

    /// The id of `[MASK]`, or `<mask>`; a tokenizer without one cannot be used for masked language models.
    pub fn mask_id(&self) -> Option<u32> {
        self.special.mask
    }
}

#[cfg(test)]
mod tests;
