//! Pairs of texts as tokens.

use std::collections::HashMap;

use crate::data::{PairForm, TextPair};
use crate::evaluation::Metric;
use crate::folder::Prompts;
use crate::{Encoding, Error, Result, Split, Tokenizer};

/// Pairs of texts as tokens. A text that occurs several times is encoded once for each prompt
/// before it.
#[derive(Clone, Debug)]
pub struct EncodedPairs {
    form: PairForm,
    encodings: Vec<Encoding>,
    /// The text of each encoding: equal numbers are equal texts.
    texts: Vec<u32>,
    rows: Vec<PairRow>,
}

/// The encodings of one example, by number.
#[derive(Clone, Debug)]
pub(crate) struct PairRow {
    pub anchor: usize,
    pub positive: usize,
    pub negatives: Vec<usize>,
    /// The score; 0 where there is none.
    pub score: f64,
}

impl PairRow {
    /// All encodings of the example.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        [self.anchor, self.positive].into_iter().chain(self.negatives.iter().copied())
    }
}

/// How pairs become tokens.
#[derive(Clone, Copy)]
pub struct PairEncoder<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The prompts of the model. The first text of a pair is a query, the others are documents,
    /// unless pairs have a score: then all texts are alike.
    pub prompts: &'a Prompts,
    /// Where texts are cut, in tokens.
    pub max_length: usize,
    /// What scores are divided by. The result must then be within −1 and 1, as a cosine is. `None`
    /// for scores that are only ranked.
    pub score_scale: Option<f64>,
}

impl PairEncoder<'_> {
    /// The pairs of a split as tokens.
    ///
    /// # Errors
    /// [`Error::Data`] with the line for a score that no cosine reaches, and when a text cannot be
    /// encoded.
    pub fn encode(&self, split: &Split<TextPair>) -> Result<EncodedPairs> {
        let form = split.form();
        let prompts = match form {
            PairForm::Scored => (self.prompts.of_texts(), self.prompts.of_texts()),
            PairForm::Pairs | PairForm::Triplets => self.prompts.of_queries_and_documents(),
        };
        let mut texts = Texts::default();
        let mut rows = Vec::with_capacity(split.examples.len());
        for pair in &split.examples {
            rows.push(PairRow {
                anchor: texts.add(prompts.0, &pair.anchor),
                positive: texts.add(prompts.1, &pair.positive),
                negatives: pair.negatives.iter().map(|text| texts.add(prompts.1, text)).collect(),
                score: self.score(split, pair)?,
            });
        }
        let (encodings, texts) = (texts.encode(self)?, texts.numbers);
        Ok(EncodedPairs { form, encodings, texts, rows })
    }

    fn score(&self, split: &Split<TextPair>, pair: &TextPair) -> Result<f64> {
        let Some(score) = pair.number() else { return Ok(0.0) };
        let Some(scale) = self.score_scale else { return Ok(score) };
        let scaled = score / scale;
        match scaled.abs() <= 1.0 {
            true => Ok(scaled),
            false => Err(Error::Score { path: split.path.clone(), line: pair.line, score: scaled }),
        }
    }
}

/// Texts with their prompts, each once.
#[derive(Default)]
struct Texts<'a> {
    all: Vec<(&'a str, &'a str)>,
    /// The text of each, as a number.
    numbers: Vec<u32>,
    places: HashMap<(&'a str, &'a str), usize>,
    known: HashMap<&'a str, u32>,
}

impl<'a> Texts<'a> {
    /// The place of a text with its prompt.
    fn add(&mut self, prompt: &'a str, text: &'a str) -> usize {
        let next = self.known.len() as u32;
        let number = *self.known.entry(text).or_insert(next);
        *self.places.entry((prompt, text)).or_insert_with(|| {
            self.all.push((prompt, text));
            self.numbers.push(number);
            self.all.len() - 1
        })
    }

    fn encode(&self, by: &PairEncoder) -> Result<Vec<Encoding>> {
        let mut prompts: HashMap<&str, usize> = HashMap::new();
        for (prompt, _) in &self.all {
            if !prompts.contains_key(prompt) {
                prompts.insert(prompt, by.tokenizer.prompt_tokens(prompt, by.max_length)?);
            }
        }
        let prompted = self.all.iter().map(|(prompt, text)| (format!("{prompt}{text}"), None));
        let encodings = by.tokenizer.encode_batch(&prompted.collect::<Vec<_>>(), by.max_length)?;
        // Only what a model reads is kept.
        let slim = |(encoding, (prompt, _)): (Encoding, &(&str, &str))| Encoding {
            ids: encoding.ids,
            type_ids: encoding.type_ids,
            truncated: encoding.truncated,
            prompt: prompts.get(prompt).copied().unwrap_or(0),
            ..Encoding::default()
        };
        Ok(encodings.into_iter().zip(&self.all).map(slim).collect())
    }
}

impl EncodedPairs {
    /// What the examples are.
    pub fn form(&self) -> PairForm {
        self.form
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The texts, each once for each prompt before it.
    pub fn encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// How many examples have no hard negative.
    pub fn without_negatives(&self) -> usize {
        self.rows.iter().filter(|row| row.negatives.is_empty()).count()
    }

    /// The tokens of each example.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        let length = |row: &PairRow| row.all().map(|i| self.encodings[i].len()).sum();
        self.rows.iter().map(length).collect()
    }

    pub(crate) fn rows(&self) -> &[PairRow] {
        &self.rows
    }

    /// The encodings of some examples in the order in which the loss takes their vectors: all first
    /// texts, all second ones, all negatives.
    pub(crate) fn order(&self, rows: &[usize]) -> Vec<usize> {
        let rows = || rows.iter().map(|&row| &self.rows[row]);
        let negatives = rows().flat_map(|row| row.negatives.iter().copied());
        let pairs = rows().map(|row| row.anchor).chain(rows().map(|row| row.positive));
        pairs.chain(negatives).collect()
    }

    /// The text of an encoding, as a number.
    pub(crate) fn text(&self, encoding: usize) -> u32 {
        self.texts[encoding]
    }

    /// For each first text the second texts that belong to it, among some examples.
    pub(crate) fn related(&self, rows: impl Iterator<Item = usize>) -> HashMap<u32, Vec<u32>> {
        let mut related: HashMap<u32, Vec<u32>> = HashMap::new();
        for row in rows.map(|row| &self.rows[row]) {
            let known = related.entry(self.text(row.anchor)).or_default();
            let text = self.text(row.positive);
            if !known.contains(&text) {
                known.push(text);
            }
        }
        related
    }
}

impl PairForm {
    /// The numbers that an evaluation on such pairs gives, the loss aside; the first decides.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            PairForm::Pairs => &TRIPLETS[..4],
            PairForm::Triplets => &TRIPLETS,
            PairForm::Scored => &SCORED,
        }
    }
}

const TRIPLETS: [Metric; 5] = [
    Metric::percent("recall_at_1", "recall@1"),
    Metric::number("mrr", "MRR"),
    Metric::percent("recall_at_5", "recall@5"),
    Metric::percent("recall_at_10", "recall@10"),
    Metric::percent("triplet_accuracy", "triplet accuracy"),
];
const SCORED: [Metric; 2] =
    [Metric::number("spearman", "Spearman"), Metric::number("pearson", "Pearson")];
