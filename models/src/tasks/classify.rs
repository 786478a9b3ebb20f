//! `classify`: a label for every text, or pair of texts.

use gradus_autograd::{Var, no_grad};
use gradus_nn::{CrossEntropy, Forward, Reduction};
use gradus_tensor::Tensor;

use crate::batch::sorted_batches;
use crate::evaluation::{Confusion, Evaluation, Metric};
use crate::training::Task;
use crate::{
    BertConfig, BertInput, Encoding, Example, Labels, PackedBatch, Result, SequenceClassifier,
    Split, Tokenizer,
};

/// A split's texts as tokens and its labels as ids.
pub fn encode_split(
    split: &Split,
    labels: &Labels,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<(Vec<Encoding>, Vec<u32>)> {
    let ids = labels.encode(split)?;
    let pairs: Vec<(&str, Option<&str>)> = split.examples.iter().map(Example::texts).collect();
    Ok((tokenizer.encode_batch(&pairs, max_length)?, ids))
}

/// Classification of texts by a [`SequenceClassifier`].
pub struct Classification {
    model: SequenceClassifier,
    encodings: Vec<Encoding>,
    labels: Vec<u32>,
    lengths: Vec<usize>,
    loss: CrossEntropy,
}

impl Classification {
    /// The task of training `model` on encoded texts and their label ids.
    pub fn new(
        model: SequenceClassifier,
        (encodings, labels): (Vec<Encoding>, Vec<u32>),
        label_smoothing: f64,
    ) -> Self {
        let lengths = encodings.iter().map(Encoding::len).collect();
        let loss = CrossEntropy { label_smoothing, ..CrossEntropy::default() };
        Classification { model, encodings, labels, lengths, loss }
    }

    /// The model.
    pub fn model(&self) -> &SequenceClassifier {
        &self.model
    }

    fn config(&self) -> &BertConfig {
        self.model.bert().config()
    }

    /// Logits of some encoded texts, `[batch, labels]`.
    fn logits(&self, all: &[Encoding], batch: &[usize], forward: &Forward) -> Result<Var> {
        let packed = PackedBatch::new(batch.iter().map(|&i| &all[i]), self.config())?;
        let input = BertInput::new(&packed)?.to_device(self.model.bert().device())?;
        self.model.forward(&input, forward)
    }

    /// Label ids, on the model's device.
    fn targets(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::from_slice(ids, &[ids.len()])?;
        Ok(ids.to_device(self.model.bert().device())?)
    }
}

const METRICS: [Metric; 2] =
    [Metric::percent("accuracy", "accuracy"), Metric::percent("macro_f1", "macro F1")];

impl Task for Classification {
    /// Encoded texts and their label ids.
    type Set = (Vec<Encoding>, Vec<u32>);

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let logits = self.logits(&self.encodings, batch, forward)?;
        let targets: Vec<u32> = batch.iter().map(|&i| self.labels[i]).collect();
        Ok(logits.cross_entropy(&self.targets(&targets)?, &self.loss)?)
    }

    fn is_head(&self, name: &str) -> bool {
        name.starts_with("classifier.")
    }

    fn metrics(&self) -> &'static [Metric] {
        &METRICS
    }

    fn evaluate(
        &self,
        (encodings, labels): &Self::Set,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation> {
        let lengths: Vec<usize> = encodings.iter().map(Encoding::len).collect();
        let (mut confusion, mut loss, mut done) = (Confusion::default(), 0.0, 0);
        let sum = CrossEntropy { reduction: Reduction::Sum, ..CrossEntropy::default() };
        for batch in sorted_batches(&lengths, 64)? {
            let forward = Forward::inference();
            // One entry into the thread pool for the whole forward pass. The mode belongs to the
            // thread.
            let logits = rayon::scope(|_| no_grad(|| self.logits(encodings, &batch, &forward)))?;
            let truth: Vec<u32> = batch.iter().map(|&i| labels[i]).collect();
            let targets = self.targets(&truth)?;
            loss += logits.tensor().cross_entropy(&targets, &sum)?.0.item()?;
            for (p, t) in logits.tensor().argmax(-1, false)?.to_vec::<u32>()?.iter().zip(&truth) {
                confusion.add(*t, *p);
            }
            done += batch.len();
            progress(done, encodings.len());
        }
        let examples = encodings.len();
        let values = [("accuracy", confusion.accuracy()), ("macro_f1", confusion.macro_f1())];
        Ok(Evaluation::new(examples, loss / examples.max(1) as f64, values))
    }
}
