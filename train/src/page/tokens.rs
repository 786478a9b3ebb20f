//! What the page tells of a run of `train tokens`.

use std::collections::BTreeSet;

use gradus_models::data::TaggedSentence;
use gradus_models::evaluation::{ClassScores, Confusion, EntityScores, Scheme};
use gradus_models::tasks::{TaggedEncoding, TaggedWord, Tagging};
use gradus_models::{Dataset, Labels, Result};
use maud::{Markup, html};

use super::Section;
use super::data::{Lengths, about_texts, clipped, split, texts};
use super::labels::{confusions, per_label};
use crate::tasks::{Details, Examined};

/// Mistakes in the table.
const SHOWN: usize = 30;

/// Words of a sentence that are shown before and after a mistake.
const AROUND: usize = 8;

/// The entities and the texts of a tagger.
pub fn of_tagger(
    dataset: Dataset<TaggedSentence>,
    labels: Labels,
    scheme: Scheme,
    (encodings, length): (&[TaggedEncoding], usize),
) -> Details<Tagging> {
    let cut = encodings.iter().filter(|sentence| sentence.encoding.truncated).count();
    let lengths: Vec<usize> = encodings.iter().map(|sentence| sentence.encoding.len()).collect();
    Box::new(move |_, examined| {
        let mut sections = match &examined {
            Some(examined) => judged(examined, &dataset, &labels, scheme)?,
            None => Vec::new(),
        };
        let lengths = Lengths { tokens: &lengths, most: length, cut: Some(cut), of: "sentences" };
        let sentences = |sentence: &TaggedSentence| sentence.words.join(" ").into();
        sections.push(about_texts(&lengths, &texts(&dataset, sentences)));
        Ok(sections)
    })
}

/// A word with its tags.
struct Word<'a> {
    sentence: &'a TaggedSentence,
    at: usize,
    truth: &'a str,
    given: &'a str,
    probability: f32,
}

fn judged(
    examined: &Examined<Tagging>,
    dataset: &Dataset<TaggedSentence>,
    labels: &Labels,
    scheme: Scheme,
) -> Result<Vec<Section>> {
    let name = examined.split;
    let Some(split) = split(dataset, name) else { return Ok(Vec::new()) };
    let mut scores = EntityScores::new(scheme);
    let mut words = Vec::new();
    for (sentence, found) in split.examples.iter().zip(&examined.findings) {
        let given = |word: &Option<TaggedWord>| {
            word.map_or(("O", 1.0), |word| (labels.name(word.tag).unwrap_or("O"), word.probability))
        };
        let given: Vec<(&str, f32)> = found.iter().map(given).collect();
        scores.add(&sentence.tags, &given.iter().map(|(tag, _)| *tag).collect::<Vec<_>>());
        for (at, (truth, (given, probability))) in sentence.tags.iter().zip(given).enumerate() {
            words.push(Word { sentence, at, truth, given, probability });
        }
    }
    Ok(vec![
        Section::new(format!("Entities on the {name} set"), entity_table(&scores)),
        Section::new(format!("Confusions on the {name} set"), confused(&words)?),
        Section::new(format!("The most confident mistakes on the {name} set"), mistakes(words)),
    ])
}

fn entity_table(scores: &EntityScores) -> Markup {
    let mut rows: Vec<(&str, ClassScores)> = scores.by_kind().collect();
    rows.sort_by(|a, b| a.1.f1.total_cmp(&b.1.f1).then(a.0.cmp(b.0)));
    rows.push(("all", scores.micro()));
    per_label("kind", "entities", &rows)
}

/// The kind of a tag: what follows its prefix.
fn kind(tag: &str) -> &str {
    match tag.split_once('-') {
        Some((prefix, kind)) if prefix.len() == 1 => kind,
        _ => tag,
    }
}

/// How often words of each kind were taken for each.
fn confused(words: &[Word]) -> Result<Markup> {
    let kinds = words.iter().flat_map(|word| [kind(word.truth), kind(word.given)]);
    let kinds: BTreeSet<&str> = kinds.filter(|kind| *kind != "O").collect();
    let names = std::iter::once("O").chain(kinds).map(String::from).collect();
    let kinds = Labels::from_names(names)?;
    let mut confusion = Confusion::default();
    for word in words {
        let id = |tag| kinds.id(kind(tag)).unwrap_or(0);
        confusion.add(id(word.truth), id(word.given));
    }
    Ok(html! {
        p { "Of words, without regard to where an entity begins." }
        (confusions(&confusion, &kinds, "words"))
    })
}

fn mistakes(words: Vec<Word>) -> Markup {
    let mut wrong: Vec<Word> = words.into_iter().filter(|word| word.truth != word.given).collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let all = wrong.len();
    wrong.truncate(SHOWN);
    if wrong.is_empty() {
        return html! { p { "None." } };
    }
    html! {
        p { (all) " words have another tag than the data says." }
        div.wide { table {
            tr { th { "word" } th { "is" } th { "the model says" } th.n { "probability" } }
            @for word in &wrong { tr {
                td.text { (in_sentence(word)) }
                td { (word.truth) } td { (word.given) }
                td.n { (format!("{:.3}", word.probability)) }
            } }
        } }
    }
}

/// A word in bold, with the words around it.
fn in_sentence(Word { sentence, at, .. }: &Word) -> Markup {
    let words = &sentence.words;
    let (from, to) = (at.saturating_sub(AROUND), (at + 1 + AROUND).min(words.len()));
    html! {
        @if from > 0 { "… " }
        (words[from..*at].join(" ")) " " b { (clipped(&words[*at])) } " " (words[at + 1..to].join(" "))
        @if to < words.len() { " …" }
    }
}
