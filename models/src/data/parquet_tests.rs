//! The files are those of `models/tests/files/make.py`.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::data::{
    Columns, Corpora, Corpus, Dataset, Format, LabelForm, Labels, PairColumns, PairForm, Split,
    TaggedColumns, read_inputs_from, read_questions,
};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

fn rows(name: &str) -> Rows {
    Rows::of_file(&file(name)).unwrap()
}

/// A value whose numbers are as exact as f32.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            json!(number.as_f64().map(|number| number as f32))
        }
        other => other.clone(),
    }
}

#[test]
fn every_value_is_that_of_pandas() {
    let expected = fs::read(file("expected.json")).unwrap();
    let expected: BTreeMap<String, Vec<Map<String, Value>>> =
        serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.len(), 13);
    for (name, expected) in expected {
        // pandas knows no names of labels.
        let found = Rows { names: Vec::new(), ..rows(&name) };
        let found: Vec<_> = found.map(|row| row.unwrap()).collect();
        let numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=expected.len() as u64).collect::<Vec<_>>(), "{name}");
        for ((_, found), expected) in found.iter().zip(&expected) {
            assert!(found.keys().eq(expected.keys()), "{name}");
            for (column, expected) in expected {
                let single = ["single", "score"].contains(&column.as_str());
                let as_is = |value: &Value| if single { rounded(value) } else { value.clone() };
                assert_eq!(as_is(&found[column]), as_is(expected), "{name}: {column}");
            }
        }
    }
}

#[test]
fn single_precision_numbers_are_as_short_as_they_were_written() {
    let first = rows("scores.parquet").next().unwrap().unwrap().1;
    assert_eq!(first["score"].to_string(), "0.1");
}

#[test]
fn labels_have_the_names_that_the_file_gives_them() {
    let split = Split::read(file("texts.parquet"), &Columns::default()).unwrap();
    let labels: Vec<_> = split.examples.iter().map(|e| e.label.as_deref().unwrap()).collect();
    assert_eq!(labels, ["pos", "neg", "pos", "neg", "pos"]);
    assert_eq!(split.examples[3].text, "line one\nline two");
    let columns = Columns { label: Some("labels".into()), ..Columns::default() };
    let several = Columns { labels: LabelForm::Several, ..columns };
    let split = Split::read(file("multi.parquet"), &several).unwrap();
    let labels = Labels::from_sets(&split).unwrap();
    assert_eq!(labels.names(), ["fear", "joy", "love"]);
    let ids = labels.encode_sets(&split).unwrap();
    assert_eq!(ids, [vec![1, 2], vec![], vec![0], vec![2], vec![0, 1, 2]]);
}

#[test]
fn every_task_reads_its_form() {
    let tags = |column: &str| {
        let columns = TaggedColumns { tags: Some(column.into()), ..TaggedColumns::default() };
        Split::read_tagged(file("tags.parquet"), &columns).unwrap().examples
    };
    assert_eq!(tags("ner_tags"), tags("tags"));
    assert_eq!(tags("tags")[0].words, ["Ada", "lives", "in", "New", "York"]);
    let questions = Split::read_questions(file("squad.parquet")).unwrap().examples;
    let answers = &questions[0].answers;
    assert_eq!(&questions[0].context[answers[0].place.clone().unwrap()], "Köln");
    assert_eq!(&questions[0].context[answers[1].place.clone().unwrap()], "in Köln");
    assert!(questions[1].is_impossible() && questions[1].line == Some(2));
    assert_eq!(read_questions(file("squad.parquet")).unwrap().len(), 2);
    let pairs = |name: &str| Split::read_pairs(file(name), &PairColumns::default()).unwrap();
    assert_eq!(pairs("pairs.parquet").form(), PairForm::Triplets);
    assert_eq!(pairs("pairs.parquet").examples[0].negatives, ["x", "y"]);
    assert_eq!(pairs("scores.parquet").examples[0].number(), Some(0.1));
    let corpus = Corpus::open(file("texts.parquet")).unwrap();
    assert!(corpus.read(0).unwrap().starts_with("a fine film\ndull"));
    let bytes = fs::read(file("texts.parquet")).unwrap();
    let columns = Columns::text_only();
    let name = Path::new("piped");
    let inputs = read_inputs_from(bytes.as_slice(), name, Format::Parquet, &columns).unwrap();
    assert_eq!(inputs.len(), 5);
}

#[test]
fn shards_are_one_set_in_their_order() {
    let folder = file("hub");
    let dataset = Dataset::open(&folder, &Columns::default()).unwrap();
    let whole = Split::read(file("texts.parquet"), &Columns::default()).unwrap();
    assert_eq!(dataset.train.examples, whole.examples);
    assert!(dataset.train.path.ends_with("data/train-*-of-00002.parquet"));
    assert_eq!(dataset.dev.unwrap().examples.len(), 2);
    assert_eq!((dataset.test, dataset.remarks), (None, Vec::new()));
    let corpora = Corpora::open(&folder).unwrap();
    assert_eq!(corpora.train.windows(), 2);
    assert!(corpora.dev.is_some() && corpora.test.is_none());
}

#[test]
fn shards_that_are_missing_or_strange_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        fs::copy(file("hub/data").join(from), folder.path().join(to)).unwrap();
    };
    let error = || Dataset::open(folder.path(), &Columns::default()).unwrap_err().to_string();
    let second = "train-00001-of-00002.parquet";
    copy(second, second);
    assert!(error().contains("`train` has 2 shards, and shard 0 is missing"), "{}", error());
    let first = "train-00000-of-00002.parquet";
    copy(first, first);
    copy(first, "train.parquet");
    assert!(error().contains("both train.parquet and train-00000-of-00002"), "{}", error());
    fs::remove_file(folder.path().join("train.parquet")).unwrap();
    copy(first, "train-00000-of-00003.parquet");
    assert!(error().contains("not of one data set"), "{}", error());
}

#[test]
fn what_is_wrong_is_told_with_file_column_and_row() {
    let error =
        |name: &str, columns: &Columns| Split::read(file(name), columns).unwrap_err().to_string();
    let plain = Columns::default();
    let told = error("gap.parquet", &plain);
    assert!(told.contains("gap.parquet:3: the label `label` is null"), "{told}");
    let told = error("outside.parquet", &plain);
    assert!(told.contains("outside.parquet:2: `label`: the label 2 has no name"), "{told}");
    let told = error("zstd.parquet", &plain);
    assert!(told.contains("compressed with zstd"), "{told}");
    let told = error("texts.parquet", &Columns { text: "review".into(), ..plain.clone() });
    assert!(told.contains("no key `review`; the keys are: "), "{told}");
    let text = Columns { text: "whole".into(), label: None, ..plain };
    let told = error("kinds.parquet", &text);
    assert!(told.contains("kinds.parquet:1: `whole` is a number, not a string"), "{told}");
    let dataset = |name: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(file("texts.parquet"), folder.path().join("train.parquet")).unwrap();
        fs::copy(file(name), folder.path().join("test.parquet")).unwrap();
        Dataset::open(folder.path(), &Columns::default()).unwrap()
    };
    // The hub's test sets may have no labels.
    let unlabelled = dataset("nolabel.parquet");
    assert!(unlabelled.test.is_none() && unlabelled.remarks[0].contains("the label `-1`"));
}

#[test]
fn damaged_files_are_refused() {
    let bytes = fs::read(file("kinds.parquet")).unwrap();
    let read = |bytes: Vec<u8>| -> Result<usize> {
        let rows: Result<Vec<_>> = Rows::of_bytes(Path::new("a.parquet"), bytes)?.collect();
        Ok(rows?.len())
    };
    for length in (0..bytes.len()).step_by(97) {
        let told = read(bytes[..length].to_vec()).unwrap_err().to_string();
        assert!(told.contains("a.parquet") && told.contains("damaged"), "{told}");
    }
    // A changed byte may change a value, but it ends in rows or in an error.
    let small = fs::read(file("squad.parquet")).unwrap();
    for at in 0..small.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = small.clone();
            bytes[at] ^= change;
            let _ = read(bytes);
        }
    }
}
