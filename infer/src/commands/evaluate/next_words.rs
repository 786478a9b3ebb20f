//! `infer evaluate` of a causal language model.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, progress_bar};
use gradus_models::Tokenizer;
use gradus_models::evaluation::Evaluation;
use gradus_models::pipelines::TextGenerator;
use gradus_models::tasks::Blocks;
use serde_json::{Value, json};

use super::super::CHUNK;
use super::costly::Costly;
use super::masked::corpus;
use super::{SHOWN, percent};
use crate::args::EvaluateFlags;
use crate::output::Sink;

/// Evaluates a causal language model on a text of any size, of which a part is in memory.
pub fn run(
    shared: &SharedArgs,
    flags: &EvaluateFlags,
    path: &Path,
    generator: &TextGenerator,
    mut sink: Sink,
) -> Outcome {
    let corpus = corpus(flags, path)?;
    let bar = progress_bar(shared, corpus.windows() as u64, "parts");
    let (mut blocks, mut guesses) = (0, Vec::new());
    for window in 0..corpus.windows() {
        let text = corpus.read(window)?;
        let set = Blocks::of(&text, generator.tokenizer(), generator.max_length())?;
        for chunk in set.ids.chunks(CHUNK) {
            guesses.extend(generator.guess(chunk)?);
        }
        blocks += set.ids.len();
        bar.inc(1);
    }
    bar.finish_and_clear();
    if guesses.is_empty() {
        return Err(Failure::error(format!("{}: there are no two tokens", path.display())));
    }
    let result = Measured {
        numbers: Blocks::evaluation(&guesses, blocks, corpus.bytes()),
        tokens: guesses.len(),
        worst: Costly::of(&guesses, flags.mistakes.unwrap_or(SHOWN)),
        tokenizer: generator.tokenizer(),
    };
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// How well the model does.
struct Measured<'a> {
    numbers: Evaluation,
    /// Predicted tokens.
    tokens: usize,
    worst: Vec<Costly>,
    tokenizer: &'a Tokenizer,
}

impl Measured<'_> {
    fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        let word = |word: &Costly| word.json(self.tokenizer, "count");
        json!({
            "loss": self.numbers.loss, "perplexity": self.number("perplexity"),
            "bits_per_byte": self.number("bits_per_byte"), "accuracy": self.number("accuracy"),
            "tokens": self.tokens, "examples": self.numbers.examples,
            "mistakes": self.worst.iter().map(word).collect::<Vec<_>>(),
        })
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "perplexity {:.4}  bits per byte {:.4}  accuracy {} of {} tokens  loss {:.4}  {} blocks",
            self.number("perplexity"),
            self.number("bits_per_byte"),
            percent(self.number("accuracy")),
            self.tokens,
            self.numbers.loss,
            self.numbers.examples
        )?;
        Costly::print(&self.worst, self.tokenizer, out)
    }
}
