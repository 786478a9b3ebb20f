//! A tiny BERT, trained from scratch on a toy task: is the question about money or about a card?
//!
//! `cargo run --release --example 07_tiny_bert`

use gradus::autograd::trace::Page;
use gradus::models::tasks::Classification;
use gradus::models::training::{Recipe, Task, TracedStep, Trainer};
use gradus::models::{
    EncoderConfig, Encoding, Labels, Pooling, Result, SequenceClassifier, Tokenizer,
};
use gradus::nn::Store;

fn main() -> Result<()> {
    let subjects = [("card", ["card", "plastic", "chip"]), ("money", ["money", "cash", "euro"])];
    let frames =
        ["where is my {}", "i lost the {}", "how do i get {}", "my {} is gone", "send {} now"];
    let mut texts: Vec<(String, u32)> = Vec::new();
    for (label, (_, words)) in subjects.iter().enumerate() {
        for word in words {
            texts.extend(frames.iter().map(|f| (f.replace("{}", word), label as u32)));
        }
    }

    // Text → tokens, with a WordPiece vocabulary learnt from the texts.
    let words: Vec<&str> = texts.iter().map(|(t, _)| t.as_str()).collect();
    let tokenizer = Tokenizer::train_wordpiece(&words, 200)?;
    let encodings: Vec<Encoding> =
        words.iter().map(|t| tokenizer.encode(t, None, 16)).collect::<Result<_>>()?;
    println!("{:?} → {:?}", words[0], encodings[0].tokens);

    // A BERT of one layer; its parameters have the names of a Hugging Face checkpoint.
    let mut config = EncoderConfig::new(tokenizer.vocab_size(), 1, 32, 2, 64);
    config.set_labels(&Labels::from_names(subjects.iter().map(|s| s.0.into()).collect())?);
    let store = Store::new(0);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Mean, 2)?;
    println!(
        "{} parameters, the first is {}",
        store.parameters().len(),
        store.parameters()[0].name()
    );

    // Every fifth text is kept for testing.
    let split = |test: bool| -> (Vec<Encoding>, Vec<u32>) {
        let chosen = (0..texts.len()).filter(|i| (i % 5 == 0) == test);
        chosen.map(|i| (encodings[i].clone(), texts[i].1)).unzip()
    };
    let test = split(true);
    let recipe = Recipe { epochs: 30, batch_size: 8, lr: 2e-3, ..Recipe::default() };
    let mut trainer = Trainer::new(Classification::new(model, split(false)), store, recipe)?;

    // The second step is traced (in the first the rate is 0), and one after half of the training: a
    // page shows both.
    let labels = ["card".to_string(), "money".to_string()];
    trainer.step()?;
    let first = trainer.traced_step(&labels, &tokenizer)?.expect("there are steps");
    let (half, mut later) = (trainer.total_steps() / 2, None);
    while let Some(step) = trainer.step()? {
        if step.step % 30 == 0 {
            println!("step {:3}: loss {:.4}, rate {:.1e}", step.step, step.loss.item()?, step.lr);
        }
        if step.step == half {
            later = trainer.traced_step(&labels, &tokenizer)?;
        }
    }
    let page = "target/07_tiny_bert.html";
    let mut html = Page::new("A tiny BERT", &first.trace)
        .first(format!("step {}", first.step.step), Some(first.update.clone()))
        .texts(first.texts.clone(), &labels);
    if let Some(TracedStep { step, trace, update, .. }) = &later {
        html = html.step(format!("step {}", step.step), trace, Some(update.clone()));
    }
    std::fs::create_dir_all("target")
        .and_then(|()| std::fs::write(page, html.to_html()))
        .expect("the folder target can be written");
    println!("open {page}");

    let result = trainer.task().evaluate(&test.into(), &mut |_, _| {})?;
    let accuracy = result.get("accuracy").unwrap_or_default();
    println!("accuracy on {} unseen texts: {:.0}%", result.examples, accuracy * 100.0);
    assert!(accuracy >= 0.8);
    Ok(())
}
