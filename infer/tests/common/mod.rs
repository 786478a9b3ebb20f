//! A tiny model of random weights, and the program.

#![allow(dead_code)] // not every test file uses everything

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gradus_models::{
    BertConfig, MaskedLm, Pooling, SequenceClassifier, TokenClassifier, Tokenizer, save_folder,
};
use gradus_nn::{Init, Store};
use gradus_tensor::Tensor;
use serde_json::Value;

/// Texts of several lengths.
pub const TEXTS: [&str; 5] = [
    "how do i locate my card",
    "my card was stolen",
    "the exchange rate is wrong, and the fee for the cash that i withdrew abroad is far too high",
    "hi",
    "why was i charged a fee",
];

/// What head a model has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    None,
    Sequence(Pooling),
    Masked,
    Tokens,
}

pub fn config(tokenizer: &Tokenizer, head: Head) -> BertConfig {
    let mut config = BertConfig::new(tokenizer.vocab_size(), 2, 32, 2, 64);
    config.max_position_embeddings = 64;
    // Large weights make the answers differ from text to text.
    config.initializer_range = 0.3;
    let (architecture, labels): (_, &[&str]) = match head {
        Head::None => ("BertModel", &[]),
        Head::Sequence(_) => ("BertForSequenceClassification", &["card", "fee", "rate"]),
        Head::Masked => ("BertForMaskedLM", &[]),
        Head::Tokens => ("BertForTokenClassification", &["O", "B-THING", "I-THING"]),
    };
    config.architectures = vec![architecture.into()];
    config.id2label = labels.iter().map(|l| l.to_string()).collect();
    if let Head::Sequence(pooling) = head {
        config.pooling = Some(pooling);
    }
    config
}

/// Writes a model folder.
pub fn write_model(folder: &Path, head: Head) -> Store {
    let tokenizer = Tokenizer::train_wordpiece(&TEXTS, 200).unwrap();
    let config = config(&tokenizer, head);
    let store = Store::new(1);
    let root = store.root();
    match head {
        Head::None => drop(gradus_models::Bert::new(&root.join("bert"), &config, false).unwrap()),
        Head::Sequence(pooling) => {
            drop(SequenceClassifier::new(&root, &config, pooling, 3).unwrap())
        }
        Head::Masked => drop(MaskedLm::new(&root, &config).unwrap()),
        Head::Tokens => drop(TokenClassifier::new(&root, &config, 3).unwrap()),
    }
    // Random biases too, so that nothing is hidden behind a zero.
    for parameter in store.parameters().iter().filter(|p| p.name().ends_with("bias")) {
        let shape = parameter.shape().to_vec();
        let values: Vec<f32> =
            (0..parameter.numel()).map(|i| ((i * 7 % 11) as f32 - 5.0) / 20.0).collect();
        parameter.set(Tensor::from_slice(&values, &shape).unwrap()).unwrap();
    }
    save_folder(folder, &config, &tokenizer, &store).unwrap();
    store
}

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

    /// Saves the weights anew after `change`.
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
    // A name that is no folder must not reach for the network.
    command.args(args).env("HF_HUB_OFFLINE", "1").env("RUST_BACKTRACE", "1");
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

/// Checks that a run failed as it should, and returns what it said.
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
