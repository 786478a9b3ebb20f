//! The program, on a tiny model of random weights.

pub use gradus_tiny_model::{Head, TEXTS, write_model};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gradus_nn::{Init, Store};
use gradus_tensor::Tensor;
use serde_json::Value;

/// A model folder that lives as long as the test.
pub struct Model(pub tempfile::TempDir);

impl Model {
    pub fn new(head: Head) -> Model {
        let dir = tempfile::tempdir().unwrap();
        write_model(dir.path(), head);
        Model(dir)
    }

    pub fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Saves the weights again after `change`.
    pub fn change(head: Head, change: impl FnOnce(&Store)) -> Model {
        let dir = tempfile::tempdir().unwrap();
        let store = write_model(dir.path(), head);
        change(&store);
        let tensors = store.parameters().into_iter().map(|p| (p.name().to_string(), p.tensor()));
        let path = dir.path().join("model.safetensors");
        gradus_tensor::io::safetensors::save(path, tensors, None).unwrap();
        Model(dir)
    }
}

/// Adds a parameter under another shape than the model's, in a store of its own.
pub fn reshaped(folder: &Path, name: &str, shape: &[usize]) {
    let path = folder.join("model.safetensors");
    let file = gradus_tensor::io::safetensors::SafeTensors::open(&path).unwrap();
    let store = Store::new(0);
    let other = store.root().parameter(name, shape, Init::Zeros).unwrap();
    let tensors: Vec<(String, Tensor)> = file
        .names()
        .into_iter()
        .map(|n| {
            let tensor = if n == name { other.tensor() } else { file.tensor(&n).unwrap() };
            (n, tensor)
        })
        .collect();
    gradus_tensor::io::safetensors::save(&path, tensors, None).unwrap();
}

/// Runs the program with nothing on standard input.
pub fn infer(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs the program with `input` on standard input.
pub fn infer_with(args: &[&str], input: &[u8]) -> Output {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_infer"));
    // A name that is not a folder must not use the network.
    command.args(args).env("HF_HUB_OFFLINE", "1").env("RUST_BACKTRACE", "1");
    // Without a desktop Mesa's layer prints a remark, which the program must suppress.
    command.env_remove("XDG_RUNTIME_DIR").env_remove("NODEVICE_SELECT");
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The lines of JSON of a run that succeeded.
pub fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Checks that a run failed with this exit code and these words, and returns its message.
#[track_caller]
pub fn fails(output: &Output, code: i32, parts: &[&str]) -> String {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "something on standard output: {}", stdout(output));
    assert!(said.starts_with("error: "), "{said}");
    assert!(!said.contains("panicked") && !said.contains("bug in Gradus"), "{said}");
    assert!(!said.contains("stack backtrace"), "{said}");
    if code == 1 {
        assert_eq!(said.trim_end().lines().count(), 1, "more than a paragraph: {said}");
    }
    for part in parts {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    said
}
