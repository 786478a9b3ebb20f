//! Runs that are stopped, resumed, prolonged, or started again in the same folder.

use std::path::Path;

use crate::common::{
    checkpoints, cut, data, data_with_a_contradiction, interrupted, json, last, metrics, ok, run,
    scratch, stderr, weights,
};

fn resume(folder: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["classify", "--resume", folder.to_str().unwrap(), "--device", "cpu"], more].concat())
}

/// The best model, its step and the patience belong to the run: it ends the same wherever it is
/// stopped.
#[test]
fn early_stopping_survives_a_stop_at_every_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole) = (data_with_a_contradiction(dir.path()), dir.path().join("whole"));
    let flags = [
        "--steps",
        "60",
        "--lr",
        "3e-3",
        "--eval-every",
        "2",
        "--save-every",
        "2",
        "--keep",
        "99",
        "--early-stop",
        "4",
        "--json",
        "--seed",
        "3",
        "--device",
        "cpu",
    ];
    let end = last(&run(&scratch(&data, &whole, &flags)));
    let (steps, best) = (end["steps"].as_u64().unwrap(), end["best_step"].as_u64().unwrap());
    assert!(best < steps && steps < 60, "nothing to resume: {end}");
    let mut tried = 0;
    for step in (2..steps as usize).step_by(6).chain([best as usize, steps as usize - 2]) {
        let part = dir.path().join(format!("cut-{step}"));
        cut(&whole, &part, step);
        let resumed = last(&resume(&part, &["--json"]));
        for key in ["steps", "best_step", "dev_accuracy", "test_accuracy", "train_loss"] {
            assert_eq!(resumed[key], end[key], "{key}, stopped at step {step}");
        }
        assert!(weights(&part) == weights(&whole), "other weights, stopped at step {step}");
        assert_eq!(metrics(&part), metrics(&whole), "stopped at step {step}");
        tried += 1;
    }
    assert!(tried > 3);
}

#[test]
fn data_that_changed_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    ok(&run(&scratch(&data, &out, &["--steps", "4", "--save-every", "2", "-q"])));
    let replaced = |file: &str, from: &str, to: &str| {
        let path = data.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, before.replace(from, to)).unwrap();
        (path, before)
    };
    let record = std::fs::read(out.join("train.json")).unwrap();
    let files = [
        ("train.csv", "looks", "zlooks"),
        ("dev.csv", "looks", "zlooks"),
        ("test.csv", "looks", "zlooks"),
    ];
    let before: Vec<_> = files.map(|(file, from, to)| replaced(file, from, to)).into();
    let refused = resume(&out, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("labels of the data have changed"), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("zlooks"), "{}", stderr(&refused));
    for (path, before) in before {
        std::fs::write(path, before).unwrap();
    }
    for (file, what) in
        [("train.csv", "training set has changed"), ("dev.csv", "dev set has changed")]
    {
        let (path, before) = replaced(file, "the ", "that ");
        let refused = resume(&out, &[]);
        assert_eq!(refused.status.code(), Some(1), "{file}");
        assert!(stderr(&refused).contains(what), "{}", stderr(&refused));
        std::fs::write(path, before).unwrap();
    }
    assert_eq!(std::fs::read(out.join("train.json")).unwrap(), record, "a refused resume wrote");
    replaced("test.csv", "the ", "that ");
    let warned = resume(&out, &[]);
    ok(&warned);
    assert!(stderr(&warned).contains("test set has changed"), "{}", stderr(&warned));
}

#[test]
fn a_run_overwritten_leaves_nothing_to_resume() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    ok(&run(&scratch(&data, &out, &["--steps", "40", "--save-every", "10", "--keep", "9", "-q"])));
    assert_eq!(checkpoints(&out).len(), 4);
    let other =
        ["--steps", "12", "--save-every", "3", "--keep", "2", "--seed", "1", "--overwrite", "-q"];
    ok(&run(&scratch(&data, &out, &other)));
    assert_eq!(checkpoints(&out), ["checkpoint-12", "checkpoint-9"], "of the new run, the newest");
    // A run does not continue from a checkpoint of another run, even a newer one.
    let alien = dir.path().join("alien");
    ok(&run(&scratch(&data, &alien, &["--steps", "20", "-q"])));
    std::fs::rename(alien.join("checkpoint-20"), out.join("checkpoint-20")).unwrap();
    let resumed = resume(&out, &[]);
    ok(&resumed);
    assert!(stderr(&resumed).contains("checkpoint-12 at step 12"), "{}", stderr(&resumed));
    std::fs::create_dir(out.join("checkpoint-30")).unwrap();
    std::fs::write(out.join("checkpoint-30/trainer_state.json"), "{}").unwrap();
    let named = out.join("checkpoint-30");
    assert_eq!(resume(&named, &[]).status.code(), Some(1));
}

#[test]
fn a_checkpoint_named_is_where_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let flags = ["--steps", "12", "--save-every", "3", "--keep", "2", "-q"];
    ok(&run(&scratch(&data, &out, &flags)));
    assert_eq!(checkpoints(&out), ["checkpoint-12", "checkpoint-9"]);
    let model = weights(&out);
    // Later checkpoints are removed, so that the next one written is the newest.
    let resumed = resume(&out.join("checkpoint-9"), &["--steps", "11", "--save-every", "1"]);
    ok(&resumed);
    assert_eq!(checkpoints(&out), ["checkpoint-10", "checkpoint-11"]);
    ok(&resume(&out.join("checkpoint-10"), &["--steps", "12"]));
    assert!(weights(&out) != model, "the rate of the tenth step was that of another length");
}

#[test]
fn a_finished_run_is_prolonged() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    ok(&run(&scratch(
        &data,
        &out,
        &["--epochs", "2", "--schedule", "constant", "--warmup", "2", "-q"],
    )));
    let again = resume(&out, &[]);
    ok(&again);
    assert!(stderr(&again).contains("all 10 steps are done"), "{}", stderr(&again));
    let longer = resume(&out, &["--epochs", "4", "--json"]);
    assert!(stderr(&longer).contains("now has 20 steps instead of 10"), "{}", stderr(&longer));
    let end = last(&longer);
    assert_eq!(end["steps"], 20);
    // The rate does not depend on the length: the result is that of a run of four epochs.
    let whole = dir.path().join("whole");
    ok(&run(&scratch(
        &data,
        &whole,
        &["--epochs", "4", "--schedule", "constant", "--warmup", "2", "-q"],
    )));
    assert!(weights(&out) == weights(&whole));
    assert_eq!(metrics(&out).len(), metrics(&whole).len() + 2, "two test lines of the shorter run");
    let shorter = resume(&out, &["--epochs", "1"]);
    assert_eq!(shorter.status.code(), Some(1));
    assert!(
        stderr(&shorter).contains("20 steps are done already, but the run asks for 5"),
        "{}",
        stderr(&shorter)
    );
}

#[test]
fn flags_that_make_another_run_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    ok(&run(&scratch(&data, &out, &["--steps", "4", "--lr", "2e-3", "-q"])));
    for (flags, code, parts) in [
        (
            &["--lr", "1e-2", "--batch-size", "8"][..],
            1,
            &["--lr was 0.002, and is 0.01", "--batch-size was 4, and is 8"][..],
        ),
        (&["--seed", "5"], 1, &["--seed was 0, and is 5"]),
        (&["--dropout", "0.3"], 2, &["--dropout was not given, and is 0.3"]),
        (&["--max-length", "9"], 2, &["--max-length was 128, and is 9"]),
        (&["--label-smoothing", "0.2"], 2, &["--label-smoothing was 0.0, and is 0.2"]),
        (&["--pooling", "cls"], 2, &["--pooling was \"mean\", and is \"cls\""]),
        (&["--vocab-size", "99"], 2, &["--vocab-size was 120"]),
        (&["--model", "elsewhere"], 2, &["--model was \"scratch\""]),
        (&["--text-column", "words"], 2, &["--text-column was \"text\""]),
        (&["--dev-fraction", "0.2"], 2, &["--dev-fraction"]),
        (&["--overwrite"], 2, &["--overwrite"]),
    ] {
        let refused = resume(&out, flags);
        assert_eq!(refused.status.code(), Some(code), "{flags:?}: {}", stderr(&refused));
        for part in parts {
            assert!(stderr(&refused).contains(part), "{flags:?}: {}", stderr(&refused));
        }
    }
    // Flags with the same values change nothing.
    ok(&resume(
        &out,
        &["--lr", "0.002", "--max-length", "128", "--model", "scratch", "--pooling", "mean"],
    ));
}

#[test]
fn a_run_is_resumed_from_anywhere_and_after_a_move() {
    let dir = tempfile::tempdir().unwrap();
    data(dir.path());
    let train = |folder: &Path, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_train"));
        command.current_dir(folder).args(args).output().unwrap()
    };
    let begin = "classify --data data --model scratch --vocab-size 120 --batch-size 4 --steps 4 --out runs/a -q";
    ok(&train(dir.path(), &begin.split(' ').collect::<Vec<_>>()));
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    ok(&train(&elsewhere, &["classify", "--resume", "../runs/a", "--steps", "6", "-q"]));
    assert!(!elsewhere.join("runs").exists(), "written into another folder");
    assert!(
        json(&dir.path().join("runs/a/train.json"))["flags"]["data"]
            .as_str()
            .unwrap()
            .starts_with('/')
    );
    std::fs::rename(dir.path().join("runs/a"), dir.path().join("b")).unwrap();
    std::fs::rename(dir.path().join("data"), dir.path().join("moved")).unwrap();
    let lost = train(dir.path(), &["classify", "--resume", "b", "--steps", "8", "-q"]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(stderr(&lost).contains("--data PATH"), "{}", stderr(&lost));
    ok(&train(dir.path(), &["classify", "--resume", "b", "--steps", "8", "--data", "moved", "-q"]));
    assert!(dir.path().join("b/checkpoint-8").is_dir());
    // From within.
    ok(&train(
        &dir.path().join("b/checkpoint-8"),
        &["classify", "--resume", ".", "--steps", "9", "-q"],
    ));
    assert!(dir.path().join("b/checkpoint-9").is_dir());
}

#[test]
fn an_interrupted_run_tells_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("my runs"));
    let args = scratch(&data, &out, &["--steps", "4000", "--eval-every", "9000"]);
    let stopped = interrupted(&args, &out, 10);
    assert!(stopped < 4000);
    let held = ["--steps", "4001", "--out", out.to_str().unwrap()];
    let other = run(&scratch(&data, &out, &held[..2]));
    assert_eq!(other.status.code(), Some(1), "a run that is not finished is not overwritten");
    assert!(stderr(&other).contains("already holds"), "{}", stderr(&other));
}
