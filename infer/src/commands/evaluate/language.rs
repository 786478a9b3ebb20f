//! What `infer evaluate` does with masked and causal language models alike.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, progress_bar};
use gradus_models::Tokenizer;
use gradus_models::data::Corpus;
use gradus_models::evaluation::Evaluation;
use gradus_models::tasks::Guess;
use serde_json::{Map, Value, json};

use super::costly::Costly;
use super::percent;
use crate::args::EvaluateFlags;

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

/// The number of blocks of a text of any size, of which a part is in memory, and what a model says of
/// their tokens. `guess` gets a part and the number of blocks before it, and returns the same for
/// this part.
pub fn all_guesses(
    shared: &SharedArgs,
    corpus: &Corpus,
    mut guess: impl FnMut(&str, usize) -> gradus_models::Result<(usize, Vec<Guess>)>,
) -> Outcome<(usize, Vec<Guess>)> {
    let bar = progress_bar(shared, corpus.windows() as u64, "parts");
    let (mut blocks, mut guesses) = (0, Vec::new());
    for window in 0..corpus.windows() {
        let (more, found) = guess(&corpus.read(window)?, blocks)?;
        blocks += more;
        guesses.extend(found);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((blocks, guesses))
}

/// How well the model does.
pub struct Measured<'a> {
    pub numbers: Evaluation,
    /// Predicted tokens.
    pub tokens: usize,
    /// The name of their number in JSON: `masked` or `tokens`.
    pub name: &'static str,
    pub worst: Vec<Costly>,
    pub tokenizer: &'a Tokenizer,
}

impl Measured<'_> {
    fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).unwrap_or(f64::NAN)
    }

    /// The numbers; a token that cost much has its own count as `count`.
    pub fn json(&self, count: &str) -> Value {
        let numbers = self.numbers.values().map(|(name, value)| (name.to_string(), json!(value)));
        let mut object: Map<String, Value> = numbers.collect();
        object.insert(self.name.into(), json!(self.tokens));
        object.insert("examples".into(), json!(self.numbers.examples));
        let worst: Vec<Value> =
            self.worst.iter().map(|word| word.json(self.tokenizer, count)).collect();
        object.insert("mistakes".into(), worst.into());
        Value::Object(object)
    }

    /// The numbers for people; `tokens` names what was predicted.
    pub fn print(&self, tokens: &str, out: &mut dyn Write) -> io::Result<()> {
        let (perplexity, accuracy) = (self.number("perplexity"), percent(self.number("accuracy")));
        let bits = self.numbers.get("bits_per_byte");
        let bits = bits.map_or(String::new(), |bits| format!("  bits per byte {bits:.4}"));
        writeln!(
            out,
            "perplexity {perplexity:.4}{bits}  accuracy {accuracy} of {} {tokens}  loss {:.4}  {} blocks",
            self.tokens, self.numbers.loss, self.numbers.examples
        )?;
        Costly::print(&self.worst, self.tokenizer, out)
    }
}
