//! What the page tells of a run of `train embed`.

use gradus_models::Dataset;
use gradus_models::data::{PairForm, TextPair};
use gradus_models::evaluation::Retrieval;
use gradus_models::tasks::{Embedding, EncodedPairs, PairScores, Ranking};
use maud::{Markup, html};

use super::Section;
use super::data::{Lengths, about_texts, clipped, joined, split, texts};
use crate::tasks::Details;

/// Pairs in the table.
const SHOWN: usize = 30;

/// The last place of each row of the table of ranks.
const PLACES: [usize; 6] = [1, 3, 5, 10, 100, usize::MAX];

/// The rankings and the texts of an embedder, whose texts have at most `length` tokens.
pub fn of_embedder(
    dataset: Dataset<TextPair>,
    train: &EncodedPairs,
    length: usize,
) -> Details<Embedding> {
    let cut = train.encodings().iter().filter(|encoding| encoding.truncated).count();
    let lengths: Vec<usize> = train.encodings().iter().map(|encoding| encoding.len()).collect();
    Box::new(move |_, examined| {
        let mut sections = Vec::new();
        let found = examined.as_ref().and_then(|e| Some((e, split(&dataset, e.split)?)));
        if let Some((examined, split)) = found {
            let (name, scores) = (examined.split, &examined.findings);
            let pairs = &split.examples;
            if split.form() == PairForm::Scored {
                let title = format!("The largest errors on the {name} set");
                sections.push(Section::new(title, far(scores, pairs)));
            } else {
                sections.push(Section::new(format!("Ranks on the {name} set"), ranks(scores)));
                let title = format!("The hardest pairs of the {name} set");
                sections.push(Section::new(title, hardest(scores, pairs)));
            }
        }
        let lengths =
            Lengths { tokens: &lengths, most: length, cut: Some(cut), of: "different texts" };
        let pair = |pair: &'_ TextPair| joined((&pair.anchor, Some(&pair.positive))).into_owned();
        sections.push(about_texts(&lengths, &texts(&dataset, |p| pair(p).into())));
        Ok(sections)
    })
}

/// How many first texts find a right text at which places.
fn ranks(scores: &PairScores) -> Markup {
    let mut found = Retrieval::default();
    scores.rankings.iter().for_each(|ranking| found.add(ranking.rank));
    let all = scores.rankings.len();
    let mut before = 0.0;
    let mut rows = Vec::new();
    for (i, &place) in PLACES.iter().enumerate() {
        let first = if i == 0 { 1 } else { PLACES[i - 1] + 1 };
        let name = match place {
            usize::MAX => format!("{first} or later"),
            place if place == first => format!("{place}"),
            place => format!("{first} to {place}"),
        };
        let within = found.recall_at(place);
        rows.push((name, within - before, within));
        before = within;
    }
    html! {
        p {
            "Each of the " (all) " different first texts ranks all second texts of the set. Where a right "
            "one stands first:"
        }
        div.wide { table {
            tr { th { "place" } th.n { "share" } th.n { "share up to here" } }
            @for (name, share, within) in &rows { tr {
                td { (name) } td.n { (percent(*share)) } td.n { (percent(*within)) }
            } }
        } }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The first texts whose right text stands last.
fn hardest(scores: &PairScores, pairs: &[TextPair]) -> Markup {
    let mut wrong: Vec<(&Ranking, usize, f32)> = scores
        .rankings
        .iter()
        .filter_map(|ranking| ranking.mistaken.map(|(pair, cosine)| (ranking, pair, cosine)))
        .collect();
    let behind = |ranking: &Ranking| ranking.rank.above + ranking.rank.equal;
    wrong.sort_by(|a, b| behind(b.0).cmp(&behind(a.0)).then(a.0.pair.cmp(&b.0.pair)));
    if wrong.is_empty() {
        return html! { p { "Every first text finds a right one first." } };
    }
    html! {
        div.wide { table {
            tr {
                th { "first text" } th { "right second text" } th.n { "place" } th.n { "cosine" }
                th { "found first" } th.n { "cosine" }
            }
            @for (ranking, pair, cosine) in wrong.iter().take(SHOWN) { tr {
                td.text { (clipped(&pairs[ranking.pair].anchor)) }
                td.text { (clipped(&pairs[ranking.pair].positive)) }
                td.n { (behind(ranking) + 1) }
                td.n { (format!("{:.3}", scores.cosines[ranking.pair])) }
                td.text { (clipped(&pairs[*pair].positive)) }
                td.n { (format!("{cosine:.3}")) }
            } }
        } }
    }
}

/// The pairs whose cosine is farthest from their score.
fn far(scores: &PairScores, pairs: &[TextPair]) -> Markup {
    let apart = |i: usize| (scores.cosines[i] - scores.scores[i]).abs();
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|&a, &b| apart(b).total_cmp(&apart(a)).then(a.cmp(&b)));
    html! {
        div.wide { table {
            tr { th { "first text" } th { "second text" } th.n { "score" } th.n { "cosine" } }
            @for &i in order.iter().take(SHOWN) { tr {
                td.text { (clipped(&pairs[i].anchor)) } td.text { (clipped(&pairs[i].positive)) }
                td.n { (format!("{:.3}", scores.scores[i])) }
                td.n { (format!("{:.3}", scores.cosines[i])) }
            } }
        } }
    }
}
