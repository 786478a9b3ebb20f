//! `embed`: texts that belong together get similar vectors.

use std::path::Path;

use gradus_autograd::{Var, no_grad};
use gradus_nn::Forward;
use gradus_tensor::Tensor;

use super::{EncodedPairs, PairLoss, PairScores};
use crate::batch::{each_batch, fill_last, shuffle};
use crate::data::PairForm;
use crate::evaluation::{Evaluation, Examiner, Metric};
use crate::folder::SentenceSettings;
use crate::training::ranks::Communicator;
use crate::training::{ReadTokens, StepLoss, Task};
use crate::{EncoderInput, Encoding, Error, PackedBatch, Result, SentenceEncoder};

/// Two pairs are each other's negatives.
const LEAST: usize = 2;

/// How an embedder is trained and measured.
#[derive(Clone, Debug)]
pub struct EmbeddingOptions {
    /// The loss.
    pub loss: PairLoss,
    /// Whether the negatives of a step of several batches come from all of them.
    pub cached_negatives: bool,
    /// The form of the sets on which the model is evaluated.
    pub evaluated: PairForm,
    /// Examples of a batch of an evaluation's loss.
    pub batch_size: usize,
    /// What the model's folder says of embeddings.
    pub settings: SentenceSettings,
}

/// Training of a [`SentenceEncoder`] on pairs of texts.
pub struct Embedding {
    model: SentenceEncoder,
    train: EncodedPairs,
    lengths: Vec<usize>,
    options: EmbeddingOptions,
}

impl Embedding {
    /// The task of training `model` on `train`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an option that is out of its range, or does not go with the pairs.
    pub fn new(
        model: SentenceEncoder,
        train: EncodedPairs,
        options: EmbeddingOptions,
    ) -> Result<Self> {
        options.loss.validate(model.width())?;
        if options.cached_negatives && train.form() == PairForm::Scored {
            let requirement = "pairs with a score have no negatives";
            return Err(Error::recipe("cached_negatives", "given", requirement));
        }
        Ok(Embedding { lengths: train.lengths(), model, train, options })
    }

    /// The model.
    pub fn model(&self) -> &SentenceEncoder {
        &self.model
    }

    /// The vectors of some texts, `[texts, width]`.
    fn vectors<'a>(
        &self,
        texts: impl Iterator<Item = &'a Encoding> + Clone,
        forward: &Forward,
    ) -> Result<Var> {
        let encoder = self.model.encoder();
        let prompts: Vec<usize> = texts.clone().map(|text| text.prompt).collect();
        let packed = PackedBatch::new(texts, encoder.config())?;
        let input = EncoderInput::new(&packed)?.to_device(encoder.device())?;
        self.model.forward(&input, &prompts, forward)
    }

    /// The vectors of all texts of a set, without a graph.
    fn all_vectors(&self, set: &EncodedPairs, examiner: &mut dyn Examiner) -> Result<Tensor> {
        let texts = set.encodings();
        let lengths: Vec<usize> = texts.iter().map(Encoding::len).collect();
        let width = self.model.width();
        let mut values = vec![0f32; texts.len() * width];
        // In examples, which a person knows; the vectors are most of the work.
        let mut examiner = InPairs { pairs: set.len(), examiner };
        let compute = |batch: &[usize]| {
            let part = batch.iter().map(|&i| &texts[i]);
            Ok(self.vectors(part, &Forward::inference())?.tensor().to_vec::<f32>()?)
        };
        each_batch(&lengths, 64, &mut examiner, compute, |batch, vectors| {
            for (&i, vector) in batch.iter().zip(vectors.chunks(width)) {
                values[i * width..][..width].copy_from_slice(vector);
            }
            Ok(())
        })?;
        let vectors = Tensor::from_slice(&values, &[texts.len(), width])?;
        Ok(vectors.to_device(self.model.encoder().device())?)
    }

    /// The mean loss over a set, in batches of an order that is always the same: that of a file may
    /// put pairs of one text together, which are no negatives of each other.
    fn set_loss(&self, set: &EncodedPairs, vectors: &Tensor) -> Result<f64> {
        let mut all: Vec<usize> = (0..set.len()).collect();
        shuffle(&mut all, 0, 0);
        let mut batches: Vec<Vec<usize>> =
            all.chunks(self.options.batch_size.max(LEAST)).map(<[usize]>::to_vec).collect();
        fill_last(&mut batches, LEAST);
        let mut sum = 0.0;
        for batch in batches {
            let ids: Vec<u32> = set.order(&batch).into_iter().map(|i| i as u32).collect();
            let ids = Tensor::from_slice(&ids, &[ids.len()])?.to_device(vectors.device())?;
            let vectors = Var::constant(vectors.index_select(0, &ids)?);
            let loss = no_grad(|| self.options.loss.of(set, &batch, &vectors))?;
            sum += loss.item()? * batch.len() as f64;
        }
        Ok(sum / set.len() as f64)
    }
}

/// An examiner that hears of pairs where texts are counted.
struct InPairs<'a> {
    pairs: usize,
    examiner: &'a mut dyn Examiner,
}

impl Examiner for InPairs<'_> {
    fn progress(&mut self, done: usize, of: usize) {
        self.examiner.progress(done * self.pairs / of, self.pairs);
    }

    fn ranks(&self) -> Option<&dyn Communicator> {
        self.examiner.ranks()
    }
}

impl StepLoss for Embedding {
    /// The vectors of a batch's texts: all first ones, all second ones, all negatives.
    fn represent(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let order = self.train.order(batch);
        self.vectors(order.iter().map(|&i| &self.train.encodings()[i]), forward)
    }

    fn loss_of(&self, batches: &[&[usize]], represented: &[Var]) -> Result<Var> {
        let part = |from: usize, to: Option<usize>| -> Result<Vec<Var>> {
            let parts = batches.iter().zip(represented).map(|(batch, vectors)| {
                let start = from * batch.len();
                let end = match to {
                    Some(to) => to * batch.len(),
                    None => vectors.size(0)?,
                };
                Ok(vectors.narrow(0, start, end - start)?)
            });
            parts.collect()
        };
        let mut all = part(0, Some(1))?;
        all.extend(part(1, Some(2))?);
        all.extend(part(2, None)?.into_iter().filter(|negatives| negatives.numel() > 0));
        let vectors = Var::cat(&all.iter().collect::<Vec<_>>(), 0)?;
        self.options.loss.of(&self.train, &batches.concat(), &vectors)
    }
}

impl Task for Embedding {
    type Set = EncodedPairs;
    type Findings = PairScores;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// In the order in which [`represent`](StepLoss::represent) reads them.
    fn sequences(&self, batch: &[usize], _: &[String]) -> Vec<ReadTokens> {
        let texts = self.train.order(batch).into_iter().map(|i| &self.train.encodings()[i]);
        texts.map(|text| ReadTokens { ids: text.ids.clone(), target: None }).collect()
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        self.options.loss.of(&self.train, batch, &self.represent(batch, forward)?)
    }

    fn can_split(&self) -> bool {
        self.train.form() == PairForm::Scored || self.options.cached_negatives
    }

    fn is_head(&self, _: &str) -> bool {
        false
    }

    fn metrics(&self) -> &'static [Metric] {
        self.options.evaluated.metrics()
    }

    fn examine(
        &self,
        set: &EncodedPairs,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let vectors = self.all_vectors(set, examiner)?;
        let loss = self.set_loss(set, &vectors)?;
        let scores = PairScores::of(set, &vectors)?;
        Ok((Evaluation::new(set.len(), loss, scores.values()), scores))
    }

    fn least_batch(&self) -> usize {
        let alone = self.train.form() == PairForm::Scored || self.train.without_negatives() == 0;
        if alone { 1 } else { LEAST }
    }

    fn step_loss(&self) -> Option<&dyn StepLoss> {
        self.options.cached_negatives.then_some(self)
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        self.options.settings.write(folder, self.model.encoder().config().hidden_size)
    }
}
