//! `train mlm`, and `train classify` of several labels and of numbers.

use std::io::Write;
use std::process::Stdio;

use crate::common::{interrupted, json, last, ok, run, stderr, train, weights};
use serde_json::Value;

const LINES: &str = "the tiger sleeps in the forest of the night\nwho wakes it in the morning ?\n\n\
                     the hand and the eye of the night\nthe fire burns in the forest\n";

#[test]
fn masked_words_from_a_file_and_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("text.txt"), dir.path().join("out"));
    std::fs::write(&data, LINES.repeat(40)).unwrap();
    let flags = |data: &str, out: &str| {
        let text = format!(
            "mlm --data {data} --model scratch --vocab-size 80 --max-length 24 --batch-size 8 \
             --steps 6 --json --out {out}"
        );
        text.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    let from_file = flags(data.to_str().unwrap(), out.to_str().unwrap());
    let output = run(&from_file.iter().map(String::as_str).collect::<Vec<_>>());
    ok(&output);
    let line = last(&output);
    let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    assert!((number("dev_perplexity") - number("dev_loss").exp()).abs() < 1e-9);
    assert!((0.0..=1.0).contains(&number("dev_accuracy")));
    assert_eq!(json(&out.join("config.json"))["architectures"][0], "BertForMaskedLM");
    assert!(stderr(&output).contains("set aside"), "{}", stderr(&output));

    // The same text through a pipe gives the same model.
    let piped = dir.path().join("piped");
    let args = flags("-", piped.to_str().unwrap());
    let mut process = train(&args.iter().map(String::as_str).collect::<Vec<_>>())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(LINES.repeat(40).as_bytes()).unwrap();
    assert!(process.wait().unwrap().success());
    assert!(weights(&piped) == weights(&out));
}

/// Rows of a table are the same text as lines of a file.
#[test]
fn masked_words_from_files_with_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let lines: Vec<&str> = LINES.lines().cycle().take(160).collect();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let csv: String = lines.iter().map(|line| format!("7,{line}\n")).collect();
    let json = |line: &&str| format!("{}\n", serde_json::json!({"id": 7, "body": line}));
    let jsonl: String = lines.iter().map(json).collect();
    std::fs::write(path("a.txt"), text).unwrap();
    std::fs::write(path("a.csv"), format!("id,text\n{csv}")).unwrap();
    std::fs::write(path("a.jsonl"), jsonl).unwrap();
    let run_on = |data: &str, column: &[&str]| {
        let (data, out) = (path(data), path("out"));
        let args =
            ["mlm", "--data", &data, "--out", &out, "--overwrite", "--model", "scratch", "-q"];
        let size =
            ["--vocab-size", "80", "--max-length", "24", "--batch-size", "8", "--steps", "3"];
        let output = run(&[&args[..], &size, column].concat());
        (output, weights(&dir.path().join("out")))
    };
    let (output, of_text) = run_on("a.txt", &[]);
    ok(&output);
    assert!(run_on("a.csv", &[]).1 == of_text);
    assert!(run_on("a.jsonl", &["--text-column", "body"]).1 == of_text);
    let said = |data, column| stderr(&run_on(data, column).0);
    let none = said("a.jsonl", &[]);
    assert!(none.contains("a.jsonl:1: no key `text`"), "{none}");
    let plain = said("a.txt", &["--text-column", "body"]);
    assert!(plain.contains("--text-column") && plain.contains("plain text"), "{plain}");
}

#[test]
fn a_stopped_run_of_masked_words_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("text.txt"), dir.path().join("out"));
    let whole = dir.path().join("whole");
    std::fs::write(&data, LINES.repeat(10)).unwrap();
    let flags = |out: &str| {
        let data = data.to_str().unwrap();
        let text = format!(
            "mlm --data {data} --model scratch --vocab-size 80 --max-length 24 --batch-size 8 \
             --steps 600 --eval-every 1000 --whole-words -q --out {out}"
        );
        text.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    let (first, second) = (flags(out.to_str().unwrap()), flags(whole.to_str().unwrap()));
    let stopped = interrupted(&first.iter().map(String::as_str).collect::<Vec<_>>(), &out, 20);
    assert!((20..600).contains(&stopped), "stopped at step {stopped}");
    let wrong = run(&["classify", "--resume", out.to_str().unwrap()]);
    assert!(stderr(&wrong).contains("train mlm --resume"), "{}", stderr(&wrong));
    ok(&run(&["mlm", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&second.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
}

/// Trains a classifier of the given problem on `rows`, and returns the last line and config.json.
fn problem(problem: &str, rows: &str, more: &[&str]) -> (Value, Value) {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data.csv"), dir.path().join("out"));
    std::fs::write(&data, format!("text,label\n{rows}")).unwrap();
    let (data, out_name) = (data.to_str().unwrap(), out.to_str().unwrap());
    let flags = [
        "classify",
        "--problem",
        problem,
        "--data",
        data,
        "--model",
        "scratch",
        "--vocab-size",
        "120",
        "--pooling",
        "mean",
        "--dev-fraction",
        "0.25",
        "--epochs",
        "8",
        "--json",
        "--out",
        out_name,
    ];
    let output = run(&[&flags[..], more].concat());
    ok(&output);
    (last(&output), json(&out.join("config.json")))
}

#[test]
fn several_labels_and_numbers() {
    let rows: String = (0..48)
        .map(|i| {
            let (red, round) = (i % 2 == 0, i % 3 == 0);
            let colour = if red { "red" } else { "blue" };
            let form = if round { "round" } else { "square" };
            let labels = [(red, "warm"), (round, "soft")].into_iter().filter(|(has, _)| *has);
            let labels: Vec<&str> = labels.map(|(_, label)| label).collect();
            format!("thing {i} is {colour} and {form},{}\n", labels.join("|"))
        })
        .collect();
    let (line, config) = problem("multi", &rows, &["--class-weights", "balanced"]);
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"]["1"], "warm");
    for name in ["dev_micro_f1", "dev_macro_f1", "dev_weighted_f1", "dev_accuracy", "dev_loss"] {
        assert!(line[name].is_number(), "{name}: {line}");
    }
    let rows: String = (0..48).map(|i| format!("thing number {},{}.5\n", i % 4, i % 4)).collect();
    let (line, config) =
        problem("regression", &rows, &["--metric", "mse", "--lr", "1e-3", "--batch-size", "4"]);
    assert_eq!(config["problem_type"], "regression");
    assert_eq!(config["id2label"]["0"], "LABEL_0");
    assert!(line["dev_mse"].as_f64().unwrap() < 1.0, "{line}");
    assert_eq!(line["dev_mse"], line["dev_loss"]);
    assert!(line["dev_pearson"].as_f64().unwrap() > 0.5, "{line}");
}

#[test]
fn flags_that_do_not_fit_the_task_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data.csv");
    std::fs::write(&data, "text,label\na b,1\nc d,2\ne f,1\ng h,2\n").unwrap();
    let data = data.to_str().unwrap();
    let classify =
        ["classify", "--data", data, "--model", "scratch", "--vocab-size", "60", "--problem"];
    for (flags, parts) in [
        (&["regression", "--label-smoothing", "0.1"][..], ["--label-smoothing", "regression"]),
        (&["regression", "--class-weights", "balanced"], ["--class-weights", "no classes"]),
        (&["single", "--class-weights", "x=2"], ["--class-weights", "`x` is no label"]),
        (&["regression", "--metric", "f1", "--dev-fraction", "0.4"], ["--metric", "pearson"]),
        (&["many"], ["--problem", "regression"]),
    ] {
        let output = run(&[&classify[..], flags].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{flags:?}: {said}");
    }
    let output = run(&["--label-column", "x", "mlm", "--data", data, "--model", "scratch"]);
    assert!(stderr(&output).contains("--label-column is no flag of train mlm"));
    let output = run(&["mlm", "--data", data, "--model", "scratch", "--mask-probability", "0"]);
    assert!(stderr(&output).contains("--mask-probability is 0"), "{}", stderr(&output));
}
