//! The program end to end, on a small data set.

use std::path::Path;
use std::process::Command;

use crate::common::{data, data_with_a_contradiction, interrupted, last, ok, run, scratch, stderr};
use gradus_models::pipelines::TextClassifier;
use serde_json::Value;

#[test]
fn a_model_folder_metrics_and_a_last_line_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let output = run(&scratch(&data, &out, &["--epochs", "12", "--json", "--threads", "1"]));
    let last = last(&output);
    for key in ["seconds", "texts_per_second", "tokens_per_second", "peak_rss_mib", "dev_accuracy"]
    {
        assert!(last[key].is_number(), "{key} in {last}");
    }
    assert_eq!(last["steps"], 60);
    assert!(last["test_accuracy"].as_f64().unwrap() > 0.9, "{last}");

    let lines: Vec<Value> = std::fs::read_to_string(out.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let steps: Vec<&Value> = lines.iter().filter(|l| l["grad_norm"].is_number()).collect();
    assert_eq!(steps.len(), 60);
    for key in ["step", "epoch", "loss", "lr", "grad_norm", "tokens_per_second"] {
        assert!(steps[3][key].is_number(), "{key} in {}", steps[3]);
    }
    assert_eq!(lines.iter().filter(|l| l["split"] == "dev").count(), 12, "one an epoch");

    let config: Value =
        serde_json::from_slice(&std::fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"]["0"], "list", "labels in sorted order");
    let model = TextClassifier::open(out.to_str().unwrap()).unwrap();
    let scores = model.predict(&[("who has seen my horse today".to_string(), None)], None).unwrap();
    assert_eq!(scores[0][0].label, "question");

    let again = run(&scratch(&data, &out, &["--epochs", "1"]));
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("--overwrite"), "{}", stderr(&again));
}

#[test]
fn ctrl_c_saves_and_resuming_ends_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let whole = dir.path().join("whole");
    let steps = ["--steps", "2000", "--eval-every", "5000", "-q"];
    let stopped = interrupted(&scratch(&data, &out, &steps), &out, 20);
    assert!((20..2000).contains(&stopped), "stopped at step {stopped}");

    ok(&run(&["classify", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&scratch(&data, &whole, &steps)));
    let model = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert!(model(&out) == model(&whole), "the resumed run ended with other weights");
    let count = |folder: &Path| {
        std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap().matches("grad_norm").count()
    };
    assert_eq!((count(&out), count(&whole)), (2000, 2000));
}

/// In f16: refused on the CPU; on a GPU the metrics have the loss scale, and a resumed run keeps
/// the precision.
#[test]
fn mixed_precision() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let refused = run(&scratch(&data, &out, &["--precision", "f16", "--device", "cpu"]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--precision f16"), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("GPUs only"), "{}", stderr(&refused));
    if gradus_testing::gpu().is_none() {
        return;
    }
    let flags = ["--precision", "f16", "--device", "gpu", "--steps", "4", "--save-every", "2"];
    ok(&run(&scratch(&data, &out, &flags)));
    let lines = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let steps: Vec<&Value> = lines.iter().filter(|l| l["grad_norm"].is_number()).collect();
    assert_eq!(steps.len(), 4);
    for step in steps {
        assert_eq!((&step["loss_scale"], &step["skipped_steps"]), (&65536.0.into(), &0.into()));
    }
    let model = || std::fs::read(out.join("model.safetensors")).unwrap();
    let whole = model();
    let middle = out.join("checkpoint-2");
    let resume =
        |device| run(&["classify", "--resume", middle.to_str().unwrap(), "--device", device]);
    let refused = resume("cpu");
    assert!(stderr(&refused).contains("GPUs only"), "{}", stderr(&refused));
    ok(&resume("gpu"));
    assert!(model() == whole, "the resumed run ended with other weights");
}

#[test]
fn early_stopping_keeps_the_best_and_old_checkpoints_go() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data_with_a_contradiction(dir.path()), dir.path().join("out"));
    let more =
        ["--epochs", "40", "--early-stop", "2", "--save-every", "5", "--keep", "2", "--json"];
    let output = run(&scratch(&data, &out, &more));
    let last = last(&output);
    assert!(last["steps"].as_u64().unwrap() < 200, "{last}");
    let kept = std::fs::read_dir(&out)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("checkpoint-"))
        .count();
    assert_eq!(kept, 2);
}

#[test]
fn a_full_disk_leaves_the_old_model_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    ok(&run(&scratch(&data, &out, &["--steps", "2", "-q"])));
    let model = || std::fs::read(out.join("model.safetensors")).unwrap();
    let before = model();
    // A limit on the size of files replaces a full disk: the weights do not fit.
    let args = scratch(&data, &out, &["--steps", "6", "--seed", "1", "--overwrite", "-q"]);
    for more in [&[][..], &["--save-every", "3"][..]] {
        let output = Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_train"))
            .args(&args)
            .args(more)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("model.safetensors"), "{}", stderr(&output));
        assert!(model() == before, "the old model was damaged");
        let rest: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains("part") || name.contains("tmp"))
            .collect();
        assert!(rest.is_empty(), "left behind: {rest:?}");
    }
}

/// Checks that `train classify` with these arguments ends with this code, before it writes a model,
/// and that the error has these words.
fn fails(dir: &Path, args: &[&str], code: i32, parts: &[&str]) {
    let out = dir.join("never");
    let mut all = vec!["classify", "--out", out.to_str().unwrap()];
    all.extend(args);
    if !args.contains(&"--model") {
        all.extend(["--model", "scratch"]);
    }
    let output = run(&all);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?}: `{part}` is missing in: {message}");
    }
    assert!(!message.contains("panicked") && !message.contains("bug in Gradus"), "{message}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(!out.join("model.safetensors").exists());
}

#[test]
fn bad_data_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = data(dir.path());
    let with_test = dir.path().join("unseen");
    std::fs::create_dir_all(&with_test).unwrap();
    std::fs::copy(good.join("train.csv"), with_test.join("train.csv")).unwrap();
    std::fs::write(with_test.join("test.csv"), b"text,label\nthe cat,novel\n").unwrap();
    fails(dir.path(), &["--data", with_test.to_str().unwrap()], 1, &["novel", "test.csv:2"]);
    fails(dir.path(), &["--data", "no/such"], 1, &["no/such", "no such file"]);
    for (name, bytes, parts) in [
        ("columns.csv", &b"words,label\na,b\n"[..], &["text", "words"][..]),
        ("empty.csv", b"", &["empty.csv"]),
        ("latin.csv", b"text,label\ncaf\xe9,a\n", &["UTF-8", ":2"]),
        ("bad.jsonl", b"{\"text\": 1,\n", &["bad.jsonl:1"]),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        fails(dir.path(), &["--data", path.to_str().unwrap()], 1, parts);
    }
}

#[test]
fn a_wrong_flag_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = data(dir.path());
    let good = good.to_str().unwrap();
    let broken = dir.path().join("broken");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("config.json"), "{\"model_type\": \"bert\", ").unwrap();
    std::fs::write(broken.join("model.safetensors"), [9u8; 40]).unwrap();
    for (flag, value, code, parts) in [
        ("--model", broken.to_str().unwrap(), 1, &["config.json"][..]),
        ("--lr", "-1", 2, &["--lr"]),
        ("--batch-size", "0", 2, &["--batch-size"]),
        ("--pooling", "sum", 2, &["pooling", "mean"]),
        ("--device", "gpu:999", 1, &["gpu:999"]),
    ] {
        fails(dir.path(), &["--data", good, flag, value], code, parts);
    }
    fails(dir.path(), &["--resume", "no/run"], 1, &["no/run"]);
}

#[test]
fn a_config_file_gives_flags_and_the_command_line_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let toml = dir.path().join("run.toml");
    std::fs::write(&toml, "steps = 7\nlr = 1e-3\nschedule = \"cosine\"\njson = true\n").unwrap();
    let more = ["--config", toml.to_str().unwrap(), "--steps", "3"];
    let output = run(&scratch(&data, &out, &more));
    let last = last(&output);
    assert_eq!(last["steps"], 3);
}

/// A run that begins on a GPU, is interrupted, and continues on the CPU.
#[test]
fn a_run_moves_between_devices() {
    if gradus_testing::gpu().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let losses = |out: &Path| -> Vec<f64> {
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|l| l["grad_norm"].is_number()).map(|l| l["loss"].as_f64().unwrap()).collect()
    };
    let (cpu, moved) = (dir.path().join("cpu"), dir.path().join("moved"));
    let steps = ["--steps", "200", "--eval-every", "5000", "-q", "--device"];
    ok(&run(&scratch(&data, &cpu, &[&steps[..], &["cpu"]].concat())));
    let stopped = interrupted(&scratch(&data, &moved, &[&steps[..], &["gpu"]].concat()), &moved, 4);
    assert!((4..200).contains(&stopped), "stopped at step {stopped}");
    ok(&run(&["classify", "--resume", moved.to_str().unwrap(), "--device", "cpu"]));
    let (expected, found) = (losses(&cpu), losses(&moved));
    assert_eq!((expected.len(), found.len()), (200, 200));
    for (a, b) in expected.iter().zip(&found).take(stopped + 4) {
        assert!((a - b).abs() < 1e-3 * a, "{expected:?} and {found:?}");
    }
}
