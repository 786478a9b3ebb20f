//! `train answer` end to end, on small texts about who did something, where and when.

use std::path::{Path, PathBuf};

use crate::common::{from_scratch, interrupted, json, last, metrics, ok, run, stderr, weights};
use gradus_models::pipelines::{AnswerOptions, QuestionAnswerer};
use serde_json::{Value, json};

const PEOPLE: [&str; 6] = ["ada", "zoë", "cy", "dee", "eve", "flo"];
const PLACES: [&str; 6] = ["york", "rome", "oslo", "lima", "bern", "kyiv"];

/// A text and its questions; `none`: whether one of them has no answer.
fn paragraph(i: usize, none: bool) -> Value {
    let (person, place) = (PEOPLE[i % 6], PLACES[i / 6 % 6]);
    let context = match i % 3 {
        0 => format!("😀 it rained . {person} sang a song in {place} ."),
        1 => format!("in {place} there was a song , and {person} sang it . it rained ."),
        _ => format!("a song ! {person} sang in {place} while it rained ."),
    };
    let start = |text: &str| context.split(text).next().unwrap().chars().count();
    let qa = |kind: &str, text: &str| {
        let answers = json!([{"text": text, "answer_start": start(text)}]);
        json!({"id": format!("{i}-{kind}"), "question": format!("{kind} ?"), "answers": answers})
    };
    let mut qas = vec![qa("who", person), qa("where", place)];
    if none {
        let id = format!("{i}-why");
        qas.push(json!({"id": id, "question": "why ?", "answers": [], "is_impossible": true}));
    }
    json!({"context": context, "qas": qas})
}

/// A data set: SQuAD's form for training, rows for the test.
pub fn data(folder: &Path, none: bool) -> PathBuf {
    let path = folder.join("squad");
    std::fs::create_dir_all(&path).unwrap();
    let all: Vec<Value> = (0..36).map(|i| paragraph(i * 5 % 36, none)).collect();
    for (file, paragraphs) in [("train-v1.1.json", &all[..24]), ("dev-v1.1.json", &all[24..30])] {
        let squad = json!({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]});
        std::fs::write(path.join(file), squad.to_string()).unwrap();
    }
    let mut rows = String::new();
    for paragraph in &all[30..] {
        for qa in paragraph["qas"].as_array().unwrap() {
            let mut row = qa.clone();
            row["context"] = paragraph["context"].clone();
            rows += &format!("{row}\n");
        }
    }
    std::fs::write(path.join("test.jsonl"), rows).unwrap();
    path
}

/// `train answer` from scratch on `data`, into `out`.
pub fn scratch<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    from_scratch(&["answer", "--vocab-size", "150", "--batch-size", "8"], [data, out], more)
}

#[test]
fn a_model_learns_to_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path(), true), dir.path().join("out"));
    let flags = ["--epochs", "20", "--lr", "1e-3", "--dropout", "0", "--json"];
    let output = run(&scratch(&data, &out, &flags));
    let last = last(&output);
    for key in ["exact_match", "f1", "loss", "HasAns_f1", "HasAns_exact", "NoAns_exact"] {
        assert!(last[format!("test_{key}")].is_number(), "test_{key} in {last}");
        assert!(last[format!("dev_{key}")].is_number(), "dev_{key} in {last}");
    }
    assert_eq!(last["steps"], 180);
    assert!(last["test_exact_match"].as_f64().unwrap() > 0.8, "{last}");
    assert_eq!(last["test_NoAns_exact"], 1.0, "{last}");
    let said = stderr(&output);
    assert!(said.contains("72 training questions, 24 of them without an answer"), "{said}");
    // The lines of the evaluations have the best thresholds too.
    let lines = metrics(&out);
    assert!(lines.iter().any(|line| line["best_f1_thresh"].is_number()));

    let config = json(&out.join("config.json"));
    assert_eq!(config["architectures"], json!(["BertForQuestionAnswering"]));
    assert!(config.get("id2label").is_none(), "{config}");
    let model = QuestionAnswerer::open(out.to_str().unwrap()).unwrap();
    let asked = [("who ?", "😀 zoë sang a song in lima .")];
    let answers = model.answer(&asked, &AnswerOptions::default()).unwrap().remove(0).answers;
    let best = &answers[0];
    assert_eq!((best.answer.as_str(), best.start, best.end), ("zoë", 2, 5), "{answers:?}");

    // The head belongs to the folder: training goes on with it.
    let again = dir.path().join("again");
    let flags = ["answer", "--data", data.to_str().unwrap(), "--model", out.to_str().unwrap()];
    let output = run(&[&flags[..], &["--steps", "1", "--out", again.to_str().unwrap()]].concat());
    ok(&output);
    assert!(!stderr(&output).contains("at random"), "{}", stderr(&output));
}

#[test]
fn ctrl_c_saves_and_resuming_ends_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole) = (data(dir.path(), false), dir.path().join("whole"));
    let out = dir.path().join("out");
    // Several windows a text, dev sets in between, dropout.
    let flags = ["--max-length", "14", "--stride", "3", "--accumulate", "2", "--eval-every", "40"];
    let flags = [&flags[..], &["--steps", "300", "-q"]].concat();
    let stopped = interrupted(&scratch(&data, &out, &flags), &out, 45);
    assert!((45..300).contains(&stopped), "stopped at step {stopped}");
    ok(&run(&["answer", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&scratch(&data, &whole, &flags)));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
    assert_eq!(metrics(&out), metrics(&whole));

    let refused = run(&["answer", "--resume", out.to_str().unwrap(), "--stride", "4"]);
    assert!(stderr(&refused).contains("--stride was 3, and is 4"), "{}", stderr(&refused));
    let file = data.join("train-v1.1.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("rained", "snowed")).unwrap();
    let refused = run(&["answer", "--resume", out.to_str().unwrap()]);
    assert!(stderr(&refused).contains("training set has changed"), "{}", stderr(&refused));
}

#[test]
fn what_is_wrong_is_named_and_what_is_lost_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let good = data(dir.path(), false);
    let out = dir.path().join("out");
    let fails = |data: &Path, more: &[&str], code: i32, parts: &[&str]| {
        let output = run(&scratch(data, &out, more));
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        for part in parts {
            assert!(stderr(&output).contains(part), "no `{part}` in: {}", stderr(&output));
        }
    };
    fails(&good, &["--no-answer-threshold", "1"], 2, &["every question of the data has an answer"]);
    fails(&good, &["--stride", "384"], 2, &["--stride is 384", "below the 384 tokens"]);
    fails(&good, &["--max-answer-length", "0"], 2, &["--max-answer-length is 0"]);
    fails(&good, &["--metric", "accuracy"], 2, &["--metric", "f1, exact_match"]);
    fails(&good, &["--label-column", "x"], 2, &["--label-column"]);
    // [CLS] who ? [SEP], then one token of the text, then [SEP].
    let short = ["--max-length", "6", "--stride", "2"];
    fails(&good, &short, 1, &["train-v1.1.json", "question 0-who", "2 tokens", "room for 1"]);

    let file = good.join("train-v1.1.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let moved = text.replacen("\"answer_start\":", "\"answer_start\":1", 3);
    std::fs::write(&file, moved).unwrap();
    let output = run(&scratch(&good, &out, &["--steps", "1", "--max-length", "14"]));
    ok(&output);
    let said = stderr(&output);
    for part in [
        "3 of 48 training questions have answers that do not stand at their answer_start",
        "are not learnt: 0-who, 0-where, 5-who",
        "of them hold no answer",
    ] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
}
