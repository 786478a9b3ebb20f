//! Sentence embeddings.

use std::borrow::Borrow;

use gradus_autograd::Var;
use gradus_nn::Forward;
use gradus_tensor::Tensor;

use super::runner::{Runner, derefs_to_runner};
use super::stages::Stages;
use crate::encoder::normalize;
use crate::folder::{Prompts, Sentence, SimilarityFunction, Stage};
use crate::{Encoder, EncoderInput, Encoding, Error, ModelRef, Pooling, Pretrained, Result, Task};

/// Texts to vectors.
pub struct TextEmbedder {
    runner: Runner,
    model: Encoder,
    /// From the states to a vector, without a last Normalize.
    stages: Stages,
    /// Numbers of a vector: those of the stages, or the first few of them.
    width: usize,
    pooling: Pooling,
    unit: Option<Unit>,
    prompts: Prompts,
    similarity: SimilarityFunction,
    listed: bool,
    /// What [`TextEmbedder::embed`] puts before every text.
    prompt: String,
}

/// When vectors are scaled to length 1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Before they are cut to their width, which leaves them shorter.
    BeforeCut,
    /// At the end.
    AtEnd,
}

derefs_to_runner!(TextEmbedder);

impl TextEmbedder {
    /// Opens a model folder or a hub id; of a model with a head, the encoder alone is used.
    ///
    /// A folder of sentence-transformers decides how the tokens become a vector (its modules,
    /// `include_prompt`, `truncate_dim`), where texts are cut and which prompt is put before them;
    /// the vectors are those of `SentenceTransformer.encode`. Any other model pools by the mean.
    ///
    /// - `pooling` replaces the folder's mode; the modules after the pooling stay. `cls` is the
    ///   last hidden state of the first token, without BERT's pooler, as in sentence-transformers.
    /// - `normalize` says whether every vector has length 1, so that the product of two is their
    ///   cosine. When it is `None`, a folder of sentence-transformers decides (a `Normalize`
    ///   module); the vectors of any other model have length 1.
    ///
    /// # Errors
    /// When the model cannot be opened or lacks parameters (the error names them); when the folder
    /// asks for what Gradus does not have.
    pub fn open<'m>(
        model: impl Into<ModelRef<'m>>,
        pooling: Option<Pooling>,
        normalize: impl Into<Option<bool>>,
    ) -> Result<Self> {
        Self::of(Pretrained::open(model)?, pooling, normalize.into())
    }

    pub(super) fn of(
        pretrained: Pretrained,
        pooling: Option<Pooling>,
        normalize: Option<bool>,
    ) -> Result<Self> {
        let (mut runner, sentence) = Runner::with_sentence(pretrained)?;
        if sentence.cross_encoder {
            return Err(Error::OtherTask {
                path: runner.config_path.clone(),
                model: "a cross-encoder, which scores pairs of texts and has no embeddings".into(),
                task: Task::Classify,
            });
        }
        if sentence.splade.is_some() {
            let message = "lists a SpladePooling, so its vectors are sparse: `infer embed --sparse`, \
                           or `/embed_sparse` of the server";
            return Err(Error::config(runner.folder().join("modules.json"), message));
        }
        let Sentence { stages, listed, truncate_dim, prompts, similarity, .. } = sentence;
        let (stages, pooling) = with_pooling(stages, pooling);
        // Encoders are saved without `bert.` in their names, too; the checkpoint knows.
        let path = runner.config.encoder_path(&runner.store().root());
        let model = Encoder::new(&path, &runner.config, false)?;
        runner.complete(Task::Embed)?;
        let (mut stages, stores) = Stages::open(&stages, runner.config.hidden_size)?;
        runner.add_stores(stores);
        let listed_unit = stages.take_normalize();
        let width = truncate_dim.map_or(stages.width, |dim| dim.min(stages.width));
        let unit = match normalize {
            // As in sentence-transformers, which cuts after a Normalize.
            None if width < stages.width => listed_unit.then_some(Unit::BeforeCut),
            None => (listed_unit || !listed).then_some(Unit::AtEnd),
            Some(wanted) => wanted.then_some(Unit::AtEnd),
        };
        let prompt = prompts.get(None).map_err(Error::Input)?.unwrap_or_default().to_string();
        let mut embedder = TextEmbedder {
            runner,
            model,
            stages,
            width,
            pooling,
            unit,
            prompts,
            similarity,
            listed,
            prompt: String::new(),
        };
        embedder.set_prompt(&prompt)?;
        Ok(embedder)
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.model
    }

    /// How a text's tokens become one vector; the first of several modes.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Whether [`TextEmbedder::embed`] gives vectors of length 1.
    pub fn normalizes(&self) -> bool {
        self.unit.is_some()
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The prompts of the folder.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Whether the folder says how it embeds: it lists the modules of sentence-transformers.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// How the folder compares two vectors.
    pub fn similarity(&self) -> SimilarityFunction {
        self.similarity
    }

    /// Sets the prompt that [`TextEmbedder::embed`] puts before every text; at first it is the
    /// folder's default prompt.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn set_prompt(&mut self, prompt: &str) -> Result<()> {
        self.prompt_tokens(prompt)?;
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
    /// When a text cannot be encoded, or an output is not a number (the error names the weight to
    /// blame).
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
        let prompt = self.prompt_tokens(&self.prompt)?;
        let mut encodings = self.runner.encode(&texts)?;
        encodings.iter_mut().for_each(|encoding| encoding.prompt = prompt);
        self.rows(&encodings, self.unit)
    }

    /// The vectors of encoded texts, each of `width` values, at the length that they have before a
    /// last `Normalize`.
    ///
    /// # Errors
    /// When an encoding does not fit the model, or an output is not a number (the error names the
    /// weight to blame).
    pub fn pooled<E: Borrow<Encoding> + Sync>(&self, encodings: &[E]) -> Result<Vec<Vec<f32>>> {
        self.rows(encodings, None)
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

    /// The vectors of a batch, with their places in the graph.
    pub(super) fn output(&self, input: &EncoderInput, prompts: &[usize]) -> Result<Var> {
        self.forward(input, prompts, self.unit)
    }

    fn rows<E: Borrow<Encoding> + Sync>(
        &self,
        encodings: &[E],
        unit: Option<Unit>,
    ) -> Result<Vec<Vec<f32>>> {
        self.runner.run(encodings, |input, _, batch| {
            let prompts: Vec<usize> = batch.iter().map(|&i| encodings[i].borrow().prompt).collect();
            let vectors = self.forward(input, &prompts, unit)?;
            let values = self.runner.numbers(vectors.tensor())?;
            Ok(values.chunks(self.width).map(<[f32]>::to_vec).collect())
        })
    }

    fn forward(&self, input: &EncoderInput, prompts: &[usize], unit: Option<Unit>) -> Result<Var> {
        let states = self.model.forward(input, &Forward::inference())?;
        let mut vectors = self.stages.forward(&states, input, prompts)?;
        if unit == Some(Unit::BeforeCut) {
            vectors = normalize(&vectors)?;
        }
        if self.width < self.stages.width {
            vectors = vectors.narrow(-1, 0, self.width)?;
        }
        match unit {
            Some(Unit::AtEnd) => normalize(&vectors),
            _ => Ok(vectors),
        }
    }
}

/// The stages with another pooling where one is given, and the first mode of the pooling.
fn with_pooling(mut stages: Vec<Stage>, pooling: Option<Pooling>) -> (Vec<Stage>, Pooling) {
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
