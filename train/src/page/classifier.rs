//! What the page tells of a run of `train classify`.

use std::borrow::Cow;

use gradus_models::tasks::{Classification, Encoded, Tally};
use gradus_models::{Dataset, Labels, Result, Split};

use super::Section;
use super::data::{Texts, about_texts};
use super::labels::about_labels;
use crate::tasks::Details;

/// The labels and the texts of a classifier, trained on texts of at most `length` tokens.
pub fn of_classifier(dataset: Dataset, labels: Labels, length: usize) -> Details<Classification> {
    Box::new(move |task, [dev, test]| {
        // The test set if there is one: dev has chosen the model, and flatters it.
        let test = dataset.test.as_ref().zip(test).map(|(split, set)| ("test", split, set));
        let dev = dataset.dev.as_ref().zip(dev).map(|(split, set)| ("dev", split, set));
        let mut sections = match test.or(dev) {
            Some((name, split, set)) => judged(name, split, set, task, &labels)?,
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
    let texts: Vec<Cow<str>> = split.examples.iter().map(|e| joined(e.texts())).collect();
    let answers = split.examples.iter().map(|example| example.label.as_deref());
    let truths: Vec<_> = texts.iter().map(AsRef::as_ref).zip(answers).collect();
    Ok(about_labels(name, &tally, &judged, &truths, labels))
}

fn joined<'a>((text, pair): (&'a str, Option<&str>)) -> Cow<'a, str> {
    pair.map_or(Cow::Borrowed(text), |pair| format!("{text} / {pair}").into())
}

fn texts(dataset: &Dataset) -> Texts<'_> {
    fn of(split: &Split) -> Vec<Cow<'_, str>> {
        split.examples.iter().map(|example| joined(example.texts())).collect()
    }
    let others = [("dev", &dataset.dev), ("test", &dataset.test)].into_iter();
    Texts {
        train: of(&dataset.train),
        others: others.filter_map(|(name, split)| Some((name, of(split.as_ref()?)))).collect(),
    }
}
