//! What `--dry-run` tells of the texts and labels of a classifier.

use std::collections::HashMap;

use gradus_models::tasks::Problem;
use gradus_models::{Dataset, Example, Labels, Split};

/// Labels that are named.
const NAMED: usize = 5;

/// Lines about the rows, the labels and their balance, empty texts and duplicates.
pub fn of_classifier(dataset: &Dataset, problem: Problem, labels: &Labels) -> Vec<String> {
    let splits = [
        ("training", Some(&dataset.train)),
        ("dev", dataset.dev.as_ref()),
        ("test", dataset.test.as_ref()),
    ];
    let mut lines = Vec::new();
    for (name, split) in splits.into_iter().filter_map(|(name, split)| Some((name, split?))) {
        lines.push(about_rows(name, split));
    }
    if problem != Problem::Regression {
        lines.push(balance(&dataset.train, problem, labels));
    }
    lines.extend(duplicates(&dataset.train));
    lines
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
fn balance(train: &Split, problem: Problem, labels: &Labels) -> String {
    let mut counts: Vec<(usize, &String)> = labels.names().iter().map(|name| (0, name)).collect();
    let given = |example: &Example| -> Vec<u32> {
        let label = example.label.as_deref().unwrap_or_default();
        let names: Vec<&str> = match problem {
            Problem::Multi => label.split('|').map(str::trim).collect(),
            _ => vec![label],
        };
        names.into_iter().filter_map(|name| labels.id(name)).collect()
    };
    train.examples.iter().flat_map(given).for_each(|id| counts[id as usize].0 += 1);
    counts.sort_by_key(|count| std::cmp::Reverse(count.0));
    let named = |(count, name): &(usize, &String)| format!("{name} {count}");
    if counts.len() <= 2 * NAMED {
        return format!("labels: {}", counts.iter().map(named).collect::<Vec<_>>().join(", "));
    }
    let first: Vec<String> = counts.iter().take(NAMED).map(named).collect();
    let last: Vec<String> = counts.iter().skip(counts.len() - NAMED).map(named).collect();
    let middle = counts[counts.len() / 2].0;
    format!("labels: {}, …, {} (the middle one has {middle})", first.join(", "), last.join(", "))
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
