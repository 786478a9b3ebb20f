//! Runs that are killed without a warning, at any moment, end with the bits of one that was not.

use std::path::Path;
use std::time::Duration;

use crate::common::{data, ok, run, scratch, train, weights};
use crate::{answer, distill, embed, tokens};

/// A generator of numbers that are the same in every run of the test.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Runs `task` with `args` into `out`, kills it ten times with SIGKILL, resumes it each time, and
/// compares its weights with those of an undisturbed run into `whole`.
fn survives_ten_kills(task: &str, args: impl Fn(&Path) -> Vec<String>, dir: &Path) {
    let (whole, out) = (dir.join("whole"), dir.join("killed"));
    let call = |args: &[String]| run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    ok(&call(&args(&whole)));
    let mut moments = Moments(7);
    let folder = out.to_str().unwrap();
    let resume = [task, "--resume", folder, "-q"].map(String::from).to_vec();
    let begin = [args(&out), vec!["--overwrite".into()]].concat();
    let mut killed = 0;
    while killed < 10 {
        let before = newest(&out);
        let args = if before.is_some() { &resume } else { &begin };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut process = train(&args).spawn().unwrap();
        // Until it has come further, and then for a moment more.
        while newest(&out) <= before && process.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(moments.next() % 60));
        killed += usize::from(process.try_wait().unwrap().is_none());
        let _ = process.kill();
        process.wait().unwrap();
        if out.join("model.safetensors").exists() {
            break; // the run ended before it was killed ten times
        }
    }
    assert!(killed > 2, "the run ended after {killed} kills");
    ok(&call(&resume));
    assert!(weights(&whole) == weights(&out), "{task}: the killed run ended with other weights");
}

/// The step of the newest checkpoint in a folder.
fn newest(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok()).max()
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| arg.to_string()).collect()
}

const COURSE: [&str; 7] = ["--steps", "600", "--save-every", "3", "--eval-every", "50", "-q"];

#[test]
fn classify() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    survives_ten_kills("classify", |out| strings(&scratch(&data, out, &COURSE)), dir.path());
}

#[test]
fn tokens() {
    let dir = tempfile::tempdir().unwrap();
    let data = tokens::data(dir.path());
    let args = |out: &Path| strings(&tokens::scratch(&data, out, &COURSE));
    survives_ten_kills("tokens", args, dir.path());
}

#[test]
fn embed() {
    let dir = tempfile::tempdir().unwrap();
    let data = embed::data(dir.path());
    let args = |out: &Path| strings(&embed::scratch(&data, out, &COURSE));
    survives_ten_kills("embed", args, dir.path());
}

#[test]
fn answer() {
    let dir = tempfile::tempdir().unwrap();
    let data = answer::data(dir.path(), false);
    let args = |out: &Path| strings(&answer::scratch(&data, out, &COURSE));
    survives_ten_kills("answer", args, dir.path());
}

#[test]
fn distill() {
    let dir = tempfile::tempdir().unwrap();
    let (data, teacher) = distill::teacher(dir.path());
    let more = [&COURSE[..], &["--layers", "1"]].concat();
    let args = |out: &Path| strings(&distill::distill(&data, &teacher, out, &more));
    survives_ten_kills("distill", args, dir.path());
}

#[test]
fn distill_with_hidden_states() {
    let dir = tempfile::tempdir().unwrap();
    let (data, teacher) = distill::teacher(dir.path());
    // Another width than the teacher's: a projection is trained.
    let model = ["--model", "scratch", "--config-size", "mini", "--hidden", "--hidden-weight", "2"];
    let course = ["--steps", "150", "--save-every", "3", "--eval-every", "50", "-q"];
    let more = [&model[..], &course].concat();
    let args = |out: &Path| strings(&distill::distill(&data, &teacher, out, &more));
    survives_ten_kills("distill", args, dir.path());
}

#[test]
fn mlm() {
    raw_text("mlm", "60");
}

#[test]
fn lm() {
    raw_text("lm", "260");
}

fn raw_text(task: &str, vocabulary: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.txt");
    std::fs::write(&data, "the tiger sleeps in the forest of the night\n".repeat(40)).unwrap();
    let model = [task, "--model", "scratch", "--vocab-size", vocabulary, "--max-length", "24"];
    let args = |out: &Path| {
        let paths = ["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
        strings(&[&model[..], &paths, &COURSE].concat())
    };
    survives_ten_kills(task, args, dir.path());
}
