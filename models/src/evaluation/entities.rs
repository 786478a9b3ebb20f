//! Entities in the tags of words, and how many of them a model finds: what the package `seqeval`
//! counts.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ClassScores;
use crate::{Error, Result};

/// How the tags of words make entities.
///
/// A tag is a prefix and a kind, such as `B-PER`; `O` is outside of every entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// As the script `conlleval` reads tags, `seqeval` by default: every tag that is not `O`
    /// belongs to an entity. An `I-` that continues nothing begins one, as in IOB1.
    #[default]
    Conll,
    /// Strictly IOB2: an entity begins with `B-`; any other `I-` does not count.
    Iob2,
    /// Strictly IOE2: an entity ends with `E-`.
    Ioe2,
    /// Strictly IOBES: `S-` is an entity of one word, others begin with `B-` and end with `E-`.
    Iobes,
    /// Strictly BILOU: `U-` is an entity of one word, others begin with `B-` and end with `L-`.
    Bilou,
    /// Tags without prefixes, such as parts of speech: every word whose tag is not `O` counts by
    /// itself.
    Words,
}

impl Scheme {
    /// Every scheme with its name.
    const ALL: [(&'static str, Scheme); 6] = [
        ("conll", Scheme::Conll),
        ("iob2", Scheme::Iob2),
        ("ioe2", Scheme::Ioe2),
        ("iobes", Scheme::Iobes),
        ("bilou", Scheme::Bilou),
        ("words", Scheme::Words),
    ];

    /// The scheme for a set of tags: [`Words`](Scheme::Words) where none has a prefix,
    /// [`Bilou`](Scheme::Bilou) where one has `L-` or `U-`, else [`Conll`](Scheme::Conll).
    pub fn of<S: AsRef<str>>(tags: &[S]) -> Scheme {
        let has = |prefixes: &[char]| tags.iter().any(|tag| has_prefix(tag.as_ref(), prefixes));
        match () {
            () if has(&['L', 'U']) => Scheme::Bilou,
            () if has(&['B', 'I', 'E', 'S']) => Scheme::Conll,
            () => Scheme::Words,
        }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme)| *scheme == self).map_or("", |(name, _)| name)
    }

    /// Checks that a strict scheme has the prefixes of all tags.
    ///
    /// # Errors
    /// [`Error::Input`] with the first tag that it has not.
    pub fn check<S: AsRef<str>>(self, tags: &[S]) -> Result<()> {
        let allowed: &[char] = match self {
            Scheme::Conll | Scheme::Words => return Ok(()),
            Scheme::Iob2 => &['B', 'I'],
            Scheme::Ioe2 => &['I', 'E'],
            Scheme::Iobes => &['B', 'I', 'E', 'S'],
            Scheme::Bilou => &['B', 'I', 'L', 'U'],
        };
        let bare = |tag: &str| tag.len() == 1 && tag.starts_with(allowed);
        let known = |tag: &str| tag == "O" || bare(tag) || has_prefix(tag, allowed);
        match tags.iter().map(AsRef::as_ref).find(|tag| !known(tag)) {
            None => Ok(()),
            Some(tag) => {
                let prefixes: Vec<String> = allowed.iter().map(|p| format!("{p}-")).collect();
                Err(Error::Input(format!(
                    "the tag `{tag}` is none of the scheme {}, whose tags are O and those with {}",
                    self.name(),
                    prefixes.join(", ")
                )))
            }
        }
    }
}

impl FromStr for Scheme {
    type Err = Error;

    fn from_str(name: &str) -> Result<Scheme> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, scheme)| *scheme).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            Error::Input(format!("the scheme `{name}` is unknown; use one of {names}"))
        })
    }
}

fn has_prefix(tag: &str, prefixes: &[char]) -> bool {
    let mut chars = tag.chars();
    chars.next().is_some_and(|first| prefixes.contains(&first)) && chars.next() == Some('-')
}

/// Some words that stand for one thing, such as a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// What it is, such as `PER`.
    pub kind: String,
    /// Its first word.
    pub start: usize,
    /// The first word after it.
    pub end: usize,
}

/// The entities in the tags of a sentence, in their order.
///
/// ```
/// use gradus_models::evaluation::{Scheme, entities};
///
/// let tags = ["B-PER", "I-PER", "O", "I-LOC"];
/// let found = entities(&tags, Scheme::Conll);
/// assert_eq!((found[0].kind.as_str(), found[0].start, found[0].end), ("PER", 0, 2));
/// assert_eq!(found.len(), 2);
/// assert_eq!(entities(&tags, Scheme::Iob2).len(), 1); // nothing begins with I-
/// ```
pub fn entities<S: AsRef<str>>(tags: &[S], scheme: Scheme) -> Vec<Entity> {
    let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
    match scheme {
        Scheme::Conll => lenient(&tags),
        Scheme::Words => each_word(&tags),
        strict => strictly(&tags, strict),
    }
}

fn each_word(tags: &[&str]) -> Vec<Entity> {
    let words = tags.iter().enumerate().filter(|(_, tag)| **tag != "O");
    let entity =
        |(start, tag): (usize, &&str)| Entity { kind: tag.to_string(), start, end: start + 1 };
    words.map(entity).collect()
}

/// The prefix of a tag and its kind, as `conlleval` takes them.
fn parts(tag: &str) -> (char, &str) {
    let mut chars = tag.chars();
    let prefix = chars.next().unwrap_or('O');
    let rest = chars.as_str();
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (prefix, if kind.is_empty() { "_" } else { kind })
}

/// `get_entities` of `seqeval`.
fn lenient(tags: &[&str]) -> Vec<Entity> {
    let mut entities = Vec::new();
    let mut start = 0;
    let mut before = ('O', "");
    for (at, tag) in tags.iter().chain(&["O"]).enumerate() {
        let here = parts(tag);
        if ends(before, here) {
            entities.push(Entity { kind: before.1.to_string(), start, end: at });
        }
        if starts(before, here) {
            start = at;
        }
        before = here;
    }
    entities
}

/// Whether an entity ends between two neighbouring words.
fn ends((before, kind): (char, &str), (here, other): (char, &str)) -> bool {
    match (before, here) {
        ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
        ('O' | '.', _) => false,
        _ => kind != other,
    }
}

/// Whether an entity starts at the second of two neighbouring words.
fn starts((before, kind): (char, &str), (here, other): (char, &str)) -> bool {
    match (before, here) {
        (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
        (_, 'O' | '.') => false,
        _ => kind != other,
    }
}

/// The entities of a strict scheme: `Tokens.entities` of `seqeval`.
fn strictly(tags: &[&str], scheme: Scheme) -> Vec<Entity> {
    let part = |tag: &&str| {
        let (prefix, _) = parts(tag);
        let kind = tag.get(prefix.len_utf8()..).unwrap_or_default().trim_matches('-').to_string();
        let prefix = match (scheme, prefix) {
            (Scheme::Bilou, 'L') => 'E',
            (Scheme::Bilou, 'U') => 'S',
            _ => prefix,
        };
        (prefix, if kind.is_empty() { "_".to_string() } else { kind })
    };
    let outside = ('O', "_".to_string());
    let words: Vec<(char, String)> = tags.iter().map(part).chain([outside.clone()]).collect();
    let mut entities = Vec::new();
    let (mut at, mut before) = (0, &outside);
    while at < tags.len() {
        let first = at;
        at += 1;
        if starts_strictly(scheme, before, &words[first]) {
            while continues(scheme, &words[at - 1], &words[at]) {
                at += 1;
            }
            if is_complete(scheme, words[at - 1].0) {
                entities.push(Entity { kind: words[first].1.clone(), start: first, end: at });
            }
        }
        before = &words[at - 1];
    }
    entities
}

/// Whether a word starts an entity of a strict scheme, after the word `before`.
fn starts_strictly(scheme: Scheme, before: &(char, String), word: &(char, String)) -> bool {
    match (scheme, before.0, word.0) {
        (Scheme::Ioe2, 'O' | 'E', 'I' | 'E') => true,
        (Scheme::Ioe2, 'I', 'I' | 'E') => before.1 != word.1,
        (Scheme::Ioe2, ..) => false,
        (Scheme::Iob2, _, prefix) => prefix == 'B',
        (_, _, prefix) => matches!(prefix, 'B' | 'S'),
    }
}

/// Whether a word belongs to the same entity as the word `before`.
fn continues(scheme: Scheme, before: &(char, String), word: &(char, String)) -> bool {
    let prefixes = matches!(
        (scheme, before.0, word.0),
        (Scheme::Iob2, 'B' | 'I', 'I')
            | (Scheme::Ioe2, 'I', 'I' | 'E')
            | (Scheme::Iobes | Scheme::Bilou, 'B' | 'I', 'I' | 'E')
    );
    prefixes && before.1 == word.1
}

/// Whether an entity of a strict scheme may end with a word of this prefix.
fn is_complete(scheme: Scheme, last: char) -> bool {
    match scheme {
        Scheme::Ioe2 => last == 'E',
        Scheme::Iobes | Scheme::Bilou => matches!(last, 'E' | 'S'),
        _ => true,
    }
}

/// How many entities of one kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    right: u64,
    predicted: u64,
    truth: u64,
}

impl Counts {
    fn scores(self) -> ClassScores {
        ClassScores::of(self.right, self.predicted, self.truth)
    }
}

/// The entities of some sentences beside those that a model found. An entity is found if its kind,
/// its first and its last word are.
///
/// ```
/// use gradus_models::evaluation::{EntityScores, Scheme};
///
/// let mut scores = EntityScores::new(Scheme::Conll);
/// scores.add(&["B-PER", "I-PER", "O", "B-LOC"], &["B-PER", "I-PER", "O", "B-ORG"]);
/// assert_eq!(scores.micro().f1, 0.5);
/// assert_eq!(scores.accuracy(), 0.75); // of the words
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityScores {
    scheme: Scheme,
    by_kind: BTreeMap<String, Counts>,
    words: u64,
    right_words: u64,
}

impl EntityScores {
    /// No sentence yet.
    pub fn new(scheme: Scheme) -> EntityScores {
        EntityScores { scheme, ..EntityScores::default() }
    }

    /// Counts a sentence: the true tag of every word, and the predicted one.
    pub fn add<S: AsRef<str>, P: AsRef<str>>(&mut self, truth: &[S], predicted: &[P]) {
        let set = |found: Vec<Entity>| found.into_iter().collect::<BTreeSet<Entity>>();
        let (expected, found) =
            (set(entities(truth, self.scheme)), set(entities(predicted, self.scheme)));
        for entity in &expected {
            let counts = self.by_kind.entry(entity.kind.clone()).or_default();
            counts.truth += 1;
            counts.right += u64::from(found.contains(entity));
        }
        for entity in found {
            self.by_kind.entry(entity.kind).or_default().predicted += 1;
        }
        self.words += truth.len() as u64;
        let pairs = truth.iter().zip(predicted);
        self.right_words += pairs.filter(|(t, p)| t.as_ref() == p.as_ref()).count() as u64;
    }

    /// Precision, recall and F1 over all entities; the support is their number.
    pub fn micro(&self) -> ClassScores {
        let mut sum = Counts::default();
        for counts in self.by_kind.values() {
            sum.right += counts.right;
            sum.predicted += counts.predicted;
            sum.truth += counts.truth;
        }
        sum.scores()
    }

    /// The scores of each kind of entity that occurs or was predicted, sorted by their names.
    pub fn by_kind(&self) -> impl Iterator<Item = (&str, ClassScores)> {
        self.by_kind.iter().map(|(kind, counts)| (kind.as_str(), counts.scores()))
    }

    /// The share of words whose tag is right; 0 for none.
    pub fn accuracy(&self) -> f64 {
        super::confusion::ratio(self.right_words, self.words)
    }
}
