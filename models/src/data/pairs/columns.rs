//! Which columns hold the texts, the negatives and the score.

/// The columns of a file of pairs, or the keys of its JSON objects.
///
/// What is not named is found by the usual names, in upper or lower case:
///
/// | what | usual names |
/// | --- | --- |
/// | the first text | `anchor`, `query`, `question`, `sentence1`, `text1`, `text` |
/// | the second text | `positive`, `pos`, `document`, `passage`, `answer`, `context`, `sentence2`, `text2`, `text_pair`, `pair` |
/// | negatives | `negative`, `neg`, `hard_negative`, the same with an `s` or a number: `negative_1` |
/// | the score | `score`, `similarity`, `similarity_score` |
///
/// Where both texts are named, negatives and scores are read only if they are named too.
///
/// ```
/// use gradus_models::Split;
/// use gradus_models::data::{PairColumns, PairForm};
///
/// # fn main() -> gradus_models::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("pairs.csv");
/// std::fs::write(&path, "query,answer,negative_1\nwhere is it?,here,who knows\n").unwrap();
/// let pairs = Split::read_pairs(&path, &PairColumns::default())?;
/// assert_eq!(pairs.examples[0].positive, "here");
/// assert_eq!(pairs.form(), PairForm::Triplets);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairColumns {
    /// The first text.
    pub anchor: Option<String>,
    /// The second text.
    pub positive: Option<String>,
    /// Hard negatives.
    pub negatives: Vec<String>,
    /// How similar the two texts are.
    pub score: Option<String>,
}

/// The columns of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub anchor: String,
    pub positive: String,
    pub negatives: Vec<String>,
    pub score: Option<String>,
}

const ANCHORS: [&str; 8] =
    ["anchor", "query", "question", "sentence1", "sentence_1", "text1", "text_1", "text"];
const POSITIVES: [&str; 12] = [
    "positive",
    "pos",
    "document",
    "passage",
    "answer",
    "context",
    "sentence2",
    "sentence_2",
    "text2",
    "text_2",
    "text_pair",
    "pair",
];
const NEGATIVES: [&str; 6] =
    ["negative", "negatives", "neg", "negs", "hard_negative", "hard_negatives"];
const SCORES: [&str; 3] = ["score", "similarity", "similarity_score"];

/// Columns that may be scores, and may be something else.
const LABELS: [&str; 3] = ["label", "labels", "gold_label"];

impl PairColumns {
    /// The columns of a file with these.
    ///
    /// # Errors
    /// What the names do not tell.
    pub(super) fn find(&self, names: &[&str]) -> Result<Found, String> {
        let anchor = match &self.anchor {
            Some(anchor) => anchor.clone(),
            None => one(names, &ANCHORS, "the first text")?
                .ok_or_else(|| none(names, "the first text of a pair", &ANCHORS))?,
        };
        let positive = match &self.positive {
            Some(positive) => positive.clone(),
            None => one(names, &POSITIVES, "the second text")?
                .ok_or_else(|| none(names, "the second text of a pair", &POSITIVES))?,
        };
        let mut found = Found {
            anchor,
            positive,
            negatives: self.negatives.clone(),
            score: self.score.clone(),
        };
        let all_named = self.anchor.is_some() && self.positive.is_some();
        if !all_named && found.negatives.is_empty() && found.score.is_none() {
            found.negatives = several(names);
            found.score = one(names, &SCORES, "the score")?;
            refuse_label(names, &found)?;
        }
        found.check()?;
        Ok(found)
    }
}

impl Found {
    fn check(&self) -> Result<(), String> {
        let texts = [&self.anchor, &self.positive].into_iter();
        let mut all: Vec<&String> = texts.chain(&self.negatives).chain(&self.score).collect();
        all.sort();
        if let Some(twice) = all.windows(2).find(|two| two[0] == two[1]) {
            return Err(format!("the column `{}` cannot be two things at once", twice[0]));
        }
        match (&self.score, self.negatives.first()) {
            (Some(score), Some(negative)) => Err(format!(
                "there are a score (`{score}`) and negatives (`{negative}`), but pairs have one or \
                 the other; name the columns to be read"
            )),
            _ => Ok(()),
        }
    }
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase()
}

/// The one column with a known name.
fn one(names: &[&str], known: &[&str], what: &str) -> Result<Option<String>, String> {
    let mut found = names.iter().filter(|name| known.contains(&plain(name).as_str()));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(format!(
            "the columns `{}` and `{}` may both be {what}; name the right one",
            first.trim(),
            second.trim()
        )),
        (first, _) => Ok(first.map(|name| name.trim().to_string())),
    }
}

/// The error of a file without a column of a known name.
fn none(names: &[&str], what: &str, known: &[&str]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    format!(
        "no column is {what} by its name ({}); the columns are: {}; name the column",
        known.join(", "),
        names.join(", ")
    )
}

/// The columns of negatives.
fn several(names: &[&str]) -> Vec<String> {
    let is_negative = |name: &&&str| {
        let name = plain(name);
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        NEGATIVES.contains(&stem.trim_end_matches(['_', '-']))
    };
    names.iter().filter(is_negative).map(|name| name.trim().to_string()).collect()
}

/// Refuses a label where nothing is known to be a score.
fn refuse_label(names: &[&str], found: &Found) -> Result<(), String> {
    let label = names.iter().find(|name| LABELS.contains(&plain(name).as_str()));
    match (label, &found.score) {
        (Some(label), None) => Err(format!(
            "the column `{}` may say how similar two texts are, or what kind of pair they are: name \
             it as the score, or name the columns of both texts to leave it out",
            label.trim()
        )),
        _ => Ok(()),
    }
}
