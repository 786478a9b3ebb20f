use std::fs;

use super::*;

fn read(name: &str, text: &str, columns: &PairColumns) -> Result<Split<TextPair>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    Split::read_pairs(&path, columns)
}

fn said(name: &str, text: &str, columns: &PairColumns) -> String {
    read(name, text, columns).unwrap_err().to_string()
}

fn named(anchor: &str, positive: &str) -> PairColumns {
    PairColumns {
        anchor: Some(anchor.into()),
        positive: Some(positive.into()),
        ..PairColumns::default()
    }
}

#[test]
fn the_usual_names_are_found() {
    for (header, form) in [
        ("anchor,positive", PairForm::Pairs),
        ("id,Query,Answer", PairForm::Pairs),
        ("text,text_pair", PairForm::Pairs),
        ("anchor,positive,negative", PairForm::Triplets),
        ("question,passage,hard_negative_1,hard_negative_2", PairForm::Triplets),
        ("sentence1,sentence2,score", PairForm::Scored),
        ("sentence_1,sentence_2,similarity_score", PairForm::Scored),
    ] {
        let columns = header.split(',').count();
        let row: Vec<String> = (0..columns).map(|i| format!("{}", i + 1)).collect();
        let text = format!("{header}\n{}\n", row.join(","));
        for (name, text) in [("a.csv", text.clone()), ("a.tsv", text.replace(',', "\t"))] {
            let split = read(name, &text, &PairColumns::default()).unwrap();
            assert_eq!(split.form(), form, "{header}");
            let first = usize::from(header.starts_with("id"));
            let pair = &split.examples[0];
            assert_eq!((&pair.anchor, &pair.positive), (&row[first], &row[first + 1]), "{header}");
            let rest = columns - first - 2;
            let found = pair.negatives.len() + usize::from(pair.score.is_some());
            assert_eq!(found, rest, "{header}");
            assert_eq!(pair.line, 2);
        }
    }
}

#[test]
fn negatives_may_be_missing_or_many() {
    let csv = "anchor,positive,negative_1,negative_2\na,b,c,\nd,e,,\n";
    let split = read("a.csv", csv, &PairColumns::default()).unwrap();
    assert_eq!(split.examples[0].negatives, ["c"]);
    assert!(split.examples[1].negatives.is_empty());
    let json = "{\"anchor\": \"a\", \"positive\": \"b\", \"negatives\": [\"c\", \"d\"]}\n\
                {\"anchor\": \"a\", \"positive\": \"b\", \"negatives\": null}\n";
    let split = read("a.jsonl", json, &PairColumns::default()).unwrap();
    assert_eq!(split.examples[0].negatives, ["c", "d"]);
    assert!(split.examples[1].negatives.is_empty());
    assert_eq!(split.form(), PairForm::Triplets);
}

#[test]
fn what_names_do_not_tell_is_refused() {
    let none = PairColumns::default();
    for (text, parts) in [
        ("query,question,answer\na,b,c\n", &["`query` and `question`", "the first text"][..]),
        ("question,answer,context\na,b,c\n", &["`answer` and `context`", "the second text"]),
        ("premise,hypothesis\na,b\n", &["no column is the first text", "premise, hypothesis"]),
        ("anchor,other\na,b\n", &["no column is the second text", "anchor, other"]),
        ("text,pair,label\na,b,1\n", &["`label` may say how similar"]),
        ("anchor,positive,negative,score\na,b,c,1\n", &["`score`", "`negative`"]),
        ("sentence1,sentence2,score,similarity\na,b,1,1\n", &["`score` and `similarity`"]),
    ] {
        let said = said("a.csv", text, &none);
        parts.iter().for_each(|part| assert!(said.contains(part), "no `{part}` in {said}"));
    }
    let twice = said("a.csv", "a,b\n1,2\n", &named("a", "a"));
    assert!(twice.contains("`a` cannot be two things"), "{twice}");
}

#[test]
fn named_columns_are_the_only_ones() {
    let text = "text,pair,label,negative\na,b,1,c\n";
    let split = read("a.csv", text, &named("text", "pair")).unwrap();
    assert_eq!(split.form(), PairForm::Pairs);
    let scored = PairColumns { score: Some("label".into()), ..PairColumns::default() };
    let split = read("a.csv", text, &scored).unwrap();
    assert_eq!((split.form(), split.examples[0].number()), (PairForm::Scored, Some(1.0)));
    let said = said("a.csv", text, &named("text", "other"));
    assert!(said.contains("a.csv:1: no column `other`"), "{said}");
}

#[test]
fn a_row_that_is_wrong_is_named() {
    let none = PairColumns::default();
    for (name, text, part) in [
        ("a.csv", "anchor,positive\na,b\nc, \n", "a.csv:3: the second text is empty"),
        ("a.tsv", "anchor\tpositive\n\tb\n", "a.tsv:2: the first text is empty"),
        (
            "a.csv",
            "sentence1,sentence2,score\na,b,high\n",
            "a.csv:2: the score `high` is no number",
        ),
        ("a.csv", "sentence1,sentence2,score\na,b,NaN\n", "the score `NaN` is no number"),
        ("a.csv", "sentence1,sentence2,score\na,b,\n", "the score `` is no number"),
        ("a.csv", "anchor,positive\n", "holds no examples"),
        ("a.txt", "a\n", "has no pairs"),
        ("a.jsonl", "{\"anchor\": \"a\", \"positive\": 3}", "`positive` is a number"),
        (
            "a.jsonl",
            "{\"anchor\": \"a\", \"positive\": \"b\"}\n{\"anchor\": \"a\"}",
            "a.jsonl:2: no key `positive`",
        ),
        (
            "a.jsonl",
            "{\"anchor\": \"a\", \"positive\": \"b\", \"negative\": [1]}",
            "`negative` is a number, not a string or a list",
        ),
    ] {
        let said = said(name, text, &none);
        assert!(said.contains(part), "no `{part}` in {said}");
    }
}

#[test]
fn dev_and_test_are_of_one_form() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let (pairs, scored) = ("anchor,positive\na,b\n", "sentence1,sentence2,score\na,b,1\n");
    write("train.csv", pairs);
    write("dev.csv", scored);
    let open = || Dataset::open_pairs(folder.path(), &PairColumns::default());
    let dataset = open().unwrap();
    assert_eq!(dataset.dev.unwrap().form(), PairForm::Scored);
    write("test.csv", pairs);
    let said = open().unwrap_err().to_string();
    assert!(
        said.contains("test.csv") && said.contains("dev.csv holds pairs with a score"),
        "{said}"
    );
}
