//! The program on a small data set.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder with `train.csv`, `dev.csv` and `test.csv`: three kinds of texts.
pub fn data(folder: &Path) -> PathBuf {
    let frames = ["the {} is red and round", "who has seen my {} today", "a {} , a {} and more"];
    let labels = ["looks", "question", "list"];
    let words = ["apple", "bicycle", "cat", "door", "engine", "flower", "glass", "horse"];
    let path = folder.join("data");
    std::fs::create_dir_all(&path).unwrap();
    for (file, words) in [("train", &words[..6]), ("dev", &words[6..7]), ("test", &words[7..])] {
        let mut text = String::from("text,label\n");
        for word in words {
            for (frame, label) in frames.iter().zip(labels) {
                text += &format!("\"{}\",{label}\n", frame.replace("{}", word));
            }
        }
        std::fs::write(path.join(format!("{file}.csv")), text).unwrap();
    }
    path
}

/// [`data`] whose dev set has a text with two labels: the loss there rises again as the model becomes
/// sure of itself.
pub fn data_with_a_contradiction(folder: &Path) -> PathBuf {
    let path = data(folder);
    let mut dev = std::fs::read_to_string(path.join("dev.csv")).unwrap();
    dev += "\"the glass is red and round\",list\n";
    std::fs::write(path.join("dev.csv"), dev).unwrap();
    path
}

pub fn train(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
    command.args(args).stdin(Stdio::null());
    command
}

/// `train classify` from scratch on `data`, into `out`.
pub fn scratch<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let own = ["classify", "--vocab-size", "120", "--batch-size", "4", "--pooling", "mean"];
    from_scratch(&own, [data, out], more)
}

/// `train` with the task and flags of `own`, from scratch, from the data of one path into the other.
pub fn from_scratch<'a>(
    own: &[&'a str],
    [data, out]: [&'a Path; 2],
    more: &[&'a str],
) -> Vec<&'a str> {
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    [own, &["--model", "scratch", "--data", data, "--out", out], more].concat()
}

pub fn run(args: &[&str]) -> Output {
    train(args).output().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn ok(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// Runs, and interrupts after `steps` steps or a few more; returns how many there were.
pub fn interrupted(args: &[&str], out: &Path, steps: usize) -> usize {
    let mut process = train(args).spawn().unwrap();
    let metrics = out.join("metrics.jsonl");
    let start = Instant::now();
    let done = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    while done() < steps && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(process.wait().unwrap().code(), Some(130));
    done()
}

/// The last line of JSON of a run that succeeded.
#[track_caller]
pub fn last(output: &Output) -> Value {
    ok(output);
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The weights in a model folder.
pub fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model.safetensors")).unwrap()
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The lines of `metrics.jsonl`, without what depends on time.
pub fn metrics(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let line = |line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("tokens_per_second");
        line
    };
    text.lines().map(line).filter(|line| line.get("ranks").is_none()).collect()
}

/// The names of the checkpoints in a folder, sorted.
pub fn checkpoints(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("checkpoint-")).collect();
    names.sort();
    names
}

/// One `checkpoint-STEP` of a folder with the record: the state of a run that was stopped after
/// that step.
pub fn cut(from: &Path, to: &Path, step: usize) {
    let name = format!("checkpoint-{step}");
    std::fs::create_dir_all(to.join(&name)).unwrap();
    for file in ["train.json", "metrics.jsonl"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    for entry in std::fs::read_dir(from.join(&name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(&name).join(entry.file_name())).unwrap();
    }
}
