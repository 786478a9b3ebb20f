//! `train distill` end to end, on the texts of `train classify`.

use std::path::{Path, PathBuf};

use crate::common::{
    data, from_scratch, interrupted, json, last, metrics, ok, run, scratch, stderr, weights,
};

/// A teacher for the texts of [`data`].
pub fn teacher(dir: &Path) -> (PathBuf, PathBuf) {
    let (data, teacher) = (data(dir), dir.join("teacher"));
    let flags = ["--epochs", "20", "--lr", "3e-3", "--dropout", "0", "-q"];
    ok(&run(&scratch(&data, &teacher, &flags)));
    (data, teacher)
}

/// `train distill` on `data`, into `out`.
pub fn distill<'a>(
    data: &'a Path,
    teacher: &'a Path,
    out: &'a Path,
    more: &[&'a str],
) -> Vec<&'a str> {
    let paths = [data, teacher, out].map(|path| path.to_str().unwrap());
    let [data, teacher, out] = paths;
    let mut args = vec!["distill", "--data", data, "--teacher", teacher, "--out", out];
    args.extend(["--batch-size", "4"]);
    args.extend(more);
    args
}

#[test]
fn a_student_learns_from_its_teacher() {
    let dir = tempfile::tempdir().unwrap();
    let (data, teacher) = teacher(dir.path());
    let out = dir.path().join("out");
    let layers = ["--layers", "1", "--epochs", "12", "--lr", "2e-3", "--json"];
    let output = run(&distill(&data, &teacher, &out, &layers));
    let end = last(&output);
    for key in ["accuracy", "macro_f1", "agreement", "loss"] {
        assert!(end[format!("test_{key}")].is_number(), "test_{key} in {end}");
    }
    assert!(end["test_agreement"].as_f64().unwrap() > 0.6, "{end}");
    let said = stderr(&output);
    assert!(said.contains("a teacher of 2 layers") && said.contains("1 layers"), "{said}");
    let config = json(&out.join("config.json"));
    let theirs = json(&teacher.join("config.json"));
    assert_eq!(config["num_hidden_layers"], 1);
    assert_eq!(
        (&config["id2label"], &config["pooling"]),
        (&theirs["id2label"], &theirs["pooling"])
    );
    assert_eq!(config["problem_type"], "single_label_classification");

    // From scratch, with the teacher's tokenizer, on texts without labels.
    let texts = dir.path().join("texts.txt");
    let csv = std::fs::read_to_string(data.join("train.csv")).unwrap();
    let rows = csv.lines().skip(1).map(|row| row.rsplit_once(',').unwrap().0.trim_matches('"'));
    std::fs::write(&texts, rows.collect::<Vec<_>>().join("\n")).unwrap();
    let small = dir.path().join("small");
    let scratch = ["--model", "scratch", "--steps", "3", "--dev-fraction", "0.2", "--json"];
    let output = run(&distill(&texts, &teacher, &small, &scratch));
    let end = last(&output);
    assert!(end["dev_agreement"].is_number() && end.get("dev_accuracy").is_none(), "{end}");
    assert!(stderr(&output).contains("training texts without labels"), "{}", stderr(&output));
    let read = |folder: &Path| std::fs::read(folder.join("tokenizer.json")).unwrap();
    assert!(read(&small) == read(&teacher), "the student has another tokenizer");
}

#[test]
fn ctrl_c_saves_and_resuming_ends_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (data, teacher) = teacher(dir.path());
    let (out, whole) = (dir.path().join("out"), dir.path().join("whole"));
    let flags =
        ["--layers", "0", "--steps", "300", "--eval-every", "40", "--accumulate", "2", "-q"];
    let stopped = interrupted(&distill(&data, &teacher, &out, &flags), &out, 45);
    assert!((45..300).contains(&stopped), "stopped at step {stopped}");
    ok(&run(&["distill", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&distill(&data, &teacher, &whole, &flags)));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
    assert_eq!(metrics(&out), metrics(&whole));

    // Another teacher under the same name.
    std::fs::copy(whole.join("model.safetensors"), teacher.join("model.safetensors")).unwrap();
    std::fs::copy(whole.join("config.json"), teacher.join("config.json")).unwrap();
    let refused = run(&["distill", "--resume", out.to_str().unwrap(), "--steps", "301"]);
    assert!(stderr(&refused).contains("the teacher has changed"), "{}", stderr(&refused));
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, teacher) = teacher(dir.path());
    let out = dir.path().join("out");
    let fails = |data: &Path, teacher: &Path, more: &[&str], code: i32, parts: &[&str]| {
        let output = run(&distill(data, teacher, &out, more));
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        for part in parts {
            assert!(stderr(&output).contains(part), "no `{part}` in: {}", stderr(&output));
        }
    };
    let layers = ["--layers", "0"];
    fails(&data, &teacher, &[], 2, &["needs --model"]);
    fails(&data, &teacher, &["--layers", "0,2"], 2, &["--layers", "0 to 1"]);
    fails(&data, &teacher, &["--layers", "0", "--model", "scratch"], 2, &["--layers", "teacher"]);
    fails(&data, &teacher, &["--layers", "0", "--temperature", "0"], 2, &["--temperature is 0"]);
    fails(&data, &teacher, &["--layers", "0", "--alpha", "2"], 2, &["--alpha is 2"]);
    fails(
        &data,
        &teacher,
        &["--layers", "0", "--label-column", "kind"],
        2,
        &["--label-column kind"],
    );
    fails(&data, &teacher, &["--model", "scratch", "--vocab-size", "9"], 2, &["--vocab-size"]);
    let hidden = |value| ["--layers", "0", "--hidden", value];
    fails(&data, &teacher, &hidden("1"), 2, &["--hidden", "`1` is no pair STUDENT:TEACHER"]);
    fails(&data, &teacher, &hidden("2:1"), 2, &["--hidden is 2:1", "to 1, the teacher 0 to 2"]);
    let weight = ["--layers", "0", "--hidden-weight", "2"];
    fails(&data, &teacher, &weight, 2, &["--hidden-weight goes only with --hidden"]);
    let other = dir.path().join("other");
    let own = ["classify", "--vocab-size", "70", "--steps", "1", "-q"];
    ok(&run(&from_scratch(&own, [&data, &other], &[])));
    let other = ["--model", other.to_str().unwrap(), "--hidden"];
    fails(&data, &teacher, &other, 2, &["--hidden", "the same tokens"]);
    let file = data.join("dev.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("looks", "smells", 1)).unwrap();
    let parts =
        ["dev.csv:2", "`smells` is none of the teacher's 3 labels", "list, looks, question"];
    fails(&data, &teacher, &layers, 1, &parts);
    let encoder = dir.path().join("encoder");
    std::fs::create_dir(&encoder).unwrap();
    for name in ["model.safetensors", "tokenizer.json"] {
        std::fs::copy(teacher.join(name), encoder.join(name)).unwrap();
    }
    let mut config = json(&teacher.join("config.json"));
    config["architectures"] = serde_json::json!(["BertModel"]);
    config["problem_type"] = serde_json::Value::Null;
    std::fs::write(encoder.join("config.json"), config.to_string()).unwrap();
    fails(&data, &encoder, &["--model", "scratch"], 2, &["feature-extraction"]);
}
