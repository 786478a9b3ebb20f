//! The part of the page about the texts: their lengths, and texts that are in two sets.

use std::borrow::Cow;

use gradus_models::data::similar_texts;
use gradus_models::{Dataset, Split};
use maud::{Markup, html};

use super::Section;
use super::plot::histogram;

/// Rows of a table of texts.
const SHOWN: usize = 20;

/// Characters of a text in a table.
const MAX_SHOWN: usize = 300;

/// More texts than these are not compared: the page would take longer than the training.
const MAX_COMPARED: usize = 500_000;

/// The texts of a data set.
pub struct Texts<'a> {
    /// The training texts, those of a pair joined.
    pub train: Vec<Cow<'a, str>>,
    /// The texts of other sets, by name.
    pub others: Vec<(&'static str, Vec<Cow<'a, str>>)>,
}

/// The texts of a data set's examples.
pub fn texts<'a, E>(
    dataset: &'a Dataset<E>,
    text: impl Fn(&'a E) -> Cow<'a, str> + Copy,
) -> Texts<'a> {
    let of = |split: &'a Split<E>| split.examples.iter().map(text).collect();
    let others = [("dev", &dataset.dev), ("test", &dataset.test)].into_iter();
    Texts {
        train: of(&dataset.train),
        others: others.filter_map(|(name, split)| Some((name, of(split.as_ref()?)))).collect(),
    }
}

/// The split of this name: `dev` or `test`.
pub fn split<'a, E>(dataset: &'a Dataset<E>, name: &str) -> Option<&'a Split<E>> {
    match name {
        "test" => dataset.test.as_ref(),
        _ => dataset.dev.as_ref(),
    }
}

/// A text, and the second of a pair.
pub fn joined<'a>((text, pair): (&'a str, Option<&'a str>)) -> Cow<'a, str> {
    pair.map_or(Cow::Borrowed(text), |pair| format!("{text} / {pair}").into())
}

/// The beginning of a text, for a table.
pub fn clipped(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{} …", &text[..end]).into(),
        None => text.into(),
    }
}

/// Lengths in tokens.
pub struct Lengths<'a> {
    pub tokens: &'a [usize],
    /// The most that are possible.
    pub most: usize,
    /// How many are cut there; `None` where none ever is.
    pub cut: Option<usize>,
    /// What has these lengths, in the plural.
    pub of: &'a str,
}

/// The lengths of the training texts in tokens, how many are cut, and texts that are almost the same
/// in two sets.
pub fn about_texts(lengths: &Lengths, texts: &Texts) -> Section {
    let Lengths { tokens, most, cut, of } = *lengths;
    let mut sorted = tokens.to_vec();
    sorted.sort_unstable();
    let at =
        |share: f64| sorted.get((sorted.len().saturating_sub(1) as f64 * share) as usize).copied();
    let quantiles = [0.5, 0.9, 0.99, 1.0].map(|share| at(share).unwrap_or(0).to_string());
    let body = html! {
        p {
            (tokens.len()) " training " (of) "; half have at most " (quantiles[0]) " tokens, 90 % at \
            most " (quantiles[1]) ", 99 % at most " (quantiles[2]) ", the longest " (quantiles[3]) "."
            @if let Some(cut) = cut {
                " " (cut) " (" (percent(cut, tokens.len())) " %) are cut to " (most) " tokens."
            }
        }
        div.plots { @if let Some(picture) = histogram("lengths in tokens", tokens, of) { (picture) } }
        @for (name, others) in &texts.others { (leaks(name, others, &texts.train)) }
    };
    Section::new("Texts", body)
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1}", part as f64 * 100.0 / whole.max(1) as f64)
}

fn borrowed<'a>(texts: &'a [Cow<str>]) -> Vec<&'a str> {
    texts.iter().map(AsRef::as_ref).collect()
}

/// The texts of a set that are almost those of training texts.
fn leaks(name: &str, texts: &[Cow<str>], train: &[Cow<str>]) -> Markup {
    if texts.len() + train.len() > MAX_COMPARED {
        return html! { p { "The " (name) " texts are too many to be compared with the training texts." } };
    }
    let found = similar_texts(&borrowed(texts), &borrowed(train));
    html! {
        h3 { (found.len()) " of " (texts.len()) " " (name) " texts are almost a training text" }
        @if !found.is_empty() {
            div.wide { table {
                tr { th { (name) " text" } th { "training text" } th.n { "words in both" } }
                @for pair in found.iter().take(SHOWN) { tr {
                    td.text { (clipped(&texts[pair.text])) }
                    td.text { (clipped(&train[pair.like])) }
                    td.n { (format!("{:.0} %", pair.similarity * 100.0)) }
                } }
            } }
        }
    }
}
