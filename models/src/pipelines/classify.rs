//! Text classification.

use std::borrow::Borrow;

use gradus_autograd::Var;
use gradus_nn::Forward;
use gradus_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::runner::{Runner, derefs_to_runner};
use crate::folder::{Sentence, parse_activation, values};
use crate::tasks::Problem;
use crate::{
    Encoder, EncoderInput, Encoding, Error, ModelRef, Pooling, Pretrained, Result,
    SequenceClassifier, Task,
};

/// A label and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The label.
    pub label: String,
    /// Its score: a probability, or for `regression` the model's plain output.
    pub score: f32,
}

/// How logits become scores: `ClassificationFunction` of `transformers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassificationFunction {
    /// One of the labels is right: the scores sum to 1.
    Softmax,
    /// Any number of labels is right: each score is independent.
    Sigmoid,
    /// The logits themselves.
    None,
}

impl ClassificationFunction {
    /// The rule of `transformers`: what `problem_type` says, else a sigmoid for a single label and
    /// a softmax for more.
    fn of(problem_type: Option<&str>, labels: usize) -> Self {
        match problem_type {
            Some("regression") => ClassificationFunction::None,
            Some("multi_label_classification") => ClassificationFunction::Sigmoid,
            _ if labels == 1 => ClassificationFunction::Sigmoid,
            _ => ClassificationFunction::Softmax,
        }
    }
}

/// Texts, or pairs of texts, to labels with scores.
pub struct TextClassifier {
    runner: Runner,
    model: SequenceClassifier,
    labels: Vec<String>,
    function: ClassificationFunction,
    /// The function of a cross-encoder of sentence-transformers; `None` for any other model.
    cross_encoder: Option<ClassificationFunction>,
}

derefs_to_runner!(TextClassifier);

impl TextClassifier {
    /// Opens a model folder or a hub id. The pooling is that of config.json (`pooling`, Gradus's
    /// own key), else BERT's pooler, as in `transformers`.
    ///
    /// # Errors
    /// When the model cannot be opened, is not a sequence classifier ([`Error::OtherTask`]), or
    /// lacks parameters ([`Error::MissingHead`] for the head's).
    pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Self> {
        Self::of(Pretrained::open(model)?)
    }

    pub(super) fn of(pretrained: Pretrained) -> Result<Self> {
        let (runner, sentence) = Runner::with_sentence(pretrained)?;
        runner.refuse(Task::Tag)?;
        let labels = head_labels(&runner, Task::Classify)?;
        let config = &runner.config;
        let pooling = config.pooling.unwrap_or(Pooling::Cls);
        let model = SequenceClassifier::new(&runner.store().root(), config, pooling, labels.len())?;
        runner.complete(Task::Classify)?;
        let problem_type = config.problem_type.as_deref();
        let function = ClassificationFunction::of(problem_type, labels.len());
        let cross_encoder = cross_encoder(&runner, &sentence, labels.len())?;
        Ok(TextClassifier { runner, model, labels, function, cross_encoder })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        self.model.encoder()
    }

    /// The labels, in the order of their ids.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The `top_k` best labels of each text or pair (all when `None`), best first; equal scores in
    /// the order of ids. The scores of a cross-encoder are those of `CrossEncoder.predict`, by the
    /// activation that its folder names; for any other model they are [`TextClassifier::scores`].
    ///
    /// # Errors
    /// When a text cannot be encoded, or an output is not a number (the error names the weight to
    /// blame).
    pub fn predict(
        &self,
        texts: &[(String, Option<String>)],
        top_k: Option<usize>,
    ) -> Result<Vec<Vec<Score>>> {
        let logits = self.logits(&self.runner.encode(texts)?)?;
        let function = self.cross_encoder.unwrap_or(self.function);
        logits.iter().map(|row| Ok(self.best(&self.scores_by(row, function)?, top_k))).collect()
    }

    /// The scores of each text or pair, one for each label in the order of the ids.
    ///
    /// # Errors
    /// As [`TextClassifier::predict`].
    pub fn probabilities(&self, texts: &[(String, Option<String>)]) -> Result<Vec<Vec<f32>>> {
        let logits = self.logits(&self.runner.encode(texts)?)?;
        logits.iter().map(|row| self.scores(row)).collect()
    }

    /// What the model answers: one label, several, or a number.
    pub fn problem(&self) -> Problem {
        Problem::of(self.runner.config.problem_type.as_deref(), self.labels.len())
    }

    /// The logits of each text or pair, one for each label in the order of the ids.
    ///
    /// # Errors
    /// As [`TextClassifier::predict`].
    pub fn text_logits(&self, texts: &[(String, Option<String>)]) -> Result<Vec<Vec<f32>>> {
        self.logits(&self.runner.encode(texts)?)
    }

    /// The logits of encoded texts, one for each label in the order of the ids.
    ///
    /// # Errors
    /// When an encoding does not fit the model, or an output is not a number (the error names the
    /// weight to blame).
    pub fn logits<E: Borrow<Encoding> + Sync>(&self, encodings: &[E]) -> Result<Vec<Vec<f32>>> {
        self.runner.run(encodings, |input, _, _| {
            let logits = self.output(input)?;
            let logits = self.runner.numbers(logits.tensor())?;
            Ok(logits.chunks(self.labels.len()).map(<[f32]>::to_vec).collect())
        })
    }

    /// The logits of a batch, with their places in the graph.
    pub(super) fn output(&self, input: &EncoderInput) -> Result<Var> {
        self.model.forward(input, &Forward::inference())
    }

    /// The scores of a text's logits: softmax, sigmoid, or for `regression` the logits themselves,
    /// as config.json's `problem_type` says.
    ///
    /// # Errors
    /// When there is not one logit for each label.
    pub fn scores(&self, logits: &[f32]) -> Result<Vec<f32>> {
        self.scores_by(logits, self.function)
    }

    /// The scores of a text's logits by a function of the caller's choice instead of config.json's.
    ///
    /// # Errors
    /// When there is not one logit for each label.
    pub fn scores_by(&self, logits: &[f32], function: ClassificationFunction) -> Result<Vec<f32>> {
        let logits = Tensor::from_slice(logits, &[self.labels.len()])?;
        let scores = match function {
            ClassificationFunction::Softmax => logits.softmax(-1)?,
            ClassificationFunction::Sigmoid => logits.sigmoid()?,
            ClassificationFunction::None => logits,
        };
        Ok(scores.to_vec::<f32>()?)
    }

    fn best(&self, row: &[f32], top_k: Option<usize>) -> Vec<Score> {
        let mut scores: Vec<Score> = self
            .labels
            .iter()
            .zip(row)
            .map(|(label, &score)| Score { label: label.clone(), score })
            .collect();
        scores.sort_by(|a, b| b.score.total_cmp(&a.score));
        scores.truncate(top_k.unwrap_or(usize::MAX));
        scores
    }
}

/// The function that a cross-encoder of sentence-transformers applies to its outputs; `None` for
/// any other folder.
fn cross_encoder(
    runner: &Runner,
    sentence: &Sentence,
    labels: usize,
) -> Result<Option<ClassificationFunction>> {
    let extra = &runner.config.extra;
    let fail = |message| Error::config(&runner.config_path, message);
    let newer = values::object(extra, "sentence_transformers").map_err(fail)?;
    let newer = newer.map(|keys| values::text(keys, "activation_fn")).transpose().map_err(fail)?;
    let older = values::text(extra, "sbert_ce_default_activation_function").map_err(fail)?;
    let named = sentence.activation.as_deref().or(newer.flatten()).or(older);
    if !sentence.cross_encoder && named.is_none() {
        return Ok(None);
    }
    match named.map(|name| (name, parse_activation(name))) {
        None if labels == 1 => Ok(Some(ClassificationFunction::Sigmoid)),
        None | Some((_, Some("Identity"))) => Ok(Some(ClassificationFunction::None)),
        Some((_, Some("Sigmoid"))) => Ok(Some(ClassificationFunction::Sigmoid)),
        Some((name, _)) => Err(fail(format!(
            "the cross-encoder's activation is `{name}`; Gradus has torch.nn.Identity and \
             torch.nn.Sigmoid"
        ))),
    }
}

/// The labels of the classification head for `task`, which the checkpoint must have.
pub(super) fn head_labels(runner: &Runner, task: Task) -> Result<Vec<String>> {
    let Some(shape) = runner.checkpoint.label_shape() else {
        let output = runner.config.label_layer(task);
        // GPT-2's layer has no bias.
        let parts: &[&str] = match runner.config.family().score {
            Some(score) if score == output => &["weight"],
            _ => &["weight", "bias"],
        };
        let parameters = parts.iter().map(|part| format!("{output}.{part}")).collect();
        return Err(runner.missing_head(task, parameters));
    };
    let config = &runner.config;
    let count = config.num_labels().or(shape.first().copied()).unwrap_or(0);
    if count == 0 || count > u32::MAX as usize {
        let message = format!("the model has {count} labels; name them in id2label");
        return Err(Error::config(&runner.config_path, message));
    }
    match config.id2label.is_empty() {
        true => Ok((0..count).map(|i| format!("LABEL_{i}")).collect()),
        false => Ok(config.id2label.clone()),
    }
}
