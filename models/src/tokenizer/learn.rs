//! A tokenizer learnt from texts.

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde_json::json;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

use super::class::{Class, END_OF_TEXT, SPECIAL};
use super::long::pieces;
use super::options::Options;
use super::vocabulary::{byte_pairs, word_piece};
use super::{Tokenizer, file, parts, wordpiece};
use crate::error::{Error, Result};

impl Tokenizer {
    /// Learns a lower-case WordPiece vocabulary of at most `vocab_size` tokens from texts. Training
    /// from scratch needs no file and no network. `[PAD]` is 0, then `[UNK]`, `[CLS]`, `[SEP]`,
    /// `[MASK]`. The same texts give the same vocabulary, on every machine and with any number of
    /// threads.
    ///
    /// # Errors
    /// [`Error::Input`] when `vocab_size` has no room for a letter, or the texts hold no words.
    pub fn train_wordpiece<S: AsRef<str> + Sync>(texts: &[S], vocab_size: usize) -> Result<Self> {
        Self::of_words(count(texts)?, vocab_size)
    }

    /// As [`train_wordpiece`](Tokenizer::train_wordpiece), from a text that comes in parts: one of
    /// them is in memory at a time, beside the counts of the words.
    ///
    /// # Errors
    /// As [`train_wordpiece`](Tokenizer::train_wordpiece); the first error of a part.
    pub fn train_wordpiece_in_parts(
        parts: impl IntoIterator<Item = Result<String>>,
        vocab_size: usize,
    ) -> Result<Self> {
        let mut words = Counts::new();
        for part in parts {
            let part = part?;
            let lines: Vec<&str> = part.lines().collect();
            words = together(words, count(&lines)?);
        }
        Self::of_words(words, vocab_size)
    }

    fn of_words(words: Counts, vocab_size: usize) -> Result<Self> {
        if vocab_size < SPECIAL.len() + 2 {
            return Err(Error::Input(format!(
                "a vocabulary of {vocab_size} has no room for words next to the {} special tokens",
                SPECIAL.len()
            )));
        }
        let source = PathBuf::from("trained vocabulary");
        if words.is_empty() {
            return Err(Error::Input("the texts to learn a vocabulary from hold no words".into()));
        }
        let words = sorted(words);
        let vocab = wordpiece::learn(&words, &SPECIAL, vocab_size);
        let vocab: Vec<&str> = vocab.iter().map(String::as_str).collect();
        let names = SPECIAL.map(str::to_string);
        let config = json!({
            "tokenizer_class": "BertTokenizer", "do_lower_case": true, "strip_accents": null,
            "tokenize_chinese_chars": true, "model_max_length": 512, "pad_token": "[PAD]", "unk_token": "[UNK]",
            "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
        });
        let options =
            Options { map: config.as_object().cloned().unwrap_or_default(), ..Options::default() };
        let mut tokenizer = word_piece(&vocab);
        file::add_tokens(&mut tokenizer, &options, &names, None)
            .map_err(|message| Error::tokenizer(&source, message))?;
        parts::set_bert(&mut tokenizer, &names, BertNormalizer::default());
        let inner = file::parse(tokenizer, &source)?;
        Self::build(inner, &names, &options, (Some(format!("{config:#}\n")), source))
    }
}

impl Tokenizer {
    /// Learns a byte-level BPE vocabulary of at most `vocab_size` tokens, as GPT-2's, from a text
    /// that comes in parts. `<|endoftext|>` is 0, the 256 bytes follow: with 257 tokens, each byte
    /// is one. Every text can be encoded. The same text gives the same vocabulary, as in
    /// [`train_wordpiece`](Tokenizer::train_wordpiece).
    ///
    /// ```
    /// # use gradus_models::Tokenizer;
    /// let tokenizer = Tokenizer::train_byte_level([Ok("to be or not to be".into())], 300)?;
    /// assert!(tokenizer.id("Ġbe").is_some()); // a word with the space before it
    /// let ids = tokenizer.encode("naïve 😀", None, usize::MAX)?.ids;
    /// assert_eq!(tokenizer.decode(&ids, true)?, "naïve 😀");
    /// # Ok::<(), gradus_models::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] when `vocab_size` has no room for the bytes; the first error of a part.
    pub fn train_byte_level(
        parts: impl IntoIterator<Item = Result<String>>,
        vocab_size: usize,
    ) -> Result<Self> {
        let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        alphabet.sort_unstable();
        let least = alphabet.len() + 1;
        if vocab_size < least {
            return Err(Error::Input(format!(
                "a vocabulary of {vocab_size} has no room for the 256 bytes and {END_OF_TEXT}; it \
                 must have {least} tokens or more"
            )));
        }
        let mut words = Counts::new();
        for part in parts {
            words = together(words, count_by(&pieces(&part?), byte_words)?);
        }
        let (symbols, merges) =
            wordpiece::learn_merges(&sorted(words), &[END_OF_TEXT], &alphabet, vocab_size);
        let config = json!({
            "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": false,
            "model_max_length": 1024, "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
        });
        let options =
            Options { map: config.as_object().cloned().unwrap_or_default(), ..Options::default() };
        let names = Class::Gpt2.names(&options, None);
        let source = PathBuf::from("trained vocabulary");
        let mut tokenizer = byte_pairs(&symbols, &merges);
        file::add_tokens(&mut tokenizer, &options, &names, None)
            .map_err(|message| Error::tokenizer(&source, message))?;
        parts::set_byte_level(&mut tokenizer, &options);
        let inner = file::parse(tokenizer, &source)?;
        Self::build(inner, &names, &options, (Some(format!("{config:#}\n")), source))
    }
}

/// How often each word occurs.
type Counts = HashMap<String, u64>;

/// The words of the texts after BERT's lower-case normaliser and pre-tokenizer, with their counts.
pub(super) fn count<S: AsRef<str> + Sync>(texts: &[S]) -> Result<Counts> {
    count_by(texts, |text| {
        let mut normalized = NormalizedString::from(text);
        BertNormalizer::default().normalize(&mut normalized)?;
        let mut words = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut words)?;
        Ok(words)
    })
}

/// GPT-2's words of a text; each byte is a character.
fn byte_words(text: &str) -> tokenizers::Result<PreTokenizedString> {
    let mut words = PreTokenizedString::from(text);
    ByteLevel::new(false, true, true).pre_tokenize(&mut words)?;
    Ok(words)
}

/// The words of the texts, as `split` finds them, with their counts.
fn count_by<S: AsRef<str> + Sync>(
    texts: &[S],
    split: impl Fn(&str) -> tokenizers::Result<PreTokenizedString> + Sync,
) -> Result<Counts> {
    let counted = texts
        .par_iter()
        .try_fold(Counts::new, |mut counts, text| {
            let words = split(text.as_ref())?;
            for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(word.to_string(), 1)),
                }
            }
            tokenizers::Result::Ok(counts)
        })
        .try_reduce(Counts::new, |a, b| Ok(together(a, b)));
    counted.map_err(|e| Error::tokenizer("trained vocabulary", e.to_string()))
}

/// The sums of the counts.
fn together(a: Counts, b: Counts) -> Counts {
    let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
    for (word, count) in small {
        *large.entry(word).or_default() += count;
    }
    large
}

/// The counts in the order of the words.
pub(super) fn sorted(counts: Counts) -> Vec<(String, u64)> {
    let mut words: Vec<(String, u64)> = counts.into_iter().collect();
    words.sort_unstable();
    words
}
