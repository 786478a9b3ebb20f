//! `train sweep`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{data, metrics, ok, run, stderr, train, weights};

/// Texts of a page that would be fetched from elsewhere.
const OUTSIDE: [&str; 4] = ["http://", "https://", "<link", "src="];

/// Writes the file of a sweep on the small data set, with these ranges.
fn file(dir: &Path, ranges: &str) -> PathBuf {
    let data = data(dir);
    let text = format!(
        "task = 'classify'\ntrials = 4\nseed = 3\n[flags]\ndata = '{}'\nmodel = 'scratch'\n\
         vocab-size = 120\nbatch-size = 4\nsteps = 12\neval-every = 4\nsave-every = '2'\n\
         [ranges]\n{ranges}",
        data.display()
    );
    let path = dir.join("sweep.toml");
    std::fs::write(&path, text).unwrap();
    path
}

const RANGES: &str = "lr = { min = 1e-4, max = 1e-2, log = true }\n\
                      pooling = { values = ['cls', 'mean'] }\nseed = { min = 0, max = 9 }\n";

fn sweep(file: &Path, out: &Path, more: &[&str]) -> Output {
    let own = ["sweep", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    run(&[&own[..], more].concat())
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(text).into_owned();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn log(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("sweep.jsonl")).unwrap()
}

#[test]
fn a_sweep_tells_its_trials_the_best_first_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (file(dir.path(), RANGES), dir.path().join("out"));
    let output = sweep(&file, &out, &["--json"]);
    ok(&output);
    let trials = lines(&output.stdout);
    assert_eq!(trials.len(), 4);
    let of = |name: &str| -> Vec<f64> {
        trials.iter().map(|trial| trial[name].as_f64().unwrap()).collect()
    };
    assert!(of("dev_accuracy").is_sorted_by(|a, b| a >= b), "{:?}", of("dev_accuracy"));
    for trial in &trials {
        // The value is that of the run's own log.
        let run = Path::new(trial["run"].as_str().unwrap());
        let dev: Vec<f64> = metrics(run)
            .iter()
            .filter(|line| line["split"] == "dev" && line["step"] == trial["best_step"])
            .map(|line| line["accuracy"].as_f64().unwrap())
            .collect();
        assert!(dev.contains(&trial["dev_accuracy"].as_f64().unwrap()), "{dev:?} {trial}");
        // It had the flags that were drawn.
        let record: Value =
            serde_json::from_slice(&std::fs::read(run.join("train.json")).unwrap()).unwrap();
        assert_eq!(record["flags"]["lr"], trial["flags"]["lr"]);
        assert_eq!(record["flags"]["pooling"], trial["flags"]["pooling"]);
        assert_eq!(record["seed"], trial["flags"]["seed"]);
    }
    let rates: std::collections::HashSet<String> =
        trials.iter().map(|trial| trial["flags"]["lr"].to_string()).collect();
    assert_eq!(rates.len(), 4);
    let page = std::fs::read_to_string(out.join("sweep.html")).unwrap();
    for part in ["dev accuracy by lr", "dev accuracy by pooling", "<svg", "trial-003"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    assert!(OUTSIDE.iter().all(|outside| !page.contains(outside)));

    // What is done is not done again; more trials join it.
    let before = log(&out);
    let written =
        std::fs::metadata(out.join("trial-000/metrics.jsonl")).unwrap().modified().unwrap();
    ok(&sweep(&file, &out, &["--trials", "5", "-q"]));
    let after = log(&out);
    assert!(after.starts_with(&before) && lines(&after).len() == 1 + 5);
    let again = std::fs::metadata(out.join("trial-000/metrics.jsonl")).unwrap().modified().unwrap();
    assert_eq!(again, written);
    // The table for people.
    let output = sweep(&file, &out, &[]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.starts_with("dev accuracy  step  lr"), "{table}");
    assert!(stderr(&output).contains("of which 5 are done"), "{}", stderr(&output));
}

#[test]
fn a_sweep_that_is_killed_ends_like_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), RANGES);
    let (whole, out) = (dir.path().join("whole"), dir.path().join("killed"));
    ok(&sweep(&file, &whole, &["-q"]));
    for (signal, trial, code) in [("-KILL", 1, None), ("-INT", 2, Some(130))] {
        let own = ["sweep", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let mut process = train(&own).stderr(std::process::Stdio::null()).spawn().unwrap();
        let metrics = out.join(format!("trial-{trial:03}/metrics.jsonl"));
        let start = Instant::now();
        let steps = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        while steps() < 5 && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let killed = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(killed.unwrap().success());
        assert_eq!(process.wait().unwrap().code(), code);
        assert!(lines(&log(&out)).len() <= 1 + trial, "trial {trial} had ended");
    }
    let output = sweep(&file, &out, &["-v"]);
    ok(&output);
    assert!(stderr(&output).contains("resumed from"), "{}", stderr(&output));
    assert_eq!(lines(&log(&out)), lines(&log(&whole)));
    for trial in 0..4 {
        let of = |out: &Path| weights(&out.join(format!("trial-{trial:03}")));
        assert!(of(&whole) == of(&out), "trial {trial} ended with other weights");
    }
}

#[test]
fn a_trial_that_fails_is_noted_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    // A text may have more tokens than this model takes.
    let file = file(dir.path(), "max-length = { values = [16, 100000] }\n");
    let out = dir.path().join("out");
    let seeds = 0..20;
    let with_seed = |seed: u64| {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines()
            .map(|line| {
                if line.starts_with("seed") {
                    format!("seed = {seed}\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect::<String>()
    };
    // A seed whose first trial is a good one, and not all of them are.
    let mut ended = None;
    for seed in seeds {
        std::fs::write(&file, with_seed(seed)).unwrap();
        let _ = std::fs::remove_dir_all(&out);
        let output = sweep(&file, &out, &["--json"]);
        if !output.status.success() {
            let told = stderr(&output);
            assert!(told.contains("--max-length is 100000"), "{told}");
            continue;
        }
        let trials = lines(&output.stdout);
        if trials.last().unwrap()["error"].is_string() {
            ended = Some((trials, stderr(&output)));
            break;
        }
    }
    let (trials, told) = ended.unwrap();
    assert_eq!(trials.len(), 4);
    assert!(trials[0]["dev_accuracy"].is_number());
    let error = trials.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("--max-length is 100000"), "{error}");
    assert!(told.contains("failed: --max-length is 100000"), "{told}");
    assert!(std::fs::read_to_string(out.join("sweep.html")).unwrap().contains("failed"));
}

#[test]
fn trials_that_failed_are_made_again_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (file(dir.path(), RANGES), dir.path().join("out"));
    let trials = ["--trials", "2"];
    // A file stands where the run's folder belongs.
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("trial-001"), "").unwrap();
    let output = sweep(&file, &out, &trials);
    ok(&output);
    let told = stderr(&output);
    assert!(told.contains("1 of 2 trials failed") && told.contains("--retry-failed"), "{told}");
    assert_eq!(lines(&log(&out))[2]["status"], "failed");
    std::fs::remove_file(out.join("trial-001")).unwrap();
    // Not unless they are wanted.
    ok(&sweep(&file, &out, &trials));
    assert_eq!(lines(&log(&out))[2]["status"], "failed");
    let output = sweep(&file, &out, &[&trials[..], &["--retry-failed"]].concat());
    ok(&output);
    assert!(!stderr(&output).contains("failed;"), "{}", stderr(&output));
    let ended = lines(&log(&out));
    assert_eq!((ended.len(), &ended[2]["status"]), (3, &Value::from("finished")));
    assert_eq!(ended[2]["trial"], 1);
}

#[test]
fn what_is_wrong_is_refused_before_the_first_trial() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let good = file(dir.path(), RANGES);
    let text = std::fs::read_to_string(&good).unwrap();
    for (from, to, why) in [
        ("task = 'classify'", "task = 'guess'", "the tasks are answer, classify"),
        ("trials = 4", "trials = 0", "one trial or more"),
        ("trials = 4", "runs = 4", "unknown field `runs`"),
        ("steps = 12", "speed = 12", "[flags] speed is no flag of train classify"),
        ("steps = 12", "max_length = 12", "did you mean `max-length`?"),
        ("steps = 12", "steps = 'many'", "[flags] steps: invalid type"),
        ("steps = 12", "out = 'x'", "the sweep gives each trial its folder"),
        ("steps = 12", "metric = 'loss'", "write it above the tables"),
        ("steps = 12", "threads = 2", "goes on the command line"),
        ("steps = 12", "lr = 1e-3", "lr is under [flags] and under [ranges]"),
        ("min = 1e-4", "min = -1e-4", "[ranges] lr begins at"),
        ("min = 1e-4, max = 1e-2, log = true", "min = -1, max = 1", "[ranges] lr = -1: --lr is -1"),
        ("['cls', 'mean']", "['cls', 'median']", "[ranges] pooling: unknown variant `median`"),
        ("seed = { min = 0, max = 9 }", "dropout = { min = 0.0, max = 1.5 }", "--dropout is 1."),
        ("trials = 4", "metric = 'speed'", "speed"),
        ("trials = 4", "out = [1]", "sweep.toml"),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&good, text.replacen(from, to, 1)).unwrap();
        let output = sweep(&good, &out, &[]);
        assert!(!output.status.success(), "{to}");
        assert!(stderr(&output).contains(why), "{to}: {}", stderr(&output));
        assert!(!out.join("trial-000/metrics.jsonl").exists(), "{to}");
        let _ = std::fs::remove_dir_all(&out);
    }
    // Another sweep's folder, and that of something else.
    std::fs::write(&good, &text).unwrap();
    ok(&sweep(&good, &out, &["--trials", "1", "-q"]));
    std::fs::write(&good, text.replace("steps = 12", "steps = 13")).unwrap();
    let told = stderr(&sweep(&good, &out, &[]));
    assert!(told.contains("holds another sweep"), "{told}");
    std::fs::remove_file(out.join("sweep.jsonl")).unwrap();
    let told = stderr(&sweep(&good, &out, &[]));
    assert!(told.contains("no sweep.jsonl beside it"), "{told}");
    let told = stderr(&run(&["--lr", "1", "sweep", good.to_str().unwrap()]));
    assert!(told.contains("--lr is no flag of train sweep"), "{told}");
}
