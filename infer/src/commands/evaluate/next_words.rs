//! `infer evaluate` of a causal language model.

use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::pipelines::TextGenerator;
use gradus_models::tasks::Blocks;

use super::super::CHUNK;
use super::SHOWN;
use super::costly::Costly;
use super::language::{Measured, all_guesses, corpus};
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
    let (blocks, guesses) = all_guesses(shared, &corpus, |text, _| {
        let set = Blocks::of(text, generator.tokenizer(), generator.max_length())?;
        let mut found = Vec::new();
        for chunk in set.ids.chunks(CHUNK) {
            found.extend(generator.guess(chunk)?);
        }
        Ok((set.ids.len(), found))
    })?;
    if guesses.is_empty() {
        return Err(Failure::error(format!("{}: there are no two tokens", path.display())));
    }
    let result = Measured {
        numbers: Blocks::evaluation(&guesses, blocks, corpus.bytes()),
        tokens: guesses.len(),
        name: "tokens",
        worst: Costly::of(&guesses, flags.mistakes.unwrap_or(SHOWN)),
        tokenizer: generator.tokenizer(),
    };
    sink.write(&result.json("count"), |out| result.print("tokens", out))?;
    sink.finish(shared, 1)
}
