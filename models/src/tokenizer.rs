//! Text to ids: BERT's WordPiece over the `tokenizers` crate.
//!
//! A tokenizer file may carry padding and truncation of its own (a sentence-embedding model's often
//! pads to 128). Gradus never pads, and truncates at a length that the caller gives, so both are
//! switched off on loading; which end of a text is cut stays.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType, PostProcessor,
    PreTokenizedString, PreTokenizer, TruncationDirection, TruncationParams, truncate_encodings,
};

use crate::error::{Error, Result};
pub use crate::excerpt::Side;
use crate::excerpt::{Excerpt, Excerpts};
use crate::files;
use crate::tokenizer_file::{self as file, SPECIAL, text};
use crate::tokenizer_options::Options;
use crate::wordpiece;

/// One text, or pair of texts, as tokens: `[CLS] a … [SEP]` or `[CLS] a … [SEP] b … [SEP]`. All the
/// vectors have one length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// 0 for the first text with its `[CLS]` and `[SEP]`, 1 for the second with its `[SEP]`.
    pub type_ids: Vec<u32>,
    /// Where each token stands in its text, in **bytes** (`&text[start..end]`); `(0, 0)` for an
    /// added special token. [`char_offsets`] converts to characters, which is what Python counts.
    pub offsets: Vec<(usize, usize)>,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Which word of its text each token belongs to, from 0; `None` for an added special token.
    pub words: Vec<Option<u32>>,
    /// Whether the token was added (`[CLS]`, `[SEP]`) rather than found in the text.
    pub special: Vec<bool>,
    /// Whether tokens were cut off to keep within the maximum length.
    pub truncated: bool,
    /// How many tokens at the beginning are a prompt ([`Tokenizer::prompt_tokens`]), which some
    /// models leave out when they pool. 0 where there is none, or nobody asked.
    pub prompt: usize,
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

/// Converts offsets in bytes, as [`Encoding::offsets`] has them, into offsets in characters
/// (Unicode code points).
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
    /// On which side a long text is cut.
    side: Side,
    /// Whether the model sees token types.
    has_types: bool,
    /// What a person should be told.
    notes: Vec<String>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`, or else `vocab.txt`; with what
    /// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say. The result
    /// is that of `AutoTokenizer` of `transformers` 5: a WordPiece vocabulary under BERT's class is
    /// normalised as `tokenizer_config.json` says, not as `tokenizer.json` does.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when there is neither, a file is malformed, or the tokenizer is one
    /// that Gradus does not have (it is named); [`Error::Io`] when a file cannot be read.
    pub fn from_folder(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let mut options = Options::read(dir)?;
        let (json, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
        let has_file = json.is_file();
        let names = SPECIAL.map(|name| options.special(name));
        let mut notes = options.notes.clone();
        let (mut tokenizer, source) = if has_file {
            let mut tokenizer: Value = serde_json::from_slice(&files::read(&json)?)
                .map_err(|e| Error::tokenizer(&json, format!("not a tokenizer file: {e}")))?;
            if file::is_berts(&options, &tokenizer) {
                notes.extend(file::as_berts(&mut tokenizer, &names, &options));
            }
            (tokenizer, json)
        } else if vocab.is_file() {
            (Self::of_vocab(&vocab, &names, &options)?, vocab)
        } else {
            return Err(Error::tokenizer(
                dir,
                "the folder has neither tokenizer.json nor vocab.txt; copy one from the model it belongs to",
            ));
        };
        if tokenizer.is_object() {
            file::add_tokens(&mut tokenizer, &options, &names)
                .map_err(|message| Error::tokenizer(&source, message))?;
        }
        let cuts_left =
            options.cuts_left().map_err(|message| Error::tokenizer(&source, message))?;
        let file_cuts_left = tokenizer["truncation"]["direction"] == "Left";
        if file_cuts_left && cuts_left.is_none() {
            // What is written again has no truncation in tokenizer.json.
            options.map.insert("truncation_side".into(), json!("left"));
        }
        let inner = file::parse(tokenizer, &source)?;
        let config = config_text(dir, &options.map)?;
        let mut built = Self::build(inner, &options, config, source)?;
        let left = cuts_left.unwrap_or(file_cuts_left);
        built.side = if left { Side::Left } else { Side::Right };
        built.notes = notes;
        Ok(built)
    }

    fn of_vocab(path: &Path, names: &[String; 5], options: &Options) -> Result<Value> {
        let text = text(path)?;
        let vocab: Vec<&str> = text.lines().collect();
        let is_added = |name: &str| options.added.values().any(|t| t["content"] == name);
        let lacks = |name: &&String| !vocab.contains(&name.as_str()) && !is_added(name);
        if let Some(missing) = names.iter().skip(1).take(3).find(lacks) {
            return Err(Error::tokenizer(path, format!("the vocabulary has no {missing} token")));
        }
        Ok(file::assemble(&vocab, names, file::normalizer(options)))
    }

    fn build(
        mut inner: tokenizers::Tokenizer,
        options: &Options,
        config: Option<String>,
        source: PathBuf,
    ) -> Result<Self> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&source, e.to_string());
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(options.flag("split_special_tokens").unwrap_or(false));
        let id = |name: &str| inner.token_to_id(&options.special(name));
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
        let mut built = Tokenizer {
            inner,
            config,
            source,
            special,
            vocab_size: last as usize + 1,
            max_length: options.max_length(),
            excerpts: None,
            side: Side::Right,
            has_types: options.has_types(),
            notes: Vec::new(),
        };
        built.excerpts = built.find_excerpts();
        Ok(built)
    }

    fn find_excerpts(&self) -> Option<Excerpts> {
        let added = self.inner.get_added_tokens_decoder();
        let (normalizer, words) = (self.inner.get_normalizer(), self.inner.get_pre_tokenizer());
        Excerpts::new(normalizer, words, self.inner.get_model(), added.values())
    }

    /// Puts lower case before all else, unless the tokenizer makes it already: `do_lower_case` of
    /// sentence-transformers. What is written afterwards says so too.
    ///
    /// # Errors
    /// When an added token cannot be normalised.
    pub(crate) fn lower_case(&mut self) -> Result<()> {
        let Some(normalizer) = lower_cased(self.inner.get_normalizer()) else { return Ok(()) };
        self.inner
            .with_normalizer(Some(normalizer))
            .map_err(|e| Error::tokenizer(&self.source, e.to_string()))?;
        self.excerpts = self.find_excerpts();
        let text = self.config.as_deref().unwrap_or("{}");
        if let Ok(Value::Object(mut config)) = serde_json::from_str(text) {
            config.insert("do_lower_case".into(), json!(true));
            // Left out, accents would go with the upper case.
            if config.get("strip_accents").is_none_or(Value::is_null) {
                config.insert("strip_accents".into(), json!(false));
            }
            self.config = Some(format!("{:#}\n", Value::Object(config)));
        }
        Ok(())
    }

    /// Learns a lower-case WordPiece vocabulary of at most `vocab_size` tokens from texts: no file
    /// and no network is needed to train from scratch. `[PAD]` is 0, then `[UNK]`, `[CLS]`,
    /// `[SEP]`, `[MASK]`. The same texts give the same vocabulary, on every machine and with any
    /// number of threads.
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
        let tokenizer = file::assemble(&vocab, &names, BertNormalizer::default());
        let inner = file::parse(tokenizer, &source)?;
        let config = json!({
            "tokenizer_class": "BertTokenizer", "do_lower_case": true, "strip_accents": null,
            "tokenize_chinese_chars": true, "model_max_length": 512, "pad_token": "[PAD]", "unk_token": "[UNK]",
            "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
        });
        let options =
            Options { map: config.as_object().cloned().unwrap_or_default(), ..Options::default() };
        Self::build(inner, &options, Some(format!("{config:#}\n")), source)
    }

    /// Writes `tokenizer.json`, and `tokenizer_config.json` where the tokenizer came with one, so
    /// that `AutoTokenizer` of `transformers` loads the folder. Each file is written aside and then
    /// renamed.
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

    /// Encodes a text or a pair of texts in at most `max_length` tokens, special tokens included
    /// (`usize::MAX` for no limit). Of a pair the longer text is cut first, as `longest_first` does
    /// in `transformers`; on the side that the tokenizer's files name.
    ///
    /// # Errors
    /// [`Error::Input`] when `max_length` has no room for the special tokens; [`Error::Tokenizer`]
    /// when the tokenizer fails, as one without an unknown token does on an unknown word.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Encoding> {
        self.encode_cut(text, pair, max_length, self.side)
    }

    /// As [`Tokenizer::encode`], with the side on which texts of too many tokens are cut. Where
    /// they are cut on the left, [`Encoding::words`] counts from somewhere in the part that is left
    /// out.
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
            type_ids: match self.has_types {
                true => whole.get_type_ids().to_vec(),
                false => vec![0; whole.len()],
            },
            offsets: (0..whole.len()).map(place).collect(),
            tokens: whole.get_tokens().to_vec(),
            words: whole.get_word_ids().to_vec(),
            special,
            truncated: kept < found,
            prompt: 0,
        })
    }

    /// The tokens of a pair, as of single texts. Where both have more than `room` tokens, each
    /// keeps half of it, and the longer the odd one: so more is encoded until it is known which is
    /// longer. Of texts of more tokens than are compared that is the one of more bytes.
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

    /// The tokens of a text, or of so much of one side as has more than `room` tokens: a text of
    /// megabytes costs no more than what is kept of it.
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

    /// Encodes many, in parallel on the current rayon pool; the results are in the order of the
    /// inputs.
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

    /// How many tokens a prompt has at the beginning of a text, as sentence-transformers counts:
    /// those of the prompt by itself in at most `max_length` tokens, without the special token at
    /// its end.
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

    /// The rows that a model's embedding needs: the highest id and one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The longest input that the tokenizer's own configuration allows, where it states one.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Tokens that were added beside the vocabulary, and special ones, by their ids.
    pub(crate) fn added(&self) -> BTreeMap<u32, String> {
        self.inner.get_added_tokens_decoder().into_iter().map(|(id, t)| (id, t.content)).collect()
    }

    /// On which side a text of too many tokens is cut, as the tokenizer's files say.
    pub fn side(&self) -> Side {
        self.side
    }

    /// What a person should be told of the files that it came from.
    pub fn notes(&self) -> &[String] {
        &self.notes
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

/// A normaliser with lower case before it; `None` where it makes lower case already.
fn lower_cased(normalizer: Option<&NormalizerWrapper>) -> Option<NormalizerWrapper> {
    let parts = match normalizer {
        // In BERT's own, where the rest of the tokenizer knows of it.
        Some(NormalizerWrapper::BertNormalizer(bert)) => {
            let strip = bert.strip_accents.unwrap_or(bert.lowercase);
            let with_case =
                BertNormalizer::new(bert.clean_text, bert.handle_chinese_chars, Some(strip), true);
            return (!bert.lowercase).then(|| with_case.into());
        }
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let makes = |n: &NormalizerWrapper| match n {
        NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
        _ => false,
    };
    if parts.iter().any(makes) {
        return None;
    }
    let all = std::iter::once(NormalizerWrapper::from(Lowercase)).chain(parts).collect();
    Some(Sequence::new(all).into())
}

/// `tokenizer_config.json` as it is written again: as it was read, unless other files say more.
fn config_text(dir: &Path, map: &Map<String, Value>) -> Result<Option<String>> {
    let path = dir.join("tokenizer_config.json");
    let read = match path.is_file() {
        true => Some(text(&path)?),
        false => None,
    };
    let same =
        |text: &String| serde_json::from_str(text).is_ok_and(|m: Map<String, Value>| m == *map);
    match read {
        Some(text) if same(&text) => Ok(Some(text)),
        None if map.is_empty() => Ok(None),
        _ => Ok(Some(format!("{:#}\n", Value::Object(map.clone())))),
    }
}

/// Tokens of a pair that are encoded at most to see which of its texts is longer, where both are
/// cut.
const MOST_COMPARED: usize = 8192;

/// What is encoded of a text, and its tokens.
type Part<'a> = (Excerpt<'a>, tokenizers::Encoding);

fn direction(side: Side) -> TruncationDirection {
    match side {
        Side::Left => TruncationDirection::Left,
        Side::Right => TruncationDirection::Right,
    }
}

/// The words of the texts, as BERT's lower-case normaliser and pre-tokenizer see them, with their
/// counts, sorted.
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
