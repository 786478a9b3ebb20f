//! Text to ids: BERT's WordPiece over the `tokenizers` crate.
//!
//! A tokenizer file may carry padding and truncation of its own (a sentence-embedding model's often pads to 128).
//! Gradus never pads, and truncates at a length that the caller gives, so both are switched off on loading.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PostProcessor, PreTokenizedString,
    PreTokenizer, TruncationDirection, TruncationParams, truncate_encodings,
};

use crate::error::{Error, Result};
pub use crate::excerpt::Side;
use crate::excerpt::{Excerpt, Excerpts};
use crate::files;
use crate::tokenizer_file::{assemble, optional, parse, parse_config, special_name, text};
use crate::wordpiece;

/// One text, or pair of texts, as tokens: `[CLS] a … [SEP]` or `[CLS] a … [SEP] b … [SEP]`. All the vectors have one
/// length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// 0 for the first text with its `[CLS]` and `[SEP]`, 1 for the second with its `[SEP]`.
    pub type_ids: Vec<u32>,
    /// Where each token stands in its text, in **bytes** (`&text[start..end]`); `(0, 0)` for an added special token.
    /// [`char_offsets`] converts to characters, which is what Python counts.
    pub offsets: Vec<(usize, usize)>,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Which word of its text each token belongs to, from 0; `None` for an added special token.
    pub words: Vec<Option<u32>>,
    /// Whether the token was added (`[CLS]`, `[SEP]`) rather than found in the text.
    pub special: Vec<bool>,
    /// Whether tokens were cut off to keep within the maximum length.
    pub truncated: bool,
}

impl Encoding {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none, which only a tokenizer without special tokens gives.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Converts offsets in bytes, as [`Encoding::offsets`] has them, into offsets in characters (Unicode code points).
pub fn char_offsets(text: &str, offsets: &[(usize, usize)]) -> Vec<(usize, usize)> {
    if text.is_ascii() {
        return offsets.to_vec();
    }
    let starts = |range: Range<usize>| {
        let bytes = text.as_bytes().get(range).unwrap_or_default();
        // A byte that goes on with a character is 0b10xxxxxx.
        bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
    };
    // From one offset to the next, which is mostly near.
    let (mut from, mut count) = (0, 0);
    let mut chars = |at: usize| {
        let at = at.min(text.len());
        count = if at < from { count - starts(at..from) } else { count + starts(from..at) };
        from = at;
        count
    };
    offsets.iter().map(|&(start, end)| (chars(start), chars(end))).collect()
}

/// The ids of the tokens that have a meaning of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Special {
    pad: Option<u32>,
    unk: Option<u32>,
    cls: Option<u32>,
    sep: Option<u32>,
    mask: Option<u32>,
}

/// The special tokens of a vocabulary trained here, in the order of their ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Text to ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// `tokenizer_config.json`, written back as it was read.
    config: Option<String>,
    /// Where it came from, for errors.
    source: PathBuf,
    special: Special,
    vocab_size: usize,
    max_length: Option<usize>,
    /// How a long text is encoded in part; not for all tokenizers.
    pub(crate) excerpts: Option<Excerpts>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`, or else `vocab.txt` with what `tokenizer_config.json`
    /// says of lower case, accents and Chinese characters.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when there is neither, or the file is malformed; [`Error::Io`] when it cannot be read.
    pub fn from_folder(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let config = optional(&dir.join("tokenizer_config.json"))?;
        let json = dir.join("tokenizer.json");
        if json.is_file() {
            let file = serde_json::from_slice(&files::read(&json)?)
                .map_err(|e| Error::tokenizer(&json, format!("not a tokenizer file: {e}")))?;
            let inner = parse(file, &json)?;
            return Self::build(inner, config, json);
        }
        let vocab = dir.join("vocab.txt");
        if vocab.is_file() {
            return Self::from_vocab(vocab, config);
        }
        Err(Error::tokenizer(
            dir,
            "the folder has neither tokenizer.json nor vocab.txt; copy one from the model it belongs to",
        ))
    }

    fn from_vocab(path: PathBuf, config: Option<String>) -> Result<Self> {
        let text = text(&path)?;
        let vocab: Vec<&str> = text.lines().map(str::trim_end).collect();
        let options = parse_config(config.as_deref(), &path)?;
        let flag =
            |key: &str, default: bool| options.get(key).and_then(Value::as_bool).unwrap_or(default);
        let names = SPECIAL.map(|name| special_name(&options, name));
        if let Some(missing) = names.iter().skip(1).take(3).find(|n| !vocab.contains(&n.as_str())) {
            return Err(Error::tokenizer(&path, format!("the vocabulary has no {missing} token")));
        }
        let normalizer = BertNormalizer::new(
            true,
            flag("tokenize_chinese_chars", true),
            options.get("strip_accents").and_then(Value::as_bool),
            flag("do_lower_case", true),
        );
        let inner = assemble(&vocab, &names, normalizer, &path)?;
        Self::build(inner, config, path)
    }

    fn build(
        mut inner: tokenizers::Tokenizer,
        config: Option<String>,
        source: PathBuf,
    ) -> Result<Self> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&source, e.to_string());
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        let options = parse_config(config.as_deref(), &source)?;
        let id = |name: &str| inner.token_to_id(&special_name(&options, name));
        let special = Special {
            pad: id("[PAD]"),
            unk: id("[UNK]"),
            cls: id("[CLS]"),
            sep: id("[SEP]"),
            mask: id("[MASK]"),
        };
        let Some(last) = inner.get_vocab(true).into_values().max() else {
            return Err(Error::tokenizer(&source, "the vocabulary is empty"));
        };
        // Where there is no limit, `transformers` writes a very large number.
        let max_length = options.get("model_max_length").and_then(Value::as_u64);
        let added = inner.get_added_tokens_decoder();
        let (normalizer, words) = (inner.get_normalizer(), inner.get_pre_tokenizer());
        let excerpts = Excerpts::new(normalizer, words, inner.get_model(), added.values());
        Ok(Tokenizer {
            inner,
            config,
            source,
            special,
            vocab_size: last as usize + 1,
            max_length: max_length.filter(|&n| n < 1 << 32).map(|n| n as usize),
            excerpts,
        })
    }

    /// Learns a lower-case WordPiece vocabulary of at most `vocab_size` tokens from texts: no file and no network is
    /// needed to train from scratch. `[PAD]` is 0, then `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`. The same texts give the
    /// same vocabulary, on every machine and with any number of threads.
    ///
    /// # Errors
    /// [`Error::Input`] when `vocab_size` has no room for a letter, or the texts hold no words.
    pub fn train_wordpiece<S: AsRef<str> + Sync>(texts: &[S], vocab_size: usize) -> Result<Self> {
        if vocab_size < SPECIAL.len() + 2 {
            return Err(Error::Input(format!(
                "a vocabulary of {vocab_size} has no room beside the {} special tokens",
                SPECIAL.len()
            )));
        }
        let source = PathBuf::from("trained vocabulary");
        let words = count_words(texts).map_err(|e| Error::tokenizer(&source, e.to_string()))?;
        if words.is_empty() {
            return Err(Error::Input("the texts to learn a vocabulary from hold no words".into()));
        }
        let vocab = wordpiece::learn(&words, &SPECIAL, vocab_size);
        let vocab: Vec<&str> = vocab.iter().map(String::as_str).collect();
        let names = SPECIAL.map(str::to_string);
        let inner = assemble(&vocab, &names, BertNormalizer::default(), &source)?;
        let config = json!({
            "tokenizer_class": "BertTokenizer", "do_lower_case": true, "strip_accents": null,
            "tokenize_chinese_chars": true, "model_max_length": 512, "pad_token": "[PAD]", "unk_token": "[UNK]",
            "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
        });
        Self::build(inner, Some(format!("{config:#}\n")), source)
    }

    /// Writes `tokenizer.json`, and `tokenizer_config.json` where the tokenizer came with one, so that
    /// `AutoTokenizer` of `transformers` loads the folder. Each file is written aside and then renamed.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        let path = dir.join("tokenizer.json");
        let json =
            self.inner.to_string(true).map_err(|e| Error::tokenizer(&path, e.to_string()))?;
        files::write_atomic(&path, json.as_bytes())?;
        match &self.config {
            Some(config) => {
                files::write_atomic(&dir.join("tokenizer_config.json"), config.as_bytes())
            }
            None => Ok(()),
        }
    }

    /// Encodes a text or a pair of texts in at most `max_length` tokens, special tokens included (`usize::MAX` for no
    /// limit). Of a pair the longer text is cut first, as `longest_first` does in `transformers`.
    ///
    /// # Errors
    /// [`Error::Input`] when `max_length` has no room for the special tokens; [`Error::Tokenizer`] when the tokenizer
    /// fails, as one without an unknown token does on an unknown word.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Encoding> {
        self.encode_cut(text, pair, max_length, Side::Right)
    }

    /// As [`Tokenizer::encode`], with the side on which texts of too many tokens are cut. Where they are cut on the left,
    /// [`Encoding::words`] counts from somewhere in the part that is left out.
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
        let added = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(pair.is_some()));
        let room = max_length.checked_sub(added).ok_or_else(|| {
            Error::Input(format!(
                "a maximum length of {max_length} has no room for {added} special tokens"
            ))
        })?;
        let ((excerpt, first), second) = match pair {
            None => (self.part(text, room, side).map_err(failed)?, None),
            Some(pair) => {
                let (first, second) = self.parts(text, pair, room, side).map_err(failed)?;
                (first, Some(second))
            }
        };
        let (pair_excerpt, second) = second.unzip();
        let found = first.len() + second.as_ref().map_or(0, |e| e.len());
        let params = TruncationParams {
            max_length: room,
            direction: direction(side),
            ..TruncationParams::default()
        };
        let (mut first, mut second) = truncate_encodings(first, second, &params).map_err(failed)?;
        // What was cut off is kept there by the crate; it would be post-processed for nothing.
        first.take_overflowing();
        if let Some(second) = &mut second {
            second.take_overflowing();
        }
        let kept = first.len() + second.as_ref().map_or(0, |e| e.len());
        let whole = self.inner.post_process(first, second, true).map_err(failed)?;
        let special: Vec<bool> = whole.get_special_tokens_mask().iter().map(|&m| m != 0).collect();
        let sequences = whole.get_sequence_ids();
        let place = |i: usize| match &pair_excerpt {
            _ if special[i] => whole.get_offsets()[i],
            Some(pair) if sequences[i] == Some(1) => pair.place(whole.get_offsets()[i]),
            _ => excerpt.place(whole.get_offsets()[i]),
        };
        Ok(Encoding {
            ids: whole.get_ids().to_vec(),
            type_ids: whole.get_type_ids().to_vec(),
            offsets: (0..whole.len()).map(place).collect(),
            tokens: whole.get_tokens().to_vec(),
            words: whole.get_word_ids().to_vec(),
            special,
            truncated: kept < found,
        })
    }

    /// The tokens of a pair, as of single texts. Where both have more than `room` tokens, each keeps half of it, and the
    /// longer the odd one: so more is encoded until it is known which is longer. Of texts of more tokens than are compared
    /// that is the one of more bytes.
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
            if tokens > MOST_COMPARED.max(room) {
                let shorter = if text.len() > pair.len() { &mut second } else { &mut first };
                shorter.1.truncate(room, 0, direction);
                return Ok((first, second));
            }
            tokens = tokens.saturating_mul(4);
        }
    }

    /// The tokens of a text, or of so much of one side as has more than `room` tokens: a text of megabytes costs no more
    /// than what is kept of it.
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

    /// Encodes many, in parallel on the current rayon pool; the results are in the order of the inputs.
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

    /// The text of the ids, without the special tokens if `skip_special`. Ids outside the vocabulary are left out.
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

    /// The rows that a model's embedding needs: the highest id and one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The longest input that the tokenizer's own configuration allows, where it states one.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// The id of `[PAD]`.
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pad
    }

    /// The id of `[UNK]`.
    pub fn unk_id(&self) -> Option<u32> {
        self.special.unk
    }

    /// The id of `[CLS]`.
    pub fn cls_id(&self) -> Option<u32> {
        self.special.cls
    }

    /// The id of `[SEP]`.
    pub fn sep_id(&self) -> Option<u32> {
        self.special.sep
    }

    /// The id of `[MASK]`; a tokenizer without one cannot be used for masked language models.
    pub fn mask_id(&self) -> Option<u32> {
        self.special.mask
    }
}

/// Tokens of a pair that are encoded at most to see which of its texts is longer, where both are cut.
const MOST_COMPARED: usize = 8192;

/// What is encoded of a text, and its tokens.
type Part<'a> = (Excerpt<'a>, tokenizers::Encoding);

fn direction(side: Side) -> TruncationDirection {
    match side {
        Side::Left => TruncationDirection::Left,
        Side::Right => TruncationDirection::Right,
    }
}

/// The words of the texts, as BERT's lower-case normaliser and pre-tokenizer see them, with their counts, sorted.
fn count_words<S: AsRef<str> + Sync>(texts: &[S]) -> tokenizers::Result<Vec<(String, u64)>> {
    let counts = texts
        .par_iter()
        .try_fold(HashMap::new, |mut counts: HashMap<String, u64>, text| {
            let mut normalized = NormalizedString::from(text.as_ref());
            BertNormalizer::default().normalize(&mut normalized)?;
            let mut words = PreTokenizedString::from(normalized);
            BertPreTokenizer.pre_tokenize(&mut words)?;
            for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(word.to_string(), 1)),
                }
            }
            tokenizers::Result::Ok(counts)
        })
        .try_reduce(HashMap::new, |a, b| {
            let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
            for (word, count) in small {
                *large.entry(word).or_default() += count;
            }
            Ok(large)
        })?;
    let mut words: Vec<(String, u64)> = counts.into_iter().collect();
    words.sort_unstable();
    Ok(words)
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
