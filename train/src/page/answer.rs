//! What the page tells of a run of `train answer`.

use std::borrow::Cow;
use std::collections::HashSet;

use gradus_models::data::Question;
use gradus_models::tasks::{Answered, QuestionAnswering};
use gradus_models::training::Task;
use gradus_models::{Dataset, Split};
use maud::{Markup, html};

use super::Section;
use super::data::{Lengths, Texts, about_texts, clipped, split};
use crate::tasks::Details;

/// Questions in the table.
const SHOWN: usize = 30;

/// The answers and the texts of a model that answers questions in windows of at most `length`
/// tokens.
pub fn of_answers(dataset: Dataset<Question>, length: usize) -> Details<QuestionAnswering> {
    Box::new(move |task, examined| {
        let mut sections = Vec::new();
        let found = examined.as_ref().and_then(|e| Some((e, split(&dataset, e.split)?)));
        if let Some((examined, split)) = found {
            let (name, answered) = (examined.split, &examined.findings);
            let rows: Vec<Row> = split.examples.iter().zip(answered).collect();
            sections.push(Section::new(format!("Answers on the {name} set"), parts(&rows)));
            let title = format!("The worst answers on the {name} set");
            sections.push(Section::new(title, worst(rows)));
        }
        let lengths = Lengths { tokens: task.lengths(), most: length, cut: None, of: "windows" };
        sections.push(about_texts(&lengths, &contexts(&dataset)));
        Ok(sections)
    })
}

type Row<'a> = (&'a Question, &'a Answered);

/// The scores of all questions, of those with an answer, and of those without.
fn parts(rows: &[Row]) -> Markup {
    let impossible = |row: &&Row| row.0.answers.is_empty();
    let (without, with): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(impossible);
    let mut lines = vec![("all", rows.iter().collect())];
    if !without.is_empty() {
        lines.extend([("with an answer", with), ("without an answer", without)]);
    }
    let says_none = rows.iter().filter(|row| row.1.text.is_empty()).count();
    html! {
        div.wide { table {
            tr { th { "questions" } th.n { "exact match" } th.n { "F1" } th.n { "questions" } }
            @for (name, rows) in &lines { tr {
                td { (name) } td.n { (mean(rows, |a| f64::from(a.exact))) }
                td.n { (mean(rows, |a| a.f1)) } td.n { (rows.len()) }
            } }
        } }
        p { "In percent. The model says of " (says_none) " questions that their text has no answer." }
    }
}

fn mean(rows: &[&Row], of: impl Fn(&Answered) -> f64) -> String {
    let sum: f64 = rows.iter().map(|row| of(row.1)).sum();
    match rows.len() {
        0 => String::new(),
        all => format!("{:.1}", sum * 100.0 / all as f64),
    }
}

/// The questions whose answers share the fewest words with the right ones; of equals, those where
/// the model is most sure.
fn worst(mut rows: Vec<Row>) -> Markup {
    rows.retain(|(_, answered)| !answered.exact);
    // No answer is surer the higher its score is above that of the best one.
    let sure = |answered: &Answered| match answered.text.is_empty() {
        true => answered.difference,
        false => -answered.difference,
    };
    rows.sort_by(|a, b| a.1.f1.total_cmp(&b.1.f1).then(sure(b.1).total_cmp(&sure(a.1))));
    if rows.is_empty() {
        return html! { p { "Every answer is an exact match." } };
    }
    html! {
        p { "The most certain first." }
        div.wide { table {
            tr { th { "question" } th { "answer" } th { "the model says" } th.n { "F1" } }
            @for (question, answered) in rows.iter().take(SHOWN) { tr {
                td.text { (clipped(&question.question)) }
                td { (right(question)) }
                td { (none_or(&answered.text)) }
                td.n { (format!("{:.2}", answered.f1)) }
            } }
        } }
    }
}

/// The distinct right answers of a question.
fn right(question: &Question) -> Markup {
    let mut seen = HashSet::new();
    let mut texts: Vec<&str> = question.answers.iter().map(|answer| &*answer.text).collect();
    texts.retain(|text| seen.insert(*text));
    none_or(&texts.join(" | "))
}

fn none_or(text: &str) -> Markup {
    html! { @if text.is_empty() { i { "no answer" } } @else { (clipped(text)) } }
}

/// The texts about which the questions are, each once.
fn contexts(dataset: &Dataset<Question>) -> Texts<'_> {
    fn of(split: &Split<Question>) -> Vec<Cow<'_, str>> {
        let mut seen = HashSet::new();
        let all = split.examples.iter().map(|question| &*question.context);
        all.filter(|text| seen.insert(*text)).map(Cow::Borrowed).collect()
    }
    let others = [("dev", &dataset.dev), ("test", &dataset.test)].into_iter();
    Texts {
        train: of(&dataset.train),
        others: others.filter_map(|(name, split)| Some((name, of(split.as_ref()?)))).collect(),
    }
}
