//! The notes and the screen of the program: about the data, the course and the result.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{checkpoints, data, json, last, metrics, ok, run, scratch, stderr, weights};

/// One file of three kinds of texts, `count` of them.
fn single(folder: &Path, count: usize) -> PathBuf {
    let frames = ["the {} is red and round", "who has seen my {} today", "a {} , a {} and more"];
    let words = ["apple", "bicycle", "cat", "door", "engine", "flower", "glass", "horse"];
    let mut text = String::from("text,label\n");
    for i in 0..count {
        let (frame, word) = (frames[i % 3], words[i / 3 % 8]);
        text += &format!(
            "\"{} {i}\",{}\n",
            frame.replace("{}", word),
            ["looks", "question", "list"][i % 3]
        );
    }
    let path = folder.join("single.csv");
    std::fs::write(&path, text).unwrap();
    path
}

fn stdout(output: &Output) -> String {
    ok(output);
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_single_file_ends_with_numbers_about_quality() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (single(dir.path(), 60), dir.path().join("my out"));
    let output = run(&scratch(&file, &out, &["--epochs", "8", "--lr", "3e-3"]));
    let (said, shown) = (stderr(&output), stdout(&output));
    assert!(said.contains("6 of 60 texts (10 %) are set aside"), "{said}");
    assert!(said.contains("54 training texts"), "{said}");
    assert!(shown.contains("training loss ") && shown.contains("dev accuracy "), "{shown}");
    assert!(shown.contains("dev, best") && shown.contains("macro F1 "), "{shown}");

    // The same texts are set aside after a stop, and by another run of the seed; others by another
    // seed.
    let again = run(&["classify", "--resume", out.to_str().unwrap()]);
    ok(&again);
    assert!(stderr(&again).contains("6 of 60 texts"), "{}", stderr(&again));
    let dev = |name: &str, seed: &str| {
        let out = dir.path().join(name);
        ok(&run(&scratch(&file, &out, &["--steps", "2", "--seed", seed, "-q"])));
        json(&out.join("checkpoint-2/trainer_state.json"))["run"]["data"]["dev"].clone()
    };
    assert_eq!(dev("a", "0"), dev("b", "0"));
    assert_ne!(dev("c", "1"), dev("d", "0"));
}

#[test]
fn a_dev_set_is_only_drawn_where_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let (file, few) = (single(dir.path(), 60), dir.path().join("few.csv"));
    std::fs::write(&few, "text,label\na,x\nb,y\nc,x\nd,y\n").unwrap();
    let whole = dir.path().join("whole");
    std::fs::create_dir(&whole).unwrap();
    std::fs::copy(&file, whole.join("train.csv")).unwrap();
    let mut n = 0;
    let mut texts = |data: &Path, flags: &[&str]| {
        n += 1;
        let out = dir.path().join(format!("out-{n}"));
        let output = run(&scratch(data, &out, &[&["--steps", "1"], flags].concat()));
        ok(&output);
        let said = stderr(&output);
        let count = said.split(" training texts").next().unwrap().rsplit(' ').next().unwrap();
        (count.parse::<usize>().unwrap(), said)
    };
    assert_eq!(texts(&file, &["--dev-fraction", "0"]).0, 60);
    assert_eq!(texts(&file, &["--dev-fraction", "0.25"]).0, 45);
    let (count, said) = texts(&few, &[]);
    assert!(count == 4 && said.contains("too few texts for a dev set"), "{said}");
    assert_eq!(texts(&few, &["--dev-fraction", "0.5"]).0, 2);
    let (count, said) = texts(&whole, &[]);
    assert!(count == 60 && said.contains("no dev set and no test set"), "{said}");
    assert_eq!(texts(&whole, &["--dev-fraction", "0.1"]).0, 54);
    assert_eq!(texts(&data(dir.path()), &[]).0, 18);

    let out = dir.path().join("never");
    for (data, flags, part) in [
        (&whole, &["--early-stop", "1"][..], "--early-stop needs a dev set"),
        (&whole, &["--eval-every", "1"], "--eval-every needs a dev set"),
        (&few, &["--early-stop", "1"], "--early-stop needs a dev set"),
        (&file, &["--dev-fraction", "0", "--early-stop", "1"], "--early-stop needs a dev set"),
        (&file, &["--dev-fraction", "1"], "--dev-fraction is 1"),
        (&few, &["--dev-fraction", "0.01"], "leaves the dev set empty"),
        (&data(dir.path()), &["--dev-fraction", "0.1"], "a dev set of its own"),
    ] {
        let refused = run(&scratch(data, &out, flags));
        assert_eq!(refused.status.code(), Some(2), "{flags:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(part), "{flags:?}: {}", stderr(&refused));
        assert!(!out.exists());
    }
}

#[test]
fn odd_data_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let folder = data(dir.path());
    std::fs::write(folder.join("extra.csv"), "text,label\n").unwrap();
    std::fs::write(folder.join("test.csv"), "id,text\n1,the cat\n").unwrap();
    let out = dir.path().join("out");
    let output = run(&scratch(&folder, &out, &["--steps", "1"]));
    ok(&output);
    let said = stderr(&output);
    assert!(said.contains("warning: ") && said.contains("extra.csv is not used"), "{said}");
    assert!(said.contains("test.csv has no column `label`"), "{said}");
    for (name, text, part) in [
        ("one.csv", "text,label\na,yes\nb,yes\n", "all 2 texts have the label `yes`"),
        ("two.csv", "text,label\na,1\nb,1.0\nc,2\n", ":3: the labels `1` and `1.0`"),
        ("real.csv", "text,label\na,0.1\nb,0.25\nc,3\n", "a quantity"),
        ("quote.csv", "text,label\na,x\n\"b,y\nc,x\n", "quote.csv:3: the quote that opens here"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let refused = run(&scratch(&file, &dir.path().join("never"), &[]));
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
    let numbers = dir.path().join("numbers.csv");
    let rows: String = (0..22).map(|i| format!("text {i},{}\n", i % 11)).collect();
    std::fs::write(&numbers, format!("text,label\n{rows}")).unwrap();
    let out = dir.path().join("numbers");
    ok(&run(&scratch(&numbers, &out, &["--steps", "1", "-q"])));
    let config = json(&out.join("config.json"));
    for i in 0..11 {
        assert_eq!(config["id2label"][i.to_string()], i.to_string());
    }
}

#[test]
fn a_model_that_learnt_nothing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let output = run(&scratch(&data, &out, &["--steps", "5", "--lr", "0"]));
    assert!(stderr(&output).contains("about that of guessing, 1.0986"), "{}", stderr(&output));
    let out = dir.path().join("learnt");
    let output = run(&scratch(&data, &out, &["--epochs", "12", "--lr", "3e-3"]));
    assert!(!stderr(&output).contains("guessing"), "{}", stderr(&output));
    let end = last(&run(&scratch(&data, &dir.path().join("json"), &["--epochs", "3", "--json"])));
    let losses: Vec<f64> = metrics(&dir.path().join("json"))
        .iter()
        .filter(|line| line["grad_norm"].is_number())
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    let mean = losses[10..].iter().sum::<f64>() / 5.0;
    assert!(
        (end["train_loss"].as_f64().unwrap() - mean).abs() < 1e-12,
        "of the last of three epochs"
    );
    assert!(end["train_seconds"].as_f64() <= end["seconds"].as_f64(), "{end}");
}

/// The best model on the dev set is saved, unless a flag asks for the last; either run can be
/// prolonged.
#[test]
fn the_best_model_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (data, best) = (data(dir.path()), dir.path().join("best"));
    // At this rate the dev loss grows again.
    let flags =
        ["--epochs", "12", "--lr", "1e-2", "--eval-every", "1", "--json", "--schedule", "constant"];
    let end = last(&run(&scratch(&data, &best, &flags)));
    let dev: Vec<_> = metrics(&best).into_iter().filter(|line| line["split"] == "dev").collect();
    let of = |line: &serde_json::Value, key: &str| line[key].as_f64().unwrap();
    let first = dev.iter().fold(&dev[0], |best, line| {
        let (a, b) = (of(line, "accuracy"), of(best, "accuracy"));
        if a > b || (a == b && of(line, "loss") < of(best, "loss")) { line } else { best }
    });
    assert_eq!(end["best_step"], first["step"], "{end}");
    assert_eq!(end["dev_accuracy"], first["accuracy"]);
    assert_ne!(end["best_step"], end["steps"], "the last is the best: no test");
    let lasting = dir.path().join("last");
    let end = last(&run(&scratch(&data, &lasting, &[&flags[..], &["--keep-last"]].concat())));
    assert_eq!(end["dev_accuracy"], dev[dev.len() - 1]["accuracy"]);
    assert!(weights(&best) != weights(&lasting));
    let newest = |folder: &Path| weights(&folder.join(checkpoints(folder).pop().unwrap()));
    assert!(newest(&best) == newest(&lasting), "a checkpoint holds the last weights");
    assert!(newest(&lasting) == weights(&lasting));
}

#[test]
fn the_last_screen_names_commands_that_work() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out folder"));
    let start = |set: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.args(scratch(&data, &out, &["--steps", "1", "--overwrite"])).stdin(Stdio::null());
        for name in ["CARGO", "CARGO_PKG_NAME"] {
            if set {
                command.env(name, "x")
            } else {
                command.env_remove(name)
            };
        }
        stdout(&command.output().unwrap())
    };
    let shown = start(false);
    let line =
        |what: &str| shown.lines().find(|line| line.contains(what)).unwrap().trim().to_string();
    // A text of the test set, and the neighbouring programs.
    assert!(line("classify --model").ends_with("'the horse is red and round'"), "{shown}");
    assert!(
        line("classify --model").starts_with(env!("CARGO_BIN_EXE_train").trim_end_matches("train"))
    );
    assert!(line("serve --model").contains("/serve --model '"), "{shown}");
    assert!(start(true).contains("cargo run --bin infer -- classify --model"));
}

#[test]
fn shared_flags_stand_before_or_after_the_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let args = scratch(&data, &out, &["--steps", "1"]);
    let before = run(&[&["-q", "--json", "--seed", "7"], &args[..]].concat());
    assert!(stderr(&before).is_empty(), "{}", stderr(&before));
    assert_eq!(last(&before)["steps"], 1);
    assert_eq!(json(&out.join("train.json"))["seed"], 7);
    let all = run(&[&["--lr", "0.5", "--overwrite"], &args[..]].concat());
    ok(&all);
    assert_eq!(json(&out.join("train.json"))["flags"]["lr"], 0.5);
}

#[test]
fn a_length_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    for (length, part) in [
        ("5000", "--max-length is 5000, but the model takes 512"),
        ("2", "--max-length is 2 and leaves no room"),
        ("1", "--max-length is 1 and leaves no room"),
        ("0", "--max-length is 0"),
    ] {
        let refused = run(&scratch(&data, &out, &["--max-length", length]));
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
    ok(&run(&scratch(&data, &out, &["--max-length", "3", "--steps", "1", "-q"])));
}

/// A folder with any file of a model is never overwritten without --overwrite.
#[test]
fn a_folder_with_anything_of_a_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for name in
        ["model.safetensors", "config.json", "tokenizer.json", "metrics.jsonl", "train.json"]
    {
        let out = dir.path().join(name);
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join(name), "mine").unwrap();
        let refused = run(&scratch(&data, &out, &["--steps", "1"]));
        assert_eq!(refused.status.code(), Some(1), "{name}");
        assert!(stderr(&refused).contains(name), "{}", stderr(&refused));
        assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), "mine");
    }
    let out = dir.path().join("notes");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    ok(&run(&scratch(&data, &out, &["--steps", "1", "-q"])));
    assert_eq!(std::fs::read_to_string(out.join("notes.txt")).unwrap(), "mine");
}

/// On a terminal of 40 columns everything fits a line, and evaluations are visible.
#[test]
fn the_bar_fits_a_narrow_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no `script` to make a terminal");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let args = scratch(&data, &out, &["--steps", "300", "--eval-every", "100"]);
    let words: Vec<&str> = args.iter().skip(1).copied().collect();
    let line = format!(
        "stty rows 24 cols 40; {} classify {}",
        env!("CARGO_BIN_EXE_train"),
        words.join(" ")
    );
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let drawn: Vec<&str> = text.split(['\r', '\n']).filter(|line| line.contains("/300 ")).collect();
    assert!(!drawn.is_empty(), "{text}");
    for line in drawn {
        let plain = without_escapes(line);
        assert!(plain.trim_end().chars().count() <= 40, "{plain:?}");
    }
}

fn without_escapes(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            // `ESC [ … letter`
            '\x1b' => while rest.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            c => plain.push(c),
        }
    }
    plain
}
