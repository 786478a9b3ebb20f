//! `infer evaluate` of a masked language model.

use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::data::ending;
use gradus_models::masking::Masking;
use gradus_models::pipelines::FillMask;
use gradus_models::tasks::{Guess, Masked};

use super::super::CHUNK;
use super::SHOWN;
use super::costly::Costly;
use super::language::{Measured, all_guesses, corpus};
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
    let (blocks, guesses) = all_guesses(shared, &corpus, |text, before| {
        let set = masked.set_after(text, before)?;
        let mut found = Vec::new();
        for chunk in set.chunks(CHUNK) {
            found.extend(filler.guess(chunk)?);
        }
        Ok((set.len(), found))
    })?;
    if guesses.is_empty() {
        return Err(Failure::error(format!("{}: there are no words to mask", path.display())));
    }
    let result = Measured {
        numbers: Guess::evaluation(&guesses, blocks),
        tokens: guesses.len(),
        name: "masked",
        worst: Costly::of(&guesses, flags.mistakes.unwrap_or(SHOWN)),
        tokenizer,
    };
    sink.write(&result.json("masked"), |out| result.print("masked tokens", out))?;
    sink.finish(shared, 1)
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
