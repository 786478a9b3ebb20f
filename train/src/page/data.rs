//! The part of the page about the texts: their lengths, and texts that are in two sets.

use std::borrow::Cow;

use gradus_models::data::similar_texts;
use maud::{Markup, html};

use super::Section;
use super::plot::histogram;

/// Rows of a table of texts.
const SHOWN: usize = 20;

/// More texts than these are not compared: the page would take longer than the training.
const MAX_COMPARED: usize = 500_000;

/// The texts of a data set.
pub struct Texts<'a> {
    /// The training texts, those of a pair joined.
    pub train: Vec<Cow<'a, str>>,
    /// The texts of other sets, by name.
    pub others: Vec<(&'static str, Vec<Cow<'a, str>>)>,
}

/// The lengths of the training texts in tokens, how many are cut at `length`, and texts that are
/// almost the same in two sets.
pub fn about_texts(lengths: &[usize], length: usize, cut: Option<usize>, texts: &Texts) -> Section {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let at =
        |share: f64| sorted.get((sorted.len().saturating_sub(1) as f64 * share) as usize).copied();
    let quantiles = [0.5, 0.9, 0.99, 1.0].map(|share| at(share).unwrap_or(0).to_string());
    let body = html! {
        p {
            (lengths.len()) " training texts; half have at most " (quantiles[0]) " tokens, 90 % at \
            most " (quantiles[1]) ", 99 % at most " (quantiles[2]) ", the longest " (quantiles[3]) "."
            @if let Some(cut) = cut {
                " " (cut) " (" (percent(cut, lengths.len())) " %) are cut to " (length) " tokens."
            }
        }
        div.plots { @if let Some(picture) = histogram("lengths in tokens", lengths, "texts") { (picture) } }
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
                    td.text { (texts[pair.text]) }
                    td.text { (train[pair.like]) }
                    td.n { (format!("{:.0} %", pair.similarity * 100.0)) }
                } }
            } }
        }
    }
}
