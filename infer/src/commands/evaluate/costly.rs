//! The tokens that cost a language model most.

use std::collections::BTreeMap;
use std::io::{self, Write};

use gradus_models::Tokenizer;
use gradus_models::tasks::Guess;
use serde_json::{Map, Value, json};

/// The guesses of one token.
pub struct Costly {
    id: u32,
    count: usize,
    right: usize,
    loss: f64,
}

impl Costly {
    /// The tokens with the largest sums of losses.
    pub fn of(guesses: &[Guess], shown: usize) -> Vec<Costly> {
        let mut words: BTreeMap<u32, Costly> = BTreeMap::new();
        for guess in guesses {
            let id = guess.truth;
            let word = words.entry(id).or_insert(Costly { id, count: 0, right: 0, loss: 0.0 });
            word.count += 1;
            word.right += usize::from(guess.predicted == guess.truth);
            word.loss += f64::from(guess.loss);
        }
        let mut rows: Vec<Costly> = words.into_values().collect();
        rows.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.id.cmp(&b.id)));
        rows.truncate(shown);
        rows
    }

    /// The token with its mean loss; how often it was predicted is `count`, under that name.
    pub fn json(&self, tokenizer: &Tokenizer, count: &str) -> Value {
        let mut object = Map::new();
        object.insert("token".into(), json!(tokenizer.token(self.id)));
        object.insert(count.into(), json!(self.count));
        object.insert("right".into(), json!(self.right));
        object.insert("loss".into(), json!(self.loss / self.count as f64));
        Value::Object(object)
    }

    /// The tokens for people, a line each.
    pub fn print(words: &[Costly], tokenizer: &Tokenizer, out: &mut dyn Write) -> io::Result<()> {
        if !words.is_empty() {
            writeln!(out, "\ntokens that cost most")?;
        }
        for word in words {
            let token = tokenizer.token(word.id).unwrap_or_default();
            let (right, count, loss) = (word.right, word.count, word.loss / word.count as f64);
            writeln!(out, "  {token}: {right} of {count} right, loss {loss:.4}")?;
        }
        Ok(())
    }
}
