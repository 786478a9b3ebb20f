//! Finds texts that are almost the same.

use std::collections::{HashMap, HashSet};

/// Texts at least this similar are almost the same.
const THRESHOLD: f64 = 0.8;

/// Hash functions of a signature: bands, and the numbers of a band. Texts of similarity s meet in a
/// band with the probability 1 − (1 − sⁿ)ᵇ: 0.2 at a half, 0.98 at the threshold.
const BANDS: usize = 8;
const NUMBERS: usize = 5;

/// A text that is almost another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Similar {
    /// The number of the text, from 0.
    pub text: usize,
    /// The number of the most similar one among the others.
    pub like: usize,
    /// The share of their words that both have, of all words of either (Jaccard).
    pub similarity: f64,
}

/// Finds the texts that are almost one of `others`: at least four fifths of the words are in both,
/// without regard to case, punctuation and order. MinHash (Broder, 1997) chooses whom to compare,
/// so a few pairs near the threshold may be missed; equal texts never are.
///
/// ```
/// use gradus_models::data::similar_texts;
///
/// let train = ["where is my card", "how do I change my PIN"];
/// let dev = ["Where is my card?", "can I have a second card"];
/// let found = similar_texts(&dev, &train);
/// assert_eq!((found.len(), found[0].text, found[0].like), (1, 0, 0));
/// ```
pub fn similar_texts(texts: &[&str], others: &[&str]) -> Vec<Similar> {
    let others: Vec<HashSet<u64>> = others.iter().map(|text| words(text)).collect();
    let mut meeting: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for (i, set) in others.iter().enumerate() {
        for band in bands(set) {
            meeting.entry(band).or_default().push(i);
        }
    }
    let nearest = |(text, content): (usize, &&str)| {
        let set = words(content);
        let mut seen = HashSet::new();
        let met = bands(&set).into_iter().filter_map(|band| meeting.get(&band)).flatten();
        let compared = met.filter(|other| seen.insert(**other)).map(|&like| {
            let similarity = jaccard(&set, &others[like]);
            Similar { text, like, similarity }
        });
        let best =
            compared.max_by(|a, b| a.similarity.total_cmp(&b.similarity).then(b.like.cmp(&a.like)));
        best.filter(|best| best.similarity >= THRESHOLD)
    };
    texts.iter().enumerate().filter_map(nearest).collect()
}

/// The words of a text, in lower case, as hashes.
fn words(text: &str) -> HashSet<u64> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| xxhash_rust::xxh3::xxh3_64(word.to_lowercase().as_bytes())).collect()
}

/// The bands of the signature of a set, each with its number; none of a text without words.
fn bands(words: &HashSet<u64>) -> Vec<(usize, u64)> {
    if words.is_empty() {
        return Vec::new();
    }
    let smallest = |seed: usize| words.iter().map(|&word| mixed(word, seed as u64)).min();
    let band = |band: usize| {
        let numbers = (0..NUMBERS).filter_map(|i| smallest(band * NUMBERS + i));
        (band, numbers.fold(0, |hash, number| mixed(hash ^ number, 0)))
    };
    (0..BANDS).map(band).collect()
}

/// A hash of a number, one of many (splitmix64, Steele et al., 2014).
fn mixed(x: u64, seed: u64) -> u64 {
    let x = x.wrapping_add((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn jaccard(a: &HashSet<u64>, b: &HashSet<u64>) -> f64 {
    let both = a.intersection(b).count();
    both as f64 / (a.len() + b.len() - both).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_found_whatever_their_form() {
        let others = ["one two three", "Red, green and blue!", "", "one two three"];
        let found =
            similar_texts(&["blue AND red green", "three four five six", "", "?!"], &others);
        assert_eq!(found, [Similar { text: 0, like: 1, similarity: 1.0 }]);
    }

    #[test]
    fn nine_tenths_are_found_and_a_half_is_not() {
        let text = |words: std::ops::Range<u32>| {
            words.map(|i| format!("word{i}")).collect::<Vec<_>>().join(" ")
        };
        let (mut near, mut far) = (0, 0);
        for start in (0..4000).step_by(40) {
            let base = text(start..start + 19);
            near += similar_texts(&[&text(start..start + 20)], &[&base]).len();
            far += similar_texts(&[&text(start + 6..start + 25)], &[&base]).len();
        }
        assert!(near >= 99, "{near} of 100 at 0.95");
        assert_eq!(far, 0, "of 100 at 0.52");
    }
}
