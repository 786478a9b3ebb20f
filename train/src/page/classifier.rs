//! What the page tells of a run of `train classify`.

use gradus_models::tasks::{Classification, Encoded, Tally};
use gradus_models::{Dataset, Labels, Result, Split};

use super::Section;
use super::data::{Texts, about_texts};
use super::labels::about_labels;
use crate::tasks::Details;

/// The labels and the texts of a classifier, trained on texts of at most `length` tokens.
pub fn of_classifier(dataset: Dataset, labels: Labels, length: usize) -> Details<Classification> {
    Box::new(move |task, [dev, test]| {
        let split = |name, split: &Option<Split>, set| Some((name, split.clone()?, set?));
        // The test set if there is one: dev has chosen the model, and flatters it.
        let shown = split("test", &dataset.test, test).or(split("dev", &dataset.dev, dev));
        let mut sections = match shown {
            Some((name, split, set)) => judged(name, &split, set, task, &labels)?,
            None => Vec::new(),
        };
        let cut = task.encodings().iter().filter(|encoding| encoding.truncated).count();
        let lengths: Vec<usize> = task.encodings().iter().map(|e| e.len()).collect();
        sections.push(about_texts(&lengths, length, Some(cut), &texts(&dataset)));
        Ok(sections)
    })
}

fn judged(
    name: &str,
    split: &Split,
    set: &Encoded,
    task: &Classification,
    labels: &Labels,
) -> Result<Vec<Section>> {
    let mut tally = Tally::new(&set.answers);
    let logits = task.text_logits(&set.encodings)?;
    let judged: Vec<_> = logits.iter().enumerate().map(|(i, row)| tally.add(row, i)).collect();
    let texts: Vec<String> = split.examples.iter().map(|e| joined(e.texts())).collect();
    let answers = split.examples.iter().map(|example| example.label.as_deref());
    let truths: Vec<_> = texts.iter().map(String::as_str).zip(answers).collect();
    Ok(about_labels(name, &tally, &judged, &truths, labels))
}

fn joined((text, pair): (&str, Option<&str>)) -> String {
    pair.map_or_else(|| text.to_string(), |pair| format!("{text} / {pair}"))
}

fn texts(dataset: &Dataset) -> Texts {
    let of = |split: &Split| split.examples.iter().map(|e| joined(e.texts())).collect();
    let other = |name, split: &Option<Split>| Some((name, of(split.as_ref()?)));
    Texts {
        train: of(&dataset.train),
        others: [other("dev", &dataset.dev), other("test", &dataset.test)]
            .into_iter()
            .flatten()
            .collect(),
    }
}
