//! Texts that a causal language model goes on with.

use gradus_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::runner::{BATCH_TOKENS, Runner, derefs_to_runner};
use crate::generation::{FinishReason, GenerationConfig, Sampler, Stops, TextStream};
use crate::tasks::{Guess, next_guesses};
use crate::{CausalLm, Error, KeyValueCache, ModelRef, Pretrained, Result, Task};

/// A text that a model wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The text after the prompt.
    pub generated_text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens after it, the one that ends the text included.
    pub generated_tokens: usize,
    /// Why it ends.
    pub finish_reason: FinishReason,
}

/// Prompts to the texts that go on from them.
///
/// ```no_run
/// use gradus_models::generation::GenerationConfig;
/// use gradus_models::pipelines::TextGenerator;
///
/// # fn main() -> gradus_models::Result<()> {
/// let model = TextGenerator::open("openai-community/gpt2")?;
/// let settings = GenerationConfig { do_sample: true, seed: 7, ..model.settings().clone() };
/// let text = model.generate("To be, or not", &settings, &[], 0, |piece| {
///     print!("{piece}");
///     true
/// })?;
/// println!("\n{} tokens", text.generated_tokens);
/// # Ok(())
/// # }
/// ```
pub struct TextGenerator {
    runner: Runner,
    model: CausalLm,
    settings: GenerationConfig,
}

derefs_to_runner!(TextGenerator);

impl TextGenerator {
    /// Opens a model folder or a hub id.
    ///
    /// # Errors
    /// When the model cannot be opened, its type predicts no next words, or its
    /// generation_config.json asks for what Gradus does not have.
    pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Self> {
        let pretrained = Pretrained::open(model)?;
        if pretrained.config.is_causal() {
            pretrained.check_decoder()?;
        }
        let within = pretrained.layout().transformer.clone();
        let mut runner = Runner::new(pretrained);
        for other in [Task::Classify, Task::Tag, Task::FillMask, Task::Answer] {
            runner.refuse(other)?;
        }
        let (settings, notes) = GenerationConfig::of_folder(&within, &runner.config)?;
        runner.add_notes(notes);
        let model = CausalLm::new(&runner.store().root(), &runner.config)
            .map_err(|error| Error::config(&runner.config_path, error.to_string()))?;
        runner.complete(Task::Generate)?;
        Ok(TextGenerator { runner, model, settings })
    }

    /// The settings of the model's folder.
    pub fn settings(&self) -> &GenerationConfig {
        &self.settings
    }

    /// Goes on with `prompt`. `on_text` gets each piece of the text as soon as its characters are
    /// complete, and says whether to go on. Several texts for one prompt have a `number` each, and
    /// so draws of their own. The text ends before the first of `stops`.
    ///
    /// # Errors
    /// [`Error::Input`] when the settings make no sense, the prompt has no tokens and the model no
    /// `bos_token_id`, or the model has no position for a token after the prompt; when an output is
    /// not a number.
    pub fn generate(
        &self,
        prompt: &str,
        settings: &GenerationConfig,
        stops: &[String],
        number: u64,
        mut on_text: impl FnMut(&str) -> bool,
    ) -> Result<Generated> {
        settings.validate()?;
        let mut ids = self.prompt(prompt, settings)?;
        let prompt_tokens = ids.len();
        let most = self.room(prompt_tokens, settings)?;
        let sampler = Sampler::new(settings, number);
        let (mut seen, mut next) = (KeyValueCache::new(&self.runner.config), ids.clone());
        let mut stream = TextStream::after(&self.runner.tokenizer, &ids);
        let (mut stops, mut text) = (Stops::new(stops), String::new());
        let mut show = |piece: String| {
            text.push_str(&piece);
            piece.is_empty() || on_text(&piece)
        };
        let mut finish_reason = FinishReason::Length;
        for at in 0..most {
            let logits = self.runner.numbers(&self.step(&next, &mut seen)?)?;
            let id = sampler.next(logits, &ids, at as u64);
            ids.push(id);
            next = vec![id];
            if settings.eos_token_id.contains(&id) {
                finish_reason = FinishReason::EosToken;
                break;
            }
            let (piece, stopped) = stops.push(&stream.push(id)?);
            let goes_on = show(piece);
            if stopped || !goes_on {
                let reasons = [FinishReason::Cancelled, FinishReason::StopSequence];
                finish_reason = reasons[stopped as usize];
                break;
            }
        }
        if matches!(finish_reason, FinishReason::Length | FinishReason::EosToken) {
            let (piece, stopped) = stops.push(&stream.end()?);
            show(piece);
            show(if stopped { String::new() } else { stops.end() });
        }
        let generated_tokens = ids.len() - prompt_tokens;
        Ok(Generated { generated_text: text, prompt_tokens, generated_tokens, finish_reason })
    }

    /// What the model says of each token of some blocks but the first of a block, in their order; see
    /// [`Blocks`](crate::tasks::Blocks).
    ///
    /// # Errors
    /// When a block is too long for the model, or an output is not a number.
    pub fn guess(&self, blocks: &[Vec<u32>]) -> Result<Vec<Guess>> {
        let mut found = Vec::new();
        let tokens = |block: &Vec<u32>| block.len();
        let longest = blocks.iter().map(tokens).max().unwrap_or(1).max(1);
        for some in blocks.chunks((BATCH_TOKENS / longest).max(1)) {
            let some: Vec<&[u32]> = some.iter().map(|block| &block[..]).collect();
            let read = |tensor: &Tensor| self.runner.numbers(tensor);
            found.extend(self.runner.pass(|| next_guesses(&self.model, &some, read))?);
        }
        Ok(found)
    }

    /// The logits after the last of `ids`, f32 `[1, vocabulary]`.
    fn step(&self, ids: &[u32], seen: &mut KeyValueCache) -> Result<Tensor> {
        self.runner.pass(|| Ok(self.model.step(ids, seen)?.tensor().clone()))
    }

    /// The tokens of a prompt; the one that begins a text where there is none.
    fn prompt(&self, prompt: &str, settings: &GenerationConfig) -> Result<Vec<u32>> {
        let ids = self.runner.tokenizer.encode(prompt, None, usize::MAX)?.ids;
        match settings.bos_token_id {
            _ if !ids.is_empty() => Ok(ids),
            Some(bos) => Ok(vec![bos]),
            None => Err(Error::Input(
                "the prompt has no tokens, and the model names no bos_token_id to begin with; write \
                 the beginning of the text"
                    .into(),
            )),
        }
    }

    /// How many tokens may come after a prompt of `tokens`.
    fn room(&self, tokens: usize, settings: &GenerationConfig) -> Result<usize> {
        let positions = self.runner.config.max_tokens();
        let length = settings.max_length.map_or(positions, |length| length.min(positions));
        // The last token that is chosen needs no position: nothing is computed from it.
        match (positions + 1).saturating_sub(tokens) {
            0 => Err(Error::Input(format!(
                "the prompt has {tokens} tokens; the model has positions for {positions}"
            ))),
            room => {
                let within = if length < positions { length.saturating_sub(tokens) } else { room };
                Ok(settings.max_new_tokens.min(within.max(1)))
            }
        }
    }
}
