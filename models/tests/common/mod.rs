//! Shared by several tests: a small training task, and reference results.
#![allow(dead_code)] // each test program uses a part

use std::path::{Path, PathBuf};

use gradus_models::tasks::Classification;
use gradus_models::training::{Destination, OptimizerKind, Recipe, ScheduleKind, Trainer};
use gradus_models::{EncoderConfig, Labels, Pooling, SequenceClassifier, Tokenizer};
use gradus_nn::Store;
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_tensor::{Device, Tensor};

/// The reference sentences, and PyTorch's embeddings of them by MiniLM, in f32.
pub fn reference_embeddings(shared: &Path) -> (Vec<String>, Tensor) {
    let golden = SafeTensors::open(shared.join("golden/a_embed.safetensors")).unwrap();
    let about = std::fs::read(shared.join("golden/a_embed.json")).unwrap();
    let about: serde_json::Value = serde_json::from_slice(&about).unwrap();
    let sentences =
        about["sentences"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_string());
    (sentences.collect(), golden.tensor("sentence_embeddings").unwrap())
}

/// A small task: short made-up texts of three kinds.
pub fn small_trainer(recipe: Recipe) -> Trainer<Classification> {
    trainer(recipe, 96, 0.1)
}

/// The same with other numbers of examples, or another dropout.
pub fn trainer(recipe: Recipe, examples: usize, dropout: f64) -> Trainer<Classification> {
    trainer_on(Device::Cpu, recipe, examples, dropout)
}

/// The same on a device.
pub fn trainer_on(
    device: Device,
    recipe: Recipe,
    examples: usize,
    dropout: f64,
) -> Trainer<Classification> {
    let frames = ["the {} is red and round", "who has seen my {} today", "a {} , a {} and more"];
    let words = ["apple", "bicycle", "cat", "door", "engine", "flower", "glass", "horse"];
    let texts: Vec<(String, u32)> = words
        .iter()
        .flat_map(|w| frames.iter().enumerate().map(move |(l, f)| (f.replace("{}", w), l as u32)))
        .cycle()
        .take(examples)
        .collect();
    let all: Vec<&str> = texts.iter().map(|(t, _)| t.as_str()).collect();
    let tokenizer = Tokenizer::train_wordpiece(&all, 120).unwrap();
    let mut config = EncoderConfig::new(tokenizer.vocab_size(), 2, 64, 4, 128);
    config.hidden_dropout_prob = dropout;
    config.attention_probs_dropout_prob = dropout;
    let names = (0..3).map(|i| format!("kind {i}")).collect();
    config.set_labels(&Labels::from_names(names).unwrap());
    let store = Store::new(recipe.seed);
    store.to_device(device).unwrap();
    recipe.adapt(&store, &config).unwrap();
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap();
    let encodings = all.iter().map(|t| tokenizer.encode(t, None, 32).unwrap()).collect();
    let labels = texts.iter().map(|t| t.1).collect();
    let task = Classification::new(model, (encodings, labels)).label_smoothing(0.1).unwrap();
    Trainer::new(task, store, recipe).unwrap()
}

/// A place for a run's model whose weights do not matter.
pub fn destination() -> (tempfile::TempDir, Destination) {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::train_wordpiece(&["some words to learn from"], 60).unwrap();
    let config = EncoderConfig::new(tokenizer.vocab_size(), 1, 8, 1, 8);
    let folder = dir.path().to_path_buf();
    (dir, Destination { folder, config, tokenizer })
}

/// One step of SGD on four examples, without warm-up, decay or limit, unless the test says
/// otherwise.
pub fn plain() -> Recipe {
    Recipe {
        steps: Some(1),
        batch_size: 4,
        lr: 0.1,
        warmup: 0.0,
        schedule: ScheduleKind::Constant,
        weight_decay: 0.0,
        clip_norm: 0.0,
        optimizer: OptimizerKind::Sgd,
        ..Recipe::default()
    }
}

/// Saves a checkpoint; its configuration and tokenizer do not matter.
pub fn save(trainer: &Trainer<Classification>, out: &Path) -> PathBuf {
    let tokenizer = Tokenizer::train_wordpiece(&["the apple is red"], 60).unwrap();
    let config = trainer.task().model().encoder().config().clone();
    trainer.save_checkpoint(out, &config, &tokenizer).unwrap()
}

/// Gives a trainer the weights of a checkpoint, as [`Trainer::resume`] expects.
pub fn load_weights(trainer: &Trainer<Classification>, checkpoint: &Path) {
    let saved = SafeTensors::open(checkpoint.join("model.safetensors")).unwrap();
    for parameter in trainer.store().parameters() {
        parameter.set(saved.tensor(parameter.name()).unwrap()).unwrap();
    }
}

/// Makes `steps` steps, all of which must succeed.
pub fn run(trainer: &mut Trainer<Classification>, steps: usize) {
    for _ in 0..steps {
        trainer.step().unwrap().unwrap();
    }
}
