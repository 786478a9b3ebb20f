//! The part of the page about a classifier: its labels, its confusions, its probabilities.

use gradus_models::Labels;
use gradus_models::evaluation::{BINS, ClassScores, Confusion, SingleLabel};
use gradus_models::tasks::{Given, Judged, Tally};
use maud::{Markup, html};

use super::Section;
use super::data::clipped;
use super::plot::{Bar, calibration};
use super::scatter::over_truth;

/// Labels of the picture of confusions; of more, those with the most mistakes.
const MAX_LABELS: usize = 24;

/// Mistakes in the table.
const SHOWN: usize = 30;

/// A text and its label, as written in the file.
pub type Truth<'a> = (&'a str, Option<&'a str>);

/// What a classifier does with the texts of a split.
pub fn about_labels(
    split: &str,
    tally: &Tally,
    judged: &[Judged],
    truths: &[Truth],
    labels: &Labels,
) -> Vec<Section> {
    let mut sections = Vec::new();
    if let Tally::Single(_, single) = tally {
        let title = format!("Confusions on the {split} set");
        sections.push(Section::new(title, confusions(&single.confusion, labels, "texts")));
        let title = format!("Calibration on the {split} set");
        sections.push(Section::new(title, probabilities(single)));
    }
    if let Tally::Numbers(truth, _) = tally {
        sections.push(Section::new(format!("Numbers of the {split} set"), numbers(truth, judged)));
    }
    let scores = tally.scores(labels.len());
    if !scores.is_empty() {
        let title = format!("Labels on the {split} set");
        let mut rows: Vec<(&str, ClassScores)> =
            (0..).map(|id| name(labels, id)).zip(scores).collect();
        rows.sort_by(|a, b| a.1.f1.total_cmp(&b.1.f1));
        sections.push(Section::new(title, per_label("label", "texts", &rows)));
    }
    let title = match tally {
        Tally::Numbers(..) => format!("The largest errors on the {split} set"),
        _ => format!("The most confident mistakes on the {split} set"),
    };
    sections.push(Section::new(title, mistakes(judged, truths, labels)));
    sections
}

fn name(labels: &Labels, id: u32) -> &str {
    labels.name(id).unwrap_or_default()
}

/// How often each label was taken for each: rows are the truth.
pub fn confusions(confusion: &Confusion, labels: &Labels, of: &str) -> Markup {
    let mut ids: Vec<u32> = (0..labels.len() as u32).collect();
    if ids.len() > MAX_LABELS {
        // The texts of the label that got another, and those of others that got it.
        let wrong = |id: u32| {
            confusion.scores(id).support + confusion.predicted(id) - 2 * confusion.count(id, id)
        };
        ids.sort_by_key(|&id| (std::cmp::Reverse(wrong(id)), id));
        ids.truncate(MAX_LABELS);
        ids.sort_unstable();
    }
    let support = |id: u32| confusion.scores(id).support.max(1);
    let shade = |truth: u32, given: u32, count: u64| {
        let colour = if truth == given { "0, 158, 115" } else { "213, 94, 0" };
        let share = count as f64 / support(truth) as f64;
        format!(
            "background: rgba({colour}, {:.2})",
            if count == 0 { 0.0 } else { 0.15 + 0.75 * share }
        )
    };
    html! {
        p {
            "Rows are the labels of the " (of) ", columns those that the model gives"
            @if labels.len() > ids.len() {
                "; the " (ids.len()) " of " (labels.len()) " labels with the most mistakes"
            }
            "."
        }
        div.wide { table.heat {
            tr { th {} @for &id in &ids { th.top title=(name(labels, id)) { (name(labels, id)) } } }
            @for &truth in &ids { tr {
                th.side title=(name(labels, truth)) { (name(labels, truth)) }
                @for &given in &ids {
                    @let count = confusion.count(truth, given);
                    td style=(shade(truth, given, count)) { @if count > 0 { (count) } }
                }
            } }
        } }
    }
}

/// Of the predictions of each probability, the share that is right.
fn probabilities(single: &SingleLabel) -> Markup {
    let bin = |(i, bin): (usize, &gradus_models::evaluation::Bin)| {
        let at = |i: usize| i as f64 / BINS as f64;
        let height = bin.right as f64 / bin.count.max(1) as f64;
        (bin.count > 0).then_some(Bar { from: at(i), to: at(i + 1), height })
    };
    let mut bars: Vec<Bar> = single.calibration.bins().iter().enumerate().filter_map(bin).collect();
    // Empty bars at both ends, so that the axis goes from 0 to 1.
    bars.insert(0, Bar { from: 0.0, to: 0.0, height: 0.0 });
    bars.push(Bar { from: 1.0, to: 1.0, height: 0.0 });
    html! {
        p {
            "Expected calibration error: " (format!("{:.4}", single.calibration.error()))
            ". Where a bar ends below the line, the model is right less often than its probabilities say."
        }
        div.plots { (calibration("how often a prediction of a probability is right", &bars)) }
    }
}

/// The model's numbers over the true ones.
fn numbers(truth: &[f32], judged: &[Judged]) -> Markup {
    let given = |judged: &Judged| match judged.given {
        Given::Number(number) => Some(f64::from(number)),
        Given::Labels(_) => None,
    };
    let pairs = truth.iter().zip(judged);
    let points: Vec<_> = pairs.filter_map(|(&x, y)| Some((x.into(), given(y)?))).collect();
    html! {
        div.plots {
            @if let Some(picture) = over_truth("on the line, the model is right", &points) { (picture) }
        }
    }
}

/// A table of the scores of each label, the weakest first.
pub fn per_label(label: &str, of: &str, rows: &[(&str, ClassScores)]) -> Markup {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    html! {
        p { "The weakest first; in percent." }
        div.wide { table {
            tr { th { (label) } th.n { "precision" } th.n { "recall" } th.n { "F1" } th.n { (of) } }
            @for (name, scores) in rows { tr {
                td { (name) }
                td.n { (percent(scores.precision)) } td.n { (percent(scores.recall)) }
                td.n { (percent(scores.f1)) } td.n { (scores.support) }
            } }
        } }
    }
}

fn mistakes(judged: &[Judged], truths: &[Truth], labels: &Labels) -> Markup {
    let mut wrong: Vec<(&Judged, &Truth)> =
        judged.iter().zip(truths).filter(|(judged, _)| judged.wrong).collect();
    wrong.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
    if wrong.is_empty() {
        return html! { p { "None." } };
    }
    html! {
        div.wide { table {
            tr { th { "text" } th { "is" } th { "the model says" } th.n { "probability, or error" } }
            @for (judged, (text, label)) in wrong.iter().take(SHOWN) { tr {
                td.text { (clipped(text)) } td { (label.unwrap_or("")) }
                td { (judged.given.show(labels)) } td.n { (format!("{:.3}", judged.score)) }
            } }
        } }
    }
}
