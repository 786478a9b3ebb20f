//! `train tokens` end to end, on a small data set of people and places.

use std::path::{Path, PathBuf};

use crate::common::{from_scratch, interrupted, json, last, metrics, ok, run, stderr, weights};
use gradus_models::pipelines::TokenTagger;

/// Sentences of a person and a place, in CoNLL columns and, for the test set, JSON lines.
pub fn data(folder: &Path) -> PathBuf {
    let people = ["ada", "bo", "cy", "dee", "eve", "flo"];
    let places = ["york", "rome", "oslo", "lima", "bern", "kyiv"];
    let path = folder.join("ner");
    std::fs::create_dir_all(&path).unwrap();
    let sentence = |i: usize, j: usize| {
        let (person, place) = (people[i], places[j]);
        match (i + j) % 3 {
            0 => vec![
                (person, "B-PER"),
                ("lives", "O"),
                ("in", "O"),
                ("new", "B-LOC"),
                (place, "I-LOC"),
            ],
            1 => {
                vec![("from", "O"), (place, "B-LOC"), (",", "O"), (person, "B-PER"), ("wrote", "O")]
            }
            _ => vec![("the", "O"), ("road", "O"), ("to", "O"), (place, "B-LOC")],
        }
    };
    let all: Vec<_> = (0..36).map(|n| sentence(n % 6, n / 6)).collect();
    for (file, sentences) in [("train.conll", &all[..24]), ("dev.conll", &all[24..30])] {
        let mut text = String::from("-DOCSTART- O\n\n");
        for sentence in sentences {
            sentence.iter().for_each(|(word, tag)| text += &format!("{word} {tag}\n"));
            text += "\n";
        }
        std::fs::write(path.join(file), text).unwrap();
    }
    let lines = all[30..].iter().map(|sentence| {
        let (words, tags): (Vec<&str>, Vec<&str>) = sentence.iter().copied().unzip();
        format!("{}\n", serde_json::json!({"tokens": words, "tags": tags}))
    });
    std::fs::write(path.join("test.jsonl"), lines.collect::<String>()).unwrap();
    path
}

/// `train tokens` from scratch on `data`, into `out`.
pub fn scratch<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    from_scratch(&["tokens", "--vocab-size", "150", "--batch-size", "4"], [data, out], more)
}

#[test]
fn a_tagger_learns_and_its_folder_gives_spans() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let output = run(&scratch(&data, &out, &["--epochs", "25", "--lr", "3e-3", "--json"]));
    let last = last(&output);
    for key in ["f1", "precision", "recall", "accuracy", "loss"] {
        assert!(last[format!("test_{key}")].is_number(), "test_{key} in {last}");
        assert!(last[format!("dev_{key}")].is_number(), "dev_{key} in {last}");
    }
    assert_eq!(last["steps"], 150);
    assert!(last["test_f1"].as_f64().unwrap() > 0.8, "{last}");
    assert!(
        stderr(&output).contains("24 training sentences of 112 words, 4 tags"),
        "{}",
        stderr(&output)
    );

    let config = json(&out.join("config.json"));
    assert_eq!(config["architectures"], serde_json::json!(["BertForTokenClassification"]));
    assert_eq!(
        config["id2label"],
        serde_json::json!({"0": "B-LOC", "1": "B-PER", "2": "I-LOC", "3": "O"})
    );
    assert_eq!(config["label2id"]["O"], 3);
    assert!(config.get("problem_type").is_none_or(serde_json::Value::is_null), "{config}");
    let model = TokenTagger::open(out.to_str().unwrap()).unwrap();
    let spans = model.tag_spans(&["bo lives in new rome"]).unwrap();
    let found: Vec<_> =
        spans[0].iter().map(|s| (s.text.as_str(), s.label.as_str(), s.start, s.end)).collect();
    assert_eq!(found, [("bo", "PER", 0, 2), ("new rome", "LOC", 12, 20)]);

    // The head belongs to the folder: training goes on with it.
    let again = dir.path().join("again");
    let flags = ["tokens", "--data", data.to_str().unwrap(), "--model", out.to_str().unwrap()];
    let output = run(&[&flags[..], &["--steps", "1", "--out", again.to_str().unwrap()]].concat());
    ok(&output);
    let said = stderr(&output);
    assert!(!said.contains("anew") && !said.contains("at random"), "{said}");
}

#[test]
fn ctrl_c_saves_and_resuming_ends_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out, whole) = (data(dir.path()), dir.path().join("out"), dir.path().join("whole"));
    // Batches of unequal numbers of words, dev sets in between, dropout.
    let steps = ["--steps", "1200", "--eval-every", "60", "--accumulate", "2", "-q"];
    let stopped = interrupted(&scratch(&data, &out, &steps), &out, 70);
    assert!((70..1200).contains(&stopped), "stopped at step {stopped}");
    ok(&run(&["tokens", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&scratch(&data, &whole, &steps)));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
    assert_eq!(metrics(&out), metrics(&whole));

    let file = data.join("train.conll");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("lives", "stays")).unwrap();
    let refused = run(&["tokens", "--resume", out.to_str().unwrap()]);
    assert!(stderr(&refused).contains("training set has changed"), "{}", stderr(&refused));
    let refused = run(&["classify", "--resume", out.to_str().unwrap()]);
    assert!(stderr(&refused).contains("train tokens --resume"), "{}", stderr(&refused));
}

#[test]
fn words_that_do_not_reach_the_model_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let path = data.join("train.conll");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "\u{200b}\tO\n\nada\tB-PER\n\u{200b}\tO\n").unwrap();
    let args = ["--steps", "2", "--max-length", "5"];
    let output = run(&scratch(&data, &out, &args));
    ok(&output);
    let said = stderr(&output);
    for part in [
        "training words are beyond 5 tokens (--max-length)",
        "their tags are not learnt",
        "dev words are beyond 5 tokens",
        "count as O",
        "2 of 115 training words have no token",
        "1 of 26 training sentences have no tokens",
    ] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = data(dir.path());
    let out = dir.path().join("out");
    let fails = |data: &Path, more: &[&str], code: i32, parts: &[&str]| {
        let output = run(&scratch(data, &out, more));
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        for part in parts {
            assert!(stderr(&output).contains(part), "no `{part}` in: {}", stderr(&output));
        }
    };
    fails(&good, &["--scheme", "ioe2"], 2, &["--scheme", "`B-LOC`", "ioe2"]);
    fails(&good, &["--scheme", "iob3"], 2, &["iob3", "conll, iob2"]);
    fails(&good, &["--metric", "macro_f1"], 2, &["--metric", "f1, precision, recall, accuracy"]);
    fails(&good, &["--text-column", "a"], 2, &["--text-column"]);
    let unknown = dir.path().join("unknown");
    std::fs::create_dir(&unknown).unwrap();
    std::fs::copy(good.join("train.conll"), unknown.join("train.conll")).unwrap();
    std::fs::write(unknown.join("dev.conll"), "ada\tO\nx\tB-ORG\n").unwrap();
    fails(&unknown, &[], 1, &["dev.conll:2", "`B-ORG`", "B-LOC, B-PER, I-LOC, O"]);

    let numbers = dir.path().join("numbers.jsonl");
    let line = |tag: u8| format!("{{\"words\": [\"ada\", \"ran\"], \"ner_tags\": [{tag}, 0]}}\n");
    std::fs::write(&numbers, line(1) + &line(1)).unwrap();
    let columns = ["--tokens-column", "words", "--tags-column", "ner_tags", "--steps", "1"];
    fails(&numbers, &[], 1, &["numbers.jsonl:1", "no key `tokens`", "words"]);
    fails(&numbers, &columns, 1, &["tags are numbers", "--tag-names"]);
    let named = [&columns[..], &["--tag-names", "O,B-PER"]].concat();
    ok(&run(&scratch(&numbers, &out, &named)));
    assert_eq!(json(&out.join("config.json"))["id2label"]["0"], "B-PER");
    // A resumed run has the names from its record.
    let resumed = run(&["tokens", "--resume", out.to_str().unwrap(), "--steps", "2", "-q"]);
    ok(&resumed);
}

/// Tags without B- and I- are each an answer of its own, and the metrics say so.
#[test]
fn parts_of_speech_are_counted_word_by_word() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("pos.conll"), dir.path().join("out"));
    let text = "1 the DET _\n2 cat NOUN _\n3 runs VERB _\n\n".repeat(50);
    std::fs::write(&file, text).unwrap();
    let columns = ["--tokens-column", "2", "--tags-column", "3", "--epochs", "12", "--lr", "3e-3"];
    let before = ["--json", "--dropout", "0"];
    let output = run(&[&before[..], &scratch(&file, &out, &columns)].concat());
    let last = last(&output);
    assert_eq!(last["dev_f1"], last["dev_accuracy"], "{last}");
    assert_eq!(last["dev_f1"], 1.0, "{last}");
    let said = stderr(&output);
    assert!(said.contains("each word counts by itself"), "{said}");
    assert!(said.contains("5 of 50 texts (10 %) are set aside"), "{said}");
    assert_eq!(json(&out.join("config.json"))["hidden_dropout_prob"], 0.0);
}
