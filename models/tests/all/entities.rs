//! Entities and their scores beside `seqeval`, in values that `tests/golden/entities.py` wrote.

use gradus_models::evaluation::{ClassScores, EntityScores, Scheme, entities};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Precision, recall, F1, and the number of entities.
type Row = (f64, f64, f64, u64);

#[derive(Deserialize)]
struct Case {
    scheme: String,
    truth: Vec<String>,
    predicted: Vec<String>,
    micro: Row,
    by_kind: BTreeMap<String, Row>,
    accuracy: f64,
}

#[track_caller]
fn near(ours: ClassScores, theirs: Row, what: &str) {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{what}: {a} and {b}");
    close(ours.precision, theirs.0);
    close(ours.recall, theirs.1);
    close(ours.f1, theirs.2);
    assert_eq!(ours.support, theirs.3, "{what}");
}

#[test]
fn entities_count_as_seqeval_counts_them() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/entities.json")).unwrap();
    assert!(cases.len() > 100);
    for (number, case) in cases.iter().enumerate() {
        let mut scores = EntityScores::new(case.scheme.parse().unwrap());
        for (truth, predicted) in case.truth.iter().zip(&case.predicted) {
            let tags = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
            scores.add(&tags(truth), &tags(predicted));
        }
        let what = format!("case {number}, {}: {:?} {:?}", case.scheme, case.truth, case.predicted);
        near(scores.micro(), case.micro, &what);
        let kinds: Vec<&str> = scores.by_kind().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, case.by_kind.keys().collect::<Vec<_>>(), "{what}");
        for (kind, ours) in scores.by_kind() {
            near(ours, case.by_kind[kind], &format!("{kind} in {what}"));
        }
        assert!((scores.accuracy() - case.accuracy).abs() < 1e-12, "{what}");
    }
}

#[test]
fn tags_without_prefixes_count_word_by_word() {
    let tags = ["DET", "NOUN", "NOUN", "O"];
    assert_eq!(Scheme::of(&tags), Scheme::Words);
    let found = entities(&tags, Scheme::Words);
    let found: Vec<_> = found.iter().map(|e| (e.kind.as_str(), e.start, e.end)).collect();
    assert_eq!(found, [("DET", 0, 1), ("NOUN", 1, 2), ("NOUN", 2, 3)]);
    assert_eq!(Scheme::of(&["O", "B-X", "I-X"]), Scheme::Conll);
    assert_eq!(Scheme::of(&["O", "B-X", "L-X", "U-X"]), Scheme::Bilou);
}

#[test]
fn a_strict_scheme_refuses_tags_of_another() {
    let tags = ["B-X", "E-X", "O"];
    let error = Scheme::Iob2.check(&tags).unwrap_err().to_string();
    assert!(
        error.contains("`E-X`") && error.contains("iob2") && error.contains("B-, I-"),
        "{error}"
    );
    Scheme::Iobes.check(&tags).unwrap();
    Scheme::Conll.check(&tags).unwrap();
    let error = "iob3".parse::<Scheme>().unwrap_err().to_string();
    assert!(error.contains("iob3") && error.contains("conll, iob2"), "{error}");
}

/// No tags, however odd, end in a panic, and every entity lies within the sentence.
#[test]
fn odd_tags_have_entities_within_the_sentence() {
    let odd = ["", "-", "B", "B-", "B--X", "I-X", "Ärger", "é-X", "O-X", ".", "O"];
    for first in odd {
        for second in odd {
            for scheme in ["conll", "iob2", "ioe2", "iobes", "bilou", "words"] {
                for entity in entities(&[first, second], scheme.parse().unwrap()) {
                    assert!(entity.start < entity.end && entity.end <= 2, "{first} {second}");
                }
            }
        }
    }
}
