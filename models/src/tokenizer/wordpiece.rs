//! Learning a WordPiece vocabulary, or a byte-level one.
//!
//! Starting from characters, the pair of neighbours that occurs most often becomes one symbol,
//! until the vocabulary is full (byte-pair encoding: Sennrich et al., arXiv:1508.07909, as
//! WordPiece vocabularies are commonly trained). The trainer of the `tokenizers` crate breaks ties
//! by the order of a hash map with a random seed, so its vocabulary differs from run to run. Here
//! the pair of lower ids wins a tie and nothing depends on the order of a hash map: the same texts
//! always give the same vocabulary.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

/// Marks a symbol that continues a word.
pub(crate) const PREFIX: &str = "##";

/// A word longer than this many characters is `[UNK]`, in training as in use.
pub(crate) const MAX_WORD_CHARS: usize = 100;

/// Characters beyond the most frequent thousand are `[UNK]`.
const MAX_ALPHABET: usize = 1000;

/// A pair that occurs once is not worth a symbol.
const MIN_FREQUENCY: u64 = 2;

type Pair = (u32, u32);

/// How often a pair occurs, and the words in which it does; a word may have lost it since.
#[derive(Default)]
struct Occurrences {
    count: u64,
    words: Vec<usize>,
}

/// Learns a vocabulary of at most `vocab_size` symbols (fewer when the words do not yield so many),
/// beginning with `special`, from words with their counts. The order of `words` is part of the
/// input: give it sorted.
pub(crate) fn learn(words: &[(String, u64)], special: &[&str], vocab_size: usize) -> Vec<String> {
    let room = vocab_size.saturating_sub(special.len()) / 2;
    let mut learner = Learner::new(special, PREFIX);
    learner.spell(words, &alphabet_of(words, room.min(MAX_ALPHABET)));
    learner.learn(vocab_size);
    learner.symbols
}

/// Symbols, and the pairs of them that were joined, in this order.
pub(crate) type Merged = (Vec<String>, Vec<[String; 2]>);

/// As [`learn`], with all characters of `alphabet`, and no mark on a symbol that continues a word:
/// the vocabulary and the merges of byte-pair encoding.
pub(crate) fn learn_merges(
    words: &[(String, u64)],
    special: &[&str],
    alphabet: &[char],
    vocab_size: usize,
) -> Merged {
    let mut learner = Learner::new(special, "");
    learner.spell(words, alphabet);
    let merges = learner.learn(vocab_size);
    (learner.symbols, merges)
}

/// A vocabulary while it is learnt.
struct Learner {
    /// Marks a symbol that continues a word.
    prefix: &'static str,
    symbols: Vec<String>,
    /// The ids of all symbols except the special ones.
    ids: HashMap<String, u32>,
    /// Each word as its symbols, with its count.
    words: Vec<(Vec<u32>, u64)>,
    pairs: HashMap<Pair, Occurrences>,
    /// Pairs by their counts. An entry is out of date where `pairs` has another count.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Learner {
    fn new(special: &[&str], prefix: &'static str) -> Self {
        Learner {
            prefix,
            symbols: special.iter().map(|s| s.to_string()).collect(),
            ids: HashMap::new(),
            words: Vec::new(),
            pairs: HashMap::new(),
            queue: BinaryHeap::new(),
        }
    }

    /// The id of a symbol, which is added if it is new.
    fn id(&mut self, symbol: String) -> u32 {
        let symbols = &mut self.symbols;
        *self.ids.entry(symbol).or_insert_with_key(|symbol| {
            symbols.push(symbol.clone());
            symbols.len() as u32 - 1
        })
    }

    /// Joins pairs until there are `vocab_size` symbols; returns them in this order.
    fn learn(&mut self, vocab_size: usize) -> Vec<[String; 2]> {
        self.count_pairs();
        let mut merges = Vec::new();
        while self.symbols.len() < vocab_size
            && let Some(pair) = self.most_frequent()
        {
            merges.push([pair.0, pair.1].map(|id| self.symbols[id as usize].clone()));
            self.join(pair);
        }
        merges
    }

    /// Makes characters symbols, and spells the words with them. Words with other characters are
    /// left out.
    fn spell(&mut self, words: &[(String, u64)], characters: &[char]) {
        // The symbols of a character at the beginning of a word, and later in it.
        let mut alphabet: HashMap<char, (u32, u32)> = HashMap::new();
        for &c in characters {
            let first = self.id(c.to_string());
            let later = self.id(format!("{}{c}", self.prefix));
            alphabet.insert(c, (first, later));
        }
        let symbol = |(i, c): (usize, char)| {
            alphabet.get(&c).map(|&(first, later)| if i == 0 { first } else { later })
        };
        for (word, count) in words {
            let spelling: Option<Vec<u32>> = word.chars().enumerate().map(symbol).collect();
            let spelling = spelling.filter(|s| s.len() <= MAX_WORD_CHARS);
            self.words.extend(spelling.map(|s| (s, *count)));
        }
    }

    fn count_pairs(&mut self) {
        for (index, (word, count)) in self.words.iter().enumerate() {
            for pair in neighbours(word) {
                let occurrences = self.pairs.entry(pair).or_default();
                occurrences.count += count;
                occurrences.words.push(index);
            }
        }
        self.queue = self.pairs.iter().map(|(&pair, o)| (o.count, Reverse(pair))).collect();
    }

    /// Takes the most frequent pair from the queue, of equals that of the lower ids; `None` when no
    /// pair is worth a symbol.
    fn most_frequent(&mut self) -> Option<Pair> {
        loop {
            let (count, Reverse(pair)) = self.queue.pop()?;
            if count < MIN_FREQUENCY {
                return None;
            }
            if self.pairs.get(&pair).is_some_and(|o| o.count == count) {
                return Some(pair);
            }
        }
    }

    /// Makes a pair one symbol, in all words.
    fn join(&mut self, pair: Pair) {
        let (left, right) = (&self.symbols[pair.0 as usize], &self.symbols[pair.1 as usize]);
        let joined = format!("{left}{}", right.strip_prefix(self.prefix).unwrap_or(right));
        let merged = self.id(joined);

        let mut places = self.pairs.remove(&pair).map(|o| o.words).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        let mut changed: HashSet<Pair> = HashSet::new();
        for index in places {
            let (word, count) = &mut self.words[index];
            let Some(after) = merge(word, pair, merged) else { continue };
            for old in neighbours(word) {
                if let Some(o) = self.pairs.get_mut(&old) {
                    o.count = o.count.saturating_sub(*count);
                    changed.insert(old);
                }
            }
            for new in neighbours(&after) {
                let o = self.pairs.entry(new).or_default();
                o.count += *count;
                o.words.push(index);
                changed.insert(new);
            }
            *word = after;
        }
        for pair in changed {
            match self.pairs.get(&pair).map_or(0, |o| o.count) {
                0 => drop(self.pairs.remove(&pair)),
                count => self.queue.push((count, Reverse(pair))),
            }
        }
    }
}

/// The most frequent characters, at most `limit`, sorted.
fn alphabet_of(words: &[(String, u64)], limit: usize) -> Vec<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    let mut by_count: Vec<(char, u64)> = counts.into_iter().collect();
    by_count.sort_by_key(|&(c, count)| (Reverse(count), c));
    let mut kept: Vec<char> = by_count.into_iter().take(limit).map(|(c, _)| c).collect();
    kept.sort_unstable();
    kept
}

fn neighbours(word: &[u32]) -> impl Iterator<Item = Pair> + '_ {
    word.windows(2).map(|w| (w[0], w[1]))
}

/// The word with every occurrence of `pair`, from the left, replaced; `None` when there is none.
fn merge(word: &[u32], pair: Pair, merged: u32) -> Option<Vec<u32>> {
    let mut out = Vec::with_capacity(word.len());
    let mut i = 0;
    while i < word.len() {
        if word[i] == pair.0 && word.get(i + 1) == Some(&pair.1) {
            out.push(merged);
            i += 2;
        } else {
            out.push(word[i]);
            i += 1;
        }
    }
    (out.len() < word.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(words: &[(&str, u64)]) -> Vec<(String, u64)> {
        words.iter().map(|&(w, n)| (w.to_string(), n)).collect()
    }

    #[test]
    fn merges_the_most_frequent_pair_first() {
        let words = counted(&[("hug", 10), ("hugs", 5), ("pug", 4)]);
        let vocab = learn(&words, &["[UNK]"], 14);
        assert_eq!(
            vocab[..11],
            ["[UNK]", "g", "##g", "h", "##h", "p", "##p", "s", "##s", "u", "##u"]
        );
        // u+g occurs 19 times, then h+ug 15 times, then hug+s 5 times.
        assert_eq!(vocab[11..], ["##ug", "hug", "hugs"]);
    }

    #[test]
    fn repeated_letters_and_exhausted_words_end_well() {
        let words = counted(&[("aaaa", 3), ("aaa", 2), ("a", 9), ("b", 1)]);
        let vocab = learn(&words, &[], 1000);
        let longest = vocab.iter().map(|v| v.trim_start_matches('#').len()).max();
        assert_eq!(longest, Some(4), "{vocab:?}");
        let distinct: HashSet<&String> = vocab.iter().collect();
        assert_eq!(distinct.len(), vocab.len());
    }

    #[test]
    fn a_small_vocabulary_keeps_the_frequent_letters() {
        let words = counted(&[("ab", 5), ("abc", 1)]);
        assert_eq!(learn(&words, &["[UNK]"], 5), ["[UNK]", "a", "##a", "b", "##b"]);
        assert_eq!(learn(&words, &["[UNK]"], 0), ["[UNK]"]);
        assert_eq!(learn(&[], &["[UNK]"], 9), ["[UNK]"]);
    }

    /// The counts kept along the way are those that a recount of the whole text would give.
    #[test]
    fn agrees_with_a_trainer_that_recounts_at_each_step() {
        let text = "the theme of these thesis is that this theory then thinks there are themes in them \
                    banana bandana cabana ananas anna nanna aaaa aaaaa abababab babab";
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (i, word) in text.split(' ').enumerate() {
            *counts.entry(word.into()).or_default() += 1 + i as u64 % 3;
        }
        let words: Vec<(String, u64)> = counts.into_iter().collect();
        for size in [60, 80, 100, 400] {
            assert_eq!(learn(&words, &[], size), slow(&words, size), "{size}");
        }
    }

    fn slow(words: &[(String, u64)], size: usize) -> Vec<String> {
        let mut vocab: Vec<String> = Vec::new();
        for c in alphabet_of(words, 1000) {
            vocab.push(c.to_string());
            vocab.push(format!("{PREFIX}{c}"));
        }
        let id = |vocab: &[String], s: &str| vocab.iter().position(|v| v == s).map(|i| i as u32);
        let mut spelt: Vec<(Vec<u32>, u64)> = words
            .iter()
            .map(|(w, n)| {
                let spell = |(i, c): (usize, char)| {
                    let mark = if i == 0 { "" } else { PREFIX };
                    id(&vocab, &format!("{mark}{c}")).unwrap()
                };
                (w.chars().enumerate().map(spell).collect(), *n)
            })
            .collect();
        while vocab.len() < size {
            let mut counts: BTreeMap<Pair, u64> = BTreeMap::new();
            for (word, n) in &spelt {
                for pair in neighbours(word) {
                    *counts.entry(pair).or_default() += n;
                }
            }
            let best = counts.into_iter().min_by_key(|&(pair, n)| (Reverse(n), pair));
            let Some((pair, _)) = best.filter(|&(_, n)| n >= MIN_FREQUENCY) else {
                break;
            };
            let right = vocab[pair.1 as usize].trim_start_matches(PREFIX).to_string();
            let joined = format!("{}{right}", vocab[pair.0 as usize]);
            let merged = id(&vocab, &joined).unwrap_or_else(|| {
                vocab.push(joined);
                vocab.len() as u32 - 1
            });
            for (word, _) in &mut spelt {
                if let Some(after) = merge(word, pair, merged) {
                    *word = after;
                }
            }
        }
        vocab
    }
}
