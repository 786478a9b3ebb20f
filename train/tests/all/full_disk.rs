//! Runs whose disk is full: they end with an error that says so, and no checkpoint that was cut short
//! is ever taken for a good one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{
    checkpoints, cut, data, interrupted, metrics, ok, run, scratch, stderr, weights,
};

/// A run of 40 steps that keeps its best weights and averages in checkpoints of their own.
const COURSE: [&str; 9] =
    ["--steps", "40", "--save-every", "5", "--eval-every", "3", "--keep", "3", "-q"];

/// `train` with a limit on the size of each file that it writes: beyond it, writing fails as on a
/// full disk. A shell sets the limit, and lets the program see the error instead of a signal.
fn limited(args: &[&str], blocks: u64) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_train")])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// All files of a folder, by their paths within it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

#[test]
fn a_full_disk_costs_no_more_than_the_steps_since_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let (whole, out) = (dir.path().join("whole"), dir.path().join("out"));
    let flags = [&COURSE[..], &["--ema", "0.9"]].concat();
    ok(&run(&scratch(&data, &whole, &flags)));
    interrupted(&scratch(&data, &out, &flags), &out, 8);
    let resume = ["classify", "--resume", out.to_str().unwrap(), "-q"];
    // In blocks of 512 bytes: within the state, the tokenizer, the weights, the moments.
    let largest = files(&whole).iter().map(|file| file.metadata().unwrap().len()).max().unwrap();
    let blocks = |parts: u64| largest * parts / 6 / 512;
    let sizes = [1, 7, 40, blocks(2), blocks(4), blocks(6) - 3];
    for blocks in sizes {
        let before = checkpoints(&out);
        let output = limited(&resume, blocks);
        assert_eq!(output.status.code(), Some(1), "{blocks} blocks: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("too large") || said.contains("disk is full"), "{said}");
        assert!(said.contains(out.to_str().unwrap()), "the error names no file: {said}");
        assert_eq!(checkpoints(&out), before, "{blocks} blocks");
        let left = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name());
        let part = |name: std::ffi::OsString| name.to_string_lossy().contains(".part");
        assert!(!left.into_iter().any(part), "a part of a checkpoint is left");
    }
    ok(&run(&resume));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
    assert_eq!(metrics(&out), metrics(&whole));
}

/// Every file of a checkpoint, cut at its beginning, within its header and its numbers, and before
/// its last byte, is refused by name.
#[test]
fn a_file_that_was_cut_short_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let (whole, part) = (dir.path().join("whole"), dir.path().join("part"));
    let flags = [&COURSE[..], &["--ema", "0.9"]].concat();
    ok(&run(&scratch(&data, &whole, &flags)));
    cut(&whole, &part, 35);
    let checkpoint = part.join("checkpoint-35");
    let resume = ["classify", "--resume", part.to_str().unwrap(), "-q"];
    let all = files(&checkpoint);
    for name in ["model", "optimizer", "ema", "best"] {
        let path = checkpoint.join(format!("{name}.safetensors"));
        assert!(all.contains(&path), "no {name} in {all:?}");
    }
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        let mut lengths = vec![0, 1, 9, bytes.len() / 2, bytes.len() - 1];
        lengths.retain(|length| *length < bytes.len());
        lengths.dedup();
        for length in lengths {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let output = run(&resume);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(output.status.code(), Some(1), "{name} of {length} bytes was taken");
            assert!(stderr(&output).contains(name), "{name}, {length}: {}", stderr(&output));
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    ok(&run(&resume));
    assert!(weights(&part) == weights(&whole));
}
