//! Sentence embeddings.

use std::borrow::Borrow;

use gradus_autograd::Var;
use gradus_nn::{Forward, Precision};
use gradus_tensor::{Device, Tensor};

use super::runner::{Runner, runner_methods};
use super::stages::Stages;
use crate::bert::normalize;
use crate::folder::{Prompts, SimilarityFunction, Stage};
use crate::{Bert, BertInput, Encoding, Error, Pooling, Result};

/// Texts to vectors.
pub struct TextEmbedder {
    runner: Runner,
    model: Bert,
    /// From the states to a vector as long as it comes.
    stages: Stages,
    pooling: Pooling,
    normalize: bool,
    /// What is put before every text.
    prompt: String,
    prompt_tokens: usize,
}

impl TextEmbedder {
    /// Opens a model folder or a hub id; of a model with a head, the encoder alone is used.
    ///
    /// A folder of sentence-transformers decides how the tokens become a vector (its modules,
    /// `include_prompt`, `truncate_dim`), where texts are cut and which prompt is put before them;
    /// the vectors are those of `SentenceTransformer.encode`. Any other model pools by the mean.
    ///
    /// - `pooling`: another mode than the folder's; what follows the pooling stays. `cls` is the
    ///   last hidden state of the first token (without BERT's pooler, as sentence-transformers has
    ///   it).
    /// - `normalize`: whether every vector has length 1, so that the product of two is their
    ///   cosine. When `None`, a folder of sentence-transformers decides (a `Normalize` module), and
    ///   otherwise it has.
    ///
    /// # Errors
    /// When the model cannot be opened or lacks parameters (they are named); when the folder asks
    /// for what Gradus does not have.
    pub fn open(
        model: &str,
        pooling: Option<Pooling>,
        normalize: impl Into<Option<bool>>,
    ) -> Result<Self> {
        let mut runner = Runner::open_sentence(model)?;
        if runner.sentence.cross_encoder {
            return Err(Error::Config {
                path: runner.config_path.clone(),
                message: "the model is a cross-encoder: it scores pairs of texts, and has no embeddings; use it as a \
                          classifier (`infer classify`)"
                    .into(),
            });
        }
        let (stages, pooling) = chain(std::mem::take(&mut runner.sentence.stages), pooling);
        // Older encoders are saved bare, which the checkpoint knows; heads stand beside `bert`.
        let model = Bert::new(&runner.store().root().join("bert"), &runner.config, false)?;
        runner.complete(|_| false, "")?;
        let mut stages = Stages::open(&stages, runner.config.hidden_size)?;
        let says = if runner.sentence.listed { stages.normalizes() } else { true };
        let wanted = normalize.into();
        // What is cut off after a Normalize leaves vectors shorter than 1, as in
        // sentence-transformers.
        let truncates = runner.sentence.truncate_dim.is_some_and(|dim| dim < stages.width);
        let normalize = match wanted {
            None if truncates => false,
            wanted => {
                stages.without_normalize();
                wanted.unwrap_or(says)
            }
        };
        let prompt = runner.sentence.prompts.get(None).map_err(Error::Input)?;
        let prompt = prompt.unwrap_or_default().to_string();
        let (prompt_tokens, width) = (0, stages.width);
        if let Some(dim) = runner.sentence.truncate_dim {
            stages.width = dim.min(width);
        }
        let mut embedder = TextEmbedder {
            runner,
            model,
            stages,
            pooling,
            normalize,
            prompt: String::new(),
            prompt_tokens,
        };
        embedder.set_prompt(&prompt)?;
        Ok(embedder)
    }

    /// How a text's tokens become one vector; of several modes, the first.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Whether [`TextEmbedder::embed`] gives vectors of length 1.
    pub fn normalizes(&self) -> bool {
        self.normalize || self.stages.normalizes()
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.stages.width
    }

    /// The prompts of the folder.
    pub fn prompts(&self) -> &Prompts {
        &self.runner.sentence.prompts
    }

    /// How alike two vectors are, by what the folder says.
    pub fn similarity(&self) -> SimilarityFunction {
        self.runner.sentence.similarity
    }

    /// Sets what [`TextEmbedder::embed`] puts before every text: at first the folder's default
    /// prompt.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn set_prompt(&mut self, prompt: &str) -> Result<()> {
        self.prompt_tokens = self.prompt_tokens(prompt)?;
        self.prompt = prompt.to_string();
        Ok(())
    }

    /// How many tokens a prompt has at the beginning of a text: the [`Encoding::prompt`] of one
    /// that begins with it.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        self.runner.tokenizer.prompt_tokens(prompt, self.runner.max_length())
    }

    /// The vectors of the texts, f32 `[texts, width]`, in their order.
    ///
    /// # Errors
    /// When a text cannot be encoded, or an output is not a number (the weight to blame is named).
    pub fn embed<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Tensor> {
        let rows = match self.prompt.is_empty() {
            true => self.vectors(&texts.iter().map(S::as_ref).collect::<Vec<&str>>())?,
            false => {
                let prompted = texts.iter().map(|text| format!("{}{}", self.prompt, text.as_ref()));
                let prompted: Vec<String> = prompted.collect();
                self.vectors(&prompted.iter().map(String::as_str).collect::<Vec<&str>>())?
            }
        };
        Ok(Tensor::from_slice(&rows.concat(), &[rows.len(), self.width()])?)
    }

    /// The vectors of texts with their prompt.
    fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<(&str, Option<&str>)> = texts.iter().map(|text| (*text, None)).collect();
        let mut encodings = self.runner.encode(&texts)?;
        encodings.iter_mut().for_each(|encoding| encoding.prompt = self.prompt_tokens);
        self.rows(&encodings, self.normalize)
    }

    /// The vectors of encoded texts, as long as they come (without a last `Normalize`), each of
    /// `width` values.
    ///
    /// # Errors
    /// When an encoding does not fit the model, or an output is not a number (the weight to blame
    /// is named).
    pub fn pooled<E: Borrow<Encoding> + Sync>(&self, encodings: &[E]) -> Result<Vec<Vec<f32>>> {
        self.rows(encodings, false)
    }

    /// The last hidden states of encoded texts, before pooling: `tokens × hidden` values each,
    /// token by token.
    ///
    /// # Errors
    /// As [`TextEmbedder::pooled`].
    pub fn states<E: Borrow<Encoding> + Sync>(&self, encodings: &[E]) -> Result<Vec<Vec<f32>>> {
        let hidden = self.runner.config.hidden_size;
        self.runner.run(encodings, |input, packed, _| {
            let states = self.model.forward(input, &Forward::inference())?;
            let values = self.runner.numbers(states.tensor())?;
            Ok(packed
                .ranges()
                .map(|range| values[range.start * hidden..range.end * hidden].to_vec())
                .collect())
        })
    }

    fn rows<E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
        unit: bool,
    ) -> Result<Vec<Vec<f32>>> {
        self.runner.run(encodings, |input, _, batch| {
            let prompts: Vec<usize> = batch.iter().map(|&i| encodings[i].borrow().prompt).collect();
            let vectors = self.vectors_of(input, &prompts, unit)?;
            let values = self.runner.numbers(vectors.tensor())?;
            Ok(values.chunks(self.width()).map(<[f32]>::to_vec).collect())
        })
    }

    fn vectors_of(&self, input: &BertInput, prompts: &[usize], unit: bool) -> Result<Var> {
        let states = self.model.forward(input, &Forward::inference())?;
        let mut vectors = self.stages.forward(&states, input, prompts)?;
        if vectors.size(-1)? > self.width() {
            vectors = vectors.narrow(-1, 0, self.width())?;
        }
        if unit { normalize(&vectors) } else { Ok(vectors) }
    }

    /// Moves the model to `device`, where it then computes; it is opened on the CPU.
    ///
    /// # Errors
    /// When the device is not there, or cannot hold the model.
    pub fn to_device(&mut self, device: Device) -> Result<()> {
        self.runner.to_device(device)?;
        self.stages.to_device(device)
    }

    /// Sets the precision in which the model computes: f32 unless set. Results are f32 in either.
    ///
    /// # Errors
    /// When the model's device does not compute in it.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.runner.set_precision(precision)
    }

    /// Sets the tokens of a text at most.
    ///
    /// # Errors
    /// [`Error::Input`] when the model has fewer positions, or there is no room for the special
    /// tokens.
    pub fn set_max_length(&mut self, max_length: usize) -> Result<()> {
        self.runner.set_max_length(max_length)?;
        self.prompt_tokens = self.prompt_tokens(&self.prompt)?;
        Ok(())
    }

    fn bert(&self) -> &Bert {
        &self.model
    }

    runner_methods!();
}

/// The stages with another pooling where one is given, and the first mode.
fn chain(mut stages: Vec<Stage>, pooling: Option<Pooling>) -> (Vec<Stage>, Pooling) {
    let usual = || Stage::Pool { modes: vec![Pooling::Mean], include_prompt: true };
    if stages.is_empty() {
        stages.push(usual());
    }
    let mut first = Pooling::Mean;
    if let Some(Stage::Pool { modes, .. }) = stages.first_mut() {
        if let Some(pooling) = pooling {
            *modes = vec![pooling];
        }
        first = modes.first().copied().unwrap_or(first);
    }
    (stages, first)
}
