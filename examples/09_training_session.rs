//! A whole training run: steps, evaluations, the best model, checkpoints, and the model's folder.
//!
//! `cargo run --release --example 09_training_session`

use std::sync::atomic::AtomicBool;

use gradus::models::tasks::{Classification, Problem, encode_split};
use gradus::models::training::{
    Destination, Ended, Event, Recipe, Session, SessionOptions, Trainer,
};
use gradus::models::{
    Columns, Dataset, EncoderConfig, Error, Pooling, Result, SequenceClassifier, Split, Tokenizer,
};
use gradus::nn::Store;

fn main() -> Result<()> {
    // Questions of a bank's customers, labelled by topic. A full training takes far more than 200
    // steps.
    let data = Dataset::open("data/banking77", &Columns::default())?;
    let labels = data.labels()?;
    let texts: Vec<&str> = data.train.examples.iter().map(|e| e.text.as_str()).collect();
    let tokenizer = Tokenizer::train_wordpiece(&texts, 4000)?;
    let mut config = EncoderConfig::preset("tiny", tokenizer.vocab_size())?;
    config.set_labels(&labels);
    let store = Store::new(0);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, labels.len())?;
    let encode = |split: &Split| encode_split(split, Problem::Single, &labels, &tokenizer, 64);
    let (train, dev) = (encode(&data.train)?, data.dev.as_ref().map(encode).transpose()?);
    let recipe = Recipe { steps: Some(200), lr: 1e-3, ..Recipe::default() };
    let trainer = Trainer::new(Classification::new(model, train), store, recipe)?;

    // The session runs the training and reports its events to the closure.
    let folder = std::env::temp_dir().join("gradus-training-session");
    std::fs::create_dir_all(&folder)
        .map_err(|source| Error::Io { path: folder.clone(), source })?;
    let destination = Destination { folder, config, tokenizer };
    let options = SessionOptions { eval_every: Some(100), ..SessionOptions::default() };
    let mut session = Session { trainer, dev, test: None, destination, options };
    let ended = session.run(&AtomicBool::new(false), &mut |event| {
        match event {
            Event::Step(s) if s.step % 20 == 0 => println!("step {:3}: loss {:.3}", s.step, s.loss),
            Event::Evaluated { split, step, result, .. } => {
                let accuracy = result.get("accuracy").unwrap_or_default();
                println!("step {step:3}: {split} accuracy {:.1}%", accuracy * 100.0);
            }
            _ => {}
        }
        Ok::<(), Error>(())
    })?;
    if let Ended::Finished(run) = ended {
        println!("the model of step {} is in {}", run.kept, session.destination.folder.display());
    }
    Ok(())
}
