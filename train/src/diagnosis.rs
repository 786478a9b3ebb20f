//! What `--dry-run` tells of the texts and labels of a classifier.

use std::collections::HashMap;

use gradus_models::tasks::{Answers, Problem};
use gradus_models::{Dataset, Example, Labels, Result, Split};

/// Labels that are named.
const NAMED: usize = 5;

/// Lines about the rows, the labels and their balance, empty texts and duplicates.
///
/// # Errors
/// When a label does not fit the problem.
pub fn of_classifier(dataset: &Dataset, problem: Problem, labels: &Labels) -> Result<Vec<String>> {
    let sets = [("dev", &dataset.dev), ("test", &dataset.test)];
    let mut lines = vec![about_rows("training", &dataset.train)];
    lines.extend(sets.iter().filter_map(|(name, set)| Some(about_rows(name, set.as_ref()?))));
    if problem != Problem::Regression {
        lines.push(balance(&Answers::of(&dataset.train, problem, labels)?, labels));
    }
    lines.extend(duplicates(&dataset.train));
    Ok(lines)
}

fn about_rows(name: &str, split: &Split) -> String {
    let empty = split.examples.iter().filter(|e| e.text.trim().is_empty()).count();
    let warning = match empty {
        0 => String::new(),
        1 => ", one without text".into(),
        n => format!(", {n} without text"),
    };
    format!("{name}: {} rows of {}{warning}", split.examples.len(), split.path.display())
}

/// How often the labels occur.
fn balance(answers: &Answers, labels: &Labels) -> String {
    let counts = answers.counts(labels.len());
    let mut counts: Vec<(usize, &String)> = counts.into_iter().zip(labels.names()).collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.0));
    let named = |counts: &[(usize, &String)]| {
        let named = counts.iter().map(|(count, name)| format!("{name} {count}"));
        named.collect::<Vec<_>>().join(", ")
    };
    if counts.len() <= 2 * NAMED {
        return format!("labels: {}", named(&counts));
    }
    let (first, last) = (named(&counts[..NAMED]), named(&counts[counts.len() - NAMED..]));
    let middle = counts[counts.len() / 2].0;
    format!("labels: {first}, …, {last} (the middle one has {middle})")
}

/// Texts that occur more than once, and those of them whose labels differ.
fn duplicates(train: &Split) -> Option<String> {
    let mut seen: HashMap<(&str, Option<&str>), (usize, &Example, bool)> = HashMap::new();
    for example in &train.examples {
        let entry = seen.entry(example.texts()).or_insert((0, example, false));
        entry.0 += 1;
        entry.2 |= entry.1.label != example.label;
    }
    let again: usize = seen.values().map(|(count, ..)| count - 1).sum();
    let mut differ: Vec<u64> =
        seen.values().filter(|entry| entry.2).map(|entry| entry.1.line).collect();
    differ.sort_unstable();
    let clash = match differ.first() {
        None => String::new(),
        Some(line) => {
            format!("; {} texts have several labels (the first is on line {line})", differ.len())
        }
    };
    (again > 0).then(|| format!("duplicates: {again} training rows repeat an earlier one{clash}"))
}
