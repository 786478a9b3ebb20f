//! `classify`: a label, several labels or a number for every text, or pair of texts.

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward, Reduction, losses};
use gradus_tensor::{DType, Device, Tensor};

use super::{Answers, Problem, Tally};
use crate::batch::each_batch;
use crate::evaluation::{Evaluation, Examiner, Metric};
use crate::training::{ReadTokens, Task};
use crate::{
    EncoderConfig, EncoderInput, Encoding, Error, Example, Labels, PackedBatch, Result,
    SequenceClassifier, Split, Tokenizer,
};

/// Encoded texts with their answers, in the same order.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The texts.
    pub encodings: Vec<Encoding>,
    /// Their answers.
    pub answers: Answers,
}

impl From<(Vec<Encoding>, Vec<u32>)> for Encoded {
    /// Texts with one label id each.
    fn from((encodings, labels): (Vec<Encoding>, Vec<u32>)) -> Encoded {
        Encoded { encodings, answers: Answers::Single(labels) }
    }
}

/// A split's texts as tokens, with its answers.
///
/// # Errors
/// As [`Answers::of`], and when a text cannot be encoded.
pub fn encode_split(
    split: &Split,
    problem: Problem,
    labels: &Labels,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<Encoded> {
    let answers = Answers::of(split, problem, labels)?;
    let pairs: Vec<(&str, Option<&str>)> = split.examples.iter().map(Example::texts).collect();
    Ok(Encoded { encodings: tokenizer.encode_batch(&pairs, max_length)?, answers })
}

/// Classification of texts by a [`SequenceClassifier`].
pub struct Classification {
    model: SequenceClassifier,
    train: Encoded,
    lengths: Vec<usize>,
    label_smoothing: f64,
    weights: Option<Vec<f32>>,
}

impl Classification {
    /// The task of training `model` on encoded texts and their answers.
    pub fn new(model: SequenceClassifier, train: impl Into<Encoded>) -> Self {
        let train = train.into();
        let lengths = train.encodings.iter().map(Encoding::len).collect();
        Classification { model, train, lengths, label_smoothing: 0.0, weights: None }
    }

    /// Spreads this share of the target over all labels. Of use where a text has one label.
    ///
    /// # Errors
    /// [`Error::Recipe`] where texts have several labels or a number.
    pub fn label_smoothing(mut self, share: f64) -> Result<Self> {
        let problem = self.train.answers.problem();
        if share != 0.0 && problem != Problem::Single {
            let requirement = format!("it must be 0: a {problem} problem has no target to spread");
            return Err(Error::recipe("label_smoothing", share, requirement));
        }
        self.label_smoothing = share;
        Ok(self)
    }

    /// Weighs the labels: `weights[id]` is the factor of the loss of a text with that label, or,
    /// where texts have several labels, of the loss of the label where it is there (`pos_weight`).
    ///
    /// # Errors
    /// [`Error::Recipe`] for a weight that is not above 0, or where the answers are numbers.
    pub fn class_weights(mut self, weights: Vec<f32>) -> Result<Self> {
        let refuse =
            |value: String, why: &'static str| Err(Error::recipe("class_weights", value, why));
        if self.train.answers.problem() == Problem::Regression {
            return refuse("given".into(), "a regression has no classes");
        }
        if let Some(bad) = weights.iter().find(|w| !(w.is_finite() && **w > 0.0)) {
            return refuse(bad.to_string(), "it must be above 0");
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// The encoded training texts.
    pub fn encodings(&self) -> &[Encoding] {
        &self.train.encodings
    }

    /// The model.
    pub fn model(&self) -> &SequenceClassifier {
        &self.model
    }

    fn config(&self) -> &EncoderConfig {
        self.model.encoder().config()
    }

    fn device(&self) -> Device {
        self.model.encoder().device()
    }

    /// Logits of some encoded texts, `[batch, labels]`.
    fn logits(&self, all: &[Encoding], batch: &[usize], forward: &Forward) -> Result<Var> {
        let packed = PackedBatch::new(batch.iter().map(|&i| &all[i]), self.config())?;
        let input = EncoderInput::new(&packed)?.to_device(self.device())?;
        self.model.forward(&input, forward)
    }

    /// Calls `take` with the logits and the number of every text, in batches of similar length.
    fn each_row(
        &self,
        encodings: &[Encoding],
        examiner: &mut dyn Examiner,
        mut take: impl FnMut(&[f32], usize),
    ) -> Result<()> {
        let lengths: Vec<usize> = encodings.iter().map(Encoding::len).collect();
        let compute = |batch: &[usize]| {
            let logits = self.logits(encodings, batch, &Forward::inference())?;
            Ok(logits.tensor().to_dtype(DType::F32)?.contiguous()?.to_vec::<f32>()?)
        };
        each_batch(&lengths, 64, examiner, compute, |batch, logits| {
            let width = (logits.len() / batch.len()).max(1);
            logits.chunks(width).zip(batch).for_each(|(row, &i)| take(row, i));
            Ok(())
        })
    }

    fn weight(&self) -> Result<Option<Tensor>> {
        let tensor = |weights: &Vec<f32>| {
            Tensor::from_slice(weights, &[weights.len()])?.to_device(self.device())
        };
        Ok(self.weights.as_ref().map(tensor).transpose()?)
    }

    fn single_loss(&self, logits: &Var, labels: &[u32]) -> Result<Var> {
        let targets = Tensor::from_slice(labels, &[labels.len()])?.to_device(self.device())?;
        let options = CrossEntropy {
            label_smoothing: self.label_smoothing,
            weight: self.weight()?,
            ..CrossEntropy::default()
        };
        Ok(logits.cross_entropy(&targets, &options)?)
    }

    fn multi_loss(&self, logits: &Var, sets: &[&[u32]]) -> Result<Var> {
        let labels = logits.shape()[1];
        let mut targets = vec![0f32; sets.len() * labels];
        for (row, set) in targets.chunks_mut(labels).zip(sets) {
            set.iter().for_each(|&label| row[label as usize] = 1.0);
        }
        let targets = Tensor::from_slice(&targets, logits.shape())?.to_device(self.device())?;
        let weight = self.weight()?;
        Ok(losses::bce_with_logits(logits, &targets, weight.as_ref(), Reduction::Mean)?)
    }

    fn number_loss(&self, logits: &Var, numbers: &[f32]) -> Result<Var> {
        let targets = Tensor::from_slice(numbers, &[numbers.len(), 1])?.to_device(self.device())?;
        Ok(losses::mse(logits, &Var::constant(targets), Reduction::Mean)?)
    }
}

impl Task for Classification {
    type Set = Encoded;
    /// The logits of each text.
    type Findings = Vec<Vec<f32>>;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn sequences(&self, batch: &[usize], labels: &[String]) -> Vec<ReadTokens> {
        let name = |&id: &u32| labels.get(id as usize).cloned().unwrap_or_else(|| id.to_string());
        let target = |example: usize| match &self.train.answers {
            Answers::Single(ids) => name(&ids[example]),
            Answers::Multi(ids) => ids[example].iter().map(name).collect::<Vec<_>>().join(", "),
            Answers::Numbers(numbers) => numbers[example].to_string(),
        };
        let read = |&example: &usize| ReadTokens {
            ids: self.train.encodings[example].ids.clone(),
            target: Some(target(example)),
        };
        batch.iter().map(read).collect()
    }

    fn terms(&self, batch: &[usize]) -> f64 {
        match (&self.train.answers, &self.weights) {
            // The mean of weighted rows is by the sum of their weights, as PyTorch's.
            (Answers::Single(labels), Some(weights)) => {
                batch.iter().map(|&i| f64::from(weights[labels[i] as usize])).sum()
            }
            _ => batch.len() as f64,
        }
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let logits = self.logits(&self.train.encodings, batch, forward)?;
        match &self.train.answers {
            Answers::Single(labels) => self.single_loss(&logits, &chosen(labels, batch)),
            Answers::Multi(sets) => {
                let sets: Vec<&[u32]> = batch.iter().map(|&i| sets[i].as_slice()).collect();
                self.multi_loss(&logits, &sets)
            }
            Answers::Numbers(numbers) => self.number_loss(&logits, &chosen(numbers, batch)),
        }
    }

    fn is_head(&self, name: &str) -> bool {
        crate::family::is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        self.train.answers.problem().metrics()
    }

    fn examine(
        &self,
        Encoded { encodings, answers }: &Encoded,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let (mut tally, mut all) = (Tally::new(answers), vec![Vec::new(); encodings.len()]);
        self.each_row(encodings, examiner, |row, i| {
            tally.add(row, i);
            all[i] = row.to_vec();
        })?;
        Ok((tally.evaluation(), all))
    }
}

fn chosen<T: Copy>(all: &[T], batch: &[usize]) -> Vec<T> {
    batch.iter().map(|&i| all[i]).collect()
}
