//! What the page tells of a run of `train classify` and of `train distill`.

use std::borrow::Cow;

use gradus_models::tasks::{Answers, Classification, Distillation, Tally};
use gradus_models::training::Task;
use gradus_models::{Dataset, Example, Labels, Split};
use maud::{Markup, html};

use super::Section;
use super::data::{Lengths, about_texts, joined, split, texts};
use super::labels::about_labels;
use crate::tasks::Details;

/// The labels and the texts of a classifier, trained on texts of at most `length` tokens.
pub fn of_classifier(dataset: Dataset, labels: Labels, length: usize) -> Details<Classification> {
    Box::new(move |task, examined| {
        let mut sections = Vec::new();
        let found = examined.as_ref().and_then(|e| Some((e, split(&dataset, e.split)?)));
        if let Some((examined, split)) = found {
            let truths = split.examples.iter().map(|example| example.label.as_deref());
            let answers = (&examined.set.answers, truths.collect());
            let judged = Judgement { split, name: examined.split, labels: &labels };
            sections = judged.of(&examined.findings, answers);
        }
        let cut = task.encodings().iter().filter(|encoding| encoding.truncated).count();
        sections.push(about(&dataset, (task.lengths(), length), cut));
        Ok(sections)
    })
}

/// The same of a student. Without labels, its answers are compared with its teacher's.
pub fn of_student(
    dataset: Dataset,
    labels: Labels,
    (cut, length): (usize, usize),
) -> Details<Distillation> {
    Box::new(move |task, examined| {
        let mut sections = Vec::new();
        let found = examined.as_ref().and_then(|e| Some((e, split(&dataset, e.split)?)));
        if let Some((examined, split)) = found {
            let taught: Vec<u32> = examined.findings.iter().map(|text| text.teacher).collect();
            let logits: Vec<_> = examined.findings.iter().map(|text| text.logits.clone()).collect();
            let truths = examined.set.labels.as_ref().unwrap_or(&taught).clone();
            let shown = truths.iter().map(|&id| labels.name(id)).collect();
            let title = format!("Student and teacher on the {} set", examined.split);
            let of_labels = examined.set.labels.as_deref();
            sections.push(Section::new(title, both(&logits, &taught, of_labels)));
            let judged = Judgement { split, name: examined.split, labels: &labels };
            sections.extend(judged.of(&logits, (&Answers::Single(truths), shown)));
        }
        sections.push(about(&dataset, (task.lengths(), length), cut));
        Ok(sections)
    })
}

/// A split whose texts were judged.
struct Judgement<'a> {
    split: &'a Split,
    name: &'static str,
    labels: &'a Labels,
}

impl Judgement<'_> {
    /// What the logits of the texts say beside the answers, which are also given as they are shown.
    fn of(
        &self,
        logits: &[Vec<f32>],
        (answers, shown): (&Answers, Vec<Option<&str>>),
    ) -> Vec<Section> {
        let mut tally = Tally::new(answers);
        let judged: Vec<_> = logits.iter().enumerate().map(|(i, row)| tally.add(row, i)).collect();
        let texts: Vec<Cow<str>> = self.split.examples.iter().map(|e| joined(e.texts())).collect();
        let truths: Vec<_> = texts.iter().map(AsRef::as_ref).zip(shown).collect();
        about_labels(self.name, &tally, &judged, &truths, self.labels)
    }
}

/// How often student and teacher agree, and who is right.
fn both(logits: &[Vec<f32>], taught: &[u32], labels: Option<&[u32]>) -> Markup {
    let chosen: Vec<u32> = logits.iter().map(|row| largest(row)).collect();
    let all = taught.len().max(1) as f64;
    let share = |count: usize| format!("{count} ({:.1} %)", count as f64 * 100.0 / all);
    let agree = chosen.iter().zip(taught).filter(|(own, theirs)| own == theirs).count();
    let right = |student: bool, teacher: bool| {
        let rows = chosen.iter().zip(taught).zip(labels.into_iter().flatten());
        rows.filter(|((own, theirs), truth)| {
            (own == truth) == student && (theirs == truth) == teacher
        })
        .count()
    };
    html! {
        p { "They choose the same label for " (share(agree)) " of the texts." }
        @match labels {
            None => p { "The data has no labels: what follows compares the student with its teacher." },
            Some(_) => div.wide { table {
                tr { th {} th.n { "teacher right" } th.n { "teacher wrong" } }
                tr { th { "student right" } td.n { (share(right(true, true))) } td.n { (share(right(true, false))) } }
                tr { th { "student wrong" } td.n { (share(right(false, true))) } td.n { (share(right(false, false))) } }
            } },
        }
    }
}

/// The place of the largest number.
fn largest(row: &[f32]) -> u32 {
    let first = |best: (usize, f32), (i, &x): (usize, &f32)| if x > best.1 { (i, x) } else { best };
    row.iter().enumerate().fold((0, f32::NEG_INFINITY), first).0 as u32
}

fn about(dataset: &Dataset, (tokens, most): (&[usize], usize), cut: usize) -> Section {
    let lengths = Lengths { tokens, most, cut: Some(cut), of: "texts" };
    about_texts(&lengths, &texts(dataset, |example: &Example| joined(example.texts())))
}
