//! Excerpts of texts: to keep 512 tokens one need not encode megabytes.
//!
//! A BERT tokenizer separates words at white space, and makes a token of every punctuation mark and
//! Chinese character. The tokens on one side of such a place do not depend on the other side, and a
//! word of too many characters is always the unknown token. So if only the first or the last tokens
//! of a text are kept, [`Excerpts::take`] leaves out the rest beyond enough words, and the middles
//! of endless words and gaps. The tokens that are kept are exactly those of the whole text.
//!
//! Other tokenizers (SentencePiece, byte-level BPE) are known to separate only at a space between
//! two ASCII letters or digits. Their texts are cut only there, and a word without an end is
//! encoded whole, because its pieces depend on all of its characters.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::decompose_canonical;

/// The side on which a text of too many tokens is cut: `truncation_side` of `transformers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// The beginning is cut off.
    Left,
    /// The end is cut off.
    #[default]
    Right,
}

/// Texts of at most so many bytes are not cut.
const SHORT: usize = 4096;
/// Characters of a gap that stay. A gap is white space, or characters that the normaliser removes.
const GAP: usize = 16;

/// What a character becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// White space: a word ends, and no token begins.
    Space,
    /// A token of its own.
    Single,
    /// Nothing: the normaliser removes it.
    Gone,
    /// A part of a word.
    Letter,
}

/// How excerpts are taken for a tokenizer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Excerpts {
    /// Whether the tokenizer is known to separate only at spaces.
    pub only_spaces: bool,
    clean: bool,
    chinese: bool,
    strip: bool,
    /// A word of more characters is unknown.
    word_chars: usize,
    /// Texts of at most so many bytes are not cut.
    pub short: usize,
    /// Characters that are neighbours in an added token, in either order: no cut may part them.
    pairs: HashSet<(char, char)>,
}

/// A part of a text, or several, put together.
#[derive(Debug)]
pub(crate) struct Excerpt<'a> {
    /// The text to encode.
    pub text: Cow<'a, str>,
    /// Whether the text goes on beyond it.
    pub cut: bool,
    /// Where its pieces begin, in the excerpt and in the whole text.
    pieces: Vec<(usize, usize)>,
}

impl<'a> Excerpt<'a> {
    /// All of a text.
    pub fn whole(text: &'a str) -> Self {
        Excerpt { text: Cow::Borrowed(text), cut: false, pieces: vec![(0, 0)] }
    }

    /// Where a token of the excerpt stands in the whole text.
    pub fn place(&self, (start, end): (usize, usize)) -> (usize, usize) {
        // The end of a token belongs to the piece of its last byte.
        let moved = |at: usize, of: usize| {
            let piece = self.pieces.partition_point(|&(here, _)| here <= of).saturating_sub(1);
            let (here, there) = self.pieces.get(piece).copied().unwrap_or((0, 0));
            there + at - here
        };
        (moved(start, start), moved(end, start.max(end.saturating_sub(1))))
    }
}

impl Excerpts {
    /// For a tokenizer of these parts; `None` where not even spaces are known to separate.
    pub fn new<'t>(
        normalizer: Option<&NormalizerWrapper>,
        pre_tokenizer: Option<&PreTokenizerWrapper>,
        model: &ModelWrapper,
        added: impl IntoIterator<Item = &'t AddedToken> + Clone,
    ) -> Option<Excerpts> {
        Self::of_bert(normalizer, pre_tokenizer, model, added.clone()).or_else(|| {
            let within_words =
                added.into_iter().all(|token| !token.content.contains(char::is_whitespace));
            let separate = within_words
                && normalizer.is_none_or(keeps_spaces)
                && pre_tokenizer.is_some_and(splits_at_spaces);
            separate.then(|| Excerpts { only_spaces: true, short: SHORT, ..Excerpts::default() })
        })
    }

    /// `None` where the parts are not BERT's, or where an added token could be found within a word:
    /// it begins or ends like a word, or takes spaces next to it.
    fn of_bert<'t>(
        normalizer: Option<&NormalizerWrapper>,
        pre_tokenizer: Option<&PreTokenizerWrapper>,
        model: &ModelWrapper,
        added: impl IntoIterator<Item = &'t AddedToken>,
    ) -> Option<Excerpts> {
        let (ModelWrapper::WordPiece(model), Some(PreTokenizerWrapper::BertPreTokenizer(_))) =
            (model, pre_tokenizer)
        else {
            return None;
        };
        let (clean, chinese, strip) = match normalizer {
            None => (false, false, false),
            Some(NormalizerWrapper::BertNormalizer(n)) => {
                (n.clean_text, n.handle_chinese_chars, n.strip_accents.unwrap_or(n.lowercase))
            }
            Some(_) => return None,
        };
        let mut pairs = HashSet::new();
        for token in added {
            let content = token.content.as_str();
            let edges = |c: char| c.is_ascii_punctuation();
            let closed = content.starts_with(edges) && content.ends_with(edges);
            let plain = content.bytes().all(|byte| byte.is_ascii_graphic());
            if token.lstrip || token.rstrip || !closed || !plain {
                return None;
            }
            let chars = || content.chars().map(|c| c.to_ascii_lowercase());
            pairs.extend(chars().zip(chars().skip(1)));
            pairs.extend(chars().skip(1).zip(chars()));
        }
        let word_chars = model.max_input_chars_per_word;
        Some(Excerpts {
            only_spaces: false,
            clean,
            chinese,
            strip,
            word_chars,
            short: SHORT,
            pairs,
        })
    }

    fn class(&self, c: char) -> Class {
        if c.is_ascii_alphanumeric() {
            return Class::Letter;
        }
        let control = c.is_other() && !matches!(c, '\t' | '\n' | '\r');
        if self.clean && (control || c == '\u{fffd}') {
            return Class::Gone;
        }
        if self.chinese && is_chinese(c) {
            return Class::Single;
        }
        if !self.strip || c.is_ascii() {
            return normalized(c);
        }
        // The class of its parts without their accents: `≠` is `=`.
        let mut class = Class::Gone;
        decompose_canonical(c, |part| {
            let of_part = normalized(part);
            if !part.is_mark_nonspacing() && (class == Class::Gone || of_part != Class::Letter) {
                class = of_part;
            }
        });
        class
    }

    /// Whether a text may be cut between two characters, because no word and no added token has
    /// both.
    fn separate(&self, (a, of_a): (char, Class), (b, of_b): (char, Class)) -> bool {
        if of_a == Class::Gone
            || of_b == Class::Gone
            || (of_a, of_b) == (Class::Letter, Class::Letter)
        {
            return false;
        }
        let space = of_a == Class::Space || of_b == Class::Space;
        space || !plain(a).zip(plain(b)).is_some_and(|pair| self.pairs.contains(&pair))
    }

    /// The part of `text` to encode where the text is cut on `side` after `tokens` tokens. The part
    /// has more tokens than that, if the text has. Tokens are counted by characters; an added
    /// token, which has several, may make fewer of them.
    pub fn take<'a>(&self, text: &'a str, tokens: usize, side: Side) -> Excerpt<'a> {
        if text.len() <= self.short {
            return Excerpt::whole(text);
        }
        if self.only_spaces {
            return at_spaces(text, tokens, side);
        }
        let mut walk = Walk { excerpts: self, tokens, count: 0, in_word: false, before: None };
        let range = match side {
            Side::Right => {
                let end = text.char_indices().find(|&(_, c)| walk.enough_before(c));
                0..end.map_or(text.len(), |(at, _)| at)
            }
            Side::Left => {
                let end = text.char_indices().rev().find(|&(_, c)| walk.enough_before(c));
                end.map_or(0, |(at, c)| at + c.len_utf8())..text.len()
            }
        };
        self.shortened(text, range)
    }

    /// A range of a text without the middles of its long words and gaps.
    fn shortened<'a>(&self, text: &'a str, range: Range<usize>) -> Excerpt<'a> {
        let cut = range.len() < text.len();
        let whole = text.get(range.clone()).unwrap_or(text);
        let first = range.start;
        if whole.len() <= self.short {
            return Excerpt { text: Cow::Borrowed(whole), cut, pieces: vec![(0, first)] };
        }
        let (mut kept, mut pieces) = (String::new(), Vec::new());
        let mut keep = |part: Range<usize>| {
            pieces.push((kept.len(), first + part.start));
            kept.push_str(whole.get(part).unwrap_or_default());
        };
        // Where the current piece begins; `None` while characters are left out.
        let mut from = Some(0);
        let mut last_letter = None;
        let (mut letters, mut spaces, mut gone) = (0, 0, 0);
        for (at, c) in whole.char_indices() {
            let class = self.class(c);
            (letters, spaces, gone) = match class {
                Class::Single => (0, 0, 0),
                Class::Space => (0, spaces + 1, 0),
                Class::Letter => (letters + 1, 0, 0),
                Class::Gone => (letters, spaces, gone + 1),
            };
            let leave = letters > self.word_chars + 1 || spaces > GAP || gone > GAP;
            if leave && class == Class::Letter {
                last_letter = Some(at..at + c.len_utf8());
            }
            match (leave, from) {
                (true, Some(start)) => {
                    keep(start..at);
                    from = None;
                }
                (false, None) => {
                    // The last letter stays, so that the word ends in the same place.
                    last_letter.take().into_iter().for_each(&mut keep);
                    from = Some(at);
                }
                _ => {}
            }
        }
        last_letter.into_iter().for_each(&mut keep);
        from.into_iter().for_each(|start| keep(start..whole.len()));
        Excerpt { text: Cow::Owned(kept), cut, pieces }
    }
}

/// The part of `text` up to a space after more than `tokens` words, each of which has at least one
/// token.
fn at_spaces(text: &str, tokens: usize, side: Side) -> Excerpt<'_> {
    let bytes = text.as_bytes();
    let is_place = |at: &usize| {
        let around = at.checked_sub(1).and_then(|before| bytes.get(before..at + 2));
        matches!(around, Some([a, b' ', b]) if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
    };
    let place = match side {
        Side::Right => (0..bytes.len()).filter(is_place).nth(tokens),
        Side::Left => (0..bytes.len()).rev().filter(is_place).nth(tokens),
    };
    let range = match (place, side) {
        (None, _) => return Excerpt::whole(text),
        (Some(at), Side::Right) => 0..at,
        // The space belongs to the word after it.
        (Some(at), Side::Left) => at..text.len(),
    };
    let pieces = vec![(0, range.start)];
    Excerpt { text: Cow::Borrowed(text.get(range).unwrap_or(text)), cut: true, pieces }
}

/// Whether a normaliser treats each side of a space between ASCII letters independently of the
/// other.
fn keeps_spaces(normalizer: &NormalizerWrapper) -> bool {
    use NormalizerWrapper as N;
    match normalizer {
        N::BertNormalizer(_) | N::Lowercase(_) | N::StripAccents(_) | N::Precompiled(_) => true,
        N::NFC(_) | N::NFD(_) | N::NFKC(_) | N::NFKD(_) | N::Nmt(_) => true,
        N::Sequence(all) => all.as_ref().iter().all(keeps_spaces),
        N::Replace(_) => {
            let written = serde_json::to_value(normalizer).unwrap_or_default();
            match (&written["pattern"]["String"], &written["pattern"]["Regex"]) {
                (serde_json::Value::String(pattern), _) => !pattern.contains(' '),
                // Two spaces and more, as SentencePiece's converters write it.
                (_, regex) => regex == " {2,}",
            }
        }
        _ => false,
    }
}

/// Whether a pre-tokenizer splits at each space between ASCII letters.
fn splits_at_spaces(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    use PreTokenizerWrapper as P;
    match pre_tokenizer {
        P::BertPreTokenizer(_) | P::Whitespace(_) | P::WhitespaceSplit(_) => true,
        P::Metaspace(meta) => meta.get_split(),
        P::ByteLevel(level) => level.use_regex,
        // The later ones see one word at a time.
        P::Sequence(all) => all.as_ref().first().is_some_and(splits_at_spaces),
        _ => false,
    }
}

/// Counts tokens from one side of a text.
struct Walk<'e> {
    excerpts: &'e Excerpts,
    tokens: usize,
    count: usize,
    in_word: bool,
    before: Option<(char, Class)>,
}

impl Walk<'_> {
    /// Whether there were enough tokens before `c` and the text may be cut there; otherwise `c` is
    /// counted.
    fn enough_before(&mut self, c: char) -> bool {
        let class = self.excerpts.class(c);
        let separate = |before| self.excerpts.separate(before, (c, class));
        if self.count > self.tokens && self.before.is_some_and(separate) {
            return true;
        }
        match class {
            Class::Space => self.in_word = false,
            Class::Single => (self.count, self.in_word) = (self.count + 1, false),
            Class::Letter if !self.in_word => (self.count, self.in_word) = (self.count + 1, true),
            Class::Letter | Class::Gone => {}
        }
        self.before = Some((c, class));
        false
    }
}

/// The ASCII character, in lower case, of a character without its accents; `None` where there is
/// none, which no added token has.
fn plain(c: char) -> Option<char> {
    let mut found = None;
    decompose_canonical(c, |part| found = found.or(part.is_ascii().then_some(part)));
    found.map(|c| c.to_ascii_lowercase())
}

/// The class of a character that the normaliser does not change, by the rules of
/// `BertPreTokenizer`.
fn normalized(c: char) -> Class {
    match c {
        _ if c.is_whitespace() => Class::Space,
        _ if c.is_ascii_punctuation() || c.is_punctuation() => Class::Single,
        _ => Class::Letter,
    }
}

/// The ideographs that `BertNormalizer` puts spaces around.
fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

#[cfg(test)]
#[path = "excerpt_tests.rs"]
mod tests;
