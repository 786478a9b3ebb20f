//! `infer evaluate` of a masked language model.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, progress_bar};
use gradus_models::Tokenizer;
use gradus_models::data::{Corpus, ending};
use gradus_models::evaluation::Evaluation;
use gradus_models::masking::Masking;
use gradus_models::pipelines::FillMask;
use gradus_models::tasks::{Guess, Masked};
use serde_json::{Value, json};

use super::super::CHUNK;
use super::costly::Costly;
use super::{SHOWN, percent};
use crate::args::EvaluateFlags;
use crate::output::Sink;

/// Whether a file is text to mask words of: by its ending, or because a flag says so.
pub fn is_raw(path: &Path, flags: &EvaluateFlags) -> bool {
    let own = flags.text_column.is_some() || flags.mask_probability.is_some() || flags.whole_words;
    let ending = ending(path);
    path == Path::new("-") || own || ["txt", "md", "parquet"].contains(&ending.as_str())
}

/// Evaluates a masked language model on a text of any size, of which a part is in memory.
pub fn run(
    shared: &SharedArgs,
    flags: &EvaluateFlags,
    path: &Path,
    filler: &FillMask,
    mut sink: Sink,
) -> Outcome {
    let tokenizer = filler.tokenizer();
    let mask_id = tokenizer.id(filler.mask());
    let mask_id = mask_id.ok_or_else(|| Failure::error("the tokenizer has no mask token"))?;
    let masking = Masking {
        vocab_size: filler.config().vocab_size,
        mask_id,
        probability: probability(flags)?,
        whole_words: flags.whole_words,
        seed: shared.seed(),
    };
    let masked = Masked { tokenizer: tokenizer.clone(), max_length: filler.max_length(), masking };
    let corpus = corpus(flags, path)?;
    let bar = progress_bar(shared, corpus.windows() as u64, "parts");
    let (mut blocks, mut guesses) = (0, Vec::new());
    for window in 0..corpus.windows() {
        let set = masked.set_after(&corpus.read(window)?, blocks)?;
        for chunk in set.chunks(CHUNK) {
            guesses.extend(filler.guess(chunk)?);
        }
        blocks += set.len();
        bar.inc(1);
    }
    bar.finish_and_clear();
    if guesses.is_empty() {
        return Err(Failure::error(format!("{}: there are no words to mask", path.display())));
    }
    let numbers = Guess::evaluation(&guesses, blocks);
    let worst = Costly::of(&guesses, flags.mistakes.unwrap_or(SHOWN));
    let result = Measured { numbers, masked: guesses.len(), worst, tokenizer };
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// The text, from the column that the flags name.
pub fn corpus(flags: &EvaluateFlags, path: &Path) -> Outcome<Corpus> {
    let corpus = Corpus::with_column(path, flags.text_column.as_deref())?;
    if flags.text_column.is_some() && !corpus.has_rows() {
        return Err(Failure::usage(format!(
            "--text-column: {} is plain text, without columns; leave the flag out",
            path.display()
        )));
    }
    Ok(corpus)
}

/// The probability with which a token is masked.
fn probability(flags: &EvaluateFlags) -> Outcome<f64> {
    let probability = flags.mask_probability.unwrap_or(0.15);
    match probability > 0.0 && probability <= 1.0 {
        true => Ok(probability),
        false => Err(Failure::usage(format!(
            "--mask-probability is {probability}; it must be above 0, and 1 at most"
        ))),
    }
}

/// How well the model does.
struct Measured<'a> {
    numbers: Evaluation,
    /// Masked tokens.
    masked: usize,
    worst: Vec<Costly>,
    tokenizer: &'a Tokenizer,
}

impl Measured<'_> {
    fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        let word = |word: &Costly| word.json(self.tokenizer, "masked");
        json!({
            "loss": self.numbers.loss, "perplexity": self.number("perplexity"),
            "accuracy": self.number("accuracy"), "masked": self.masked,
            "examples": self.numbers.examples, "mistakes": self.worst.iter().map(word).collect::<Vec<_>>(),
        })
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let (perplexity, accuracy) = (self.number("perplexity"), percent(self.number("accuracy")));
        writeln!(
            out,
            "perplexity {perplexity:.4}  accuracy {accuracy} of {} masked tokens  loss {:.4}  {} blocks",
            self.masked, self.numbers.loss, self.numbers.examples
        )?;
        Costly::print(&self.worst, self.tokenizer, out)
    }
}
