//! `tokens`: a tag for every word, such as the entity that it belongs to.

use std::path::Path;

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Forward, Reduction};
use gradus_tensor::{DType, Tensor};
use rayon::prelude::*;

use crate::batch::each_batch;
use crate::data::TaggedSentence;
use crate::evaluation::{EntityScores, Evaluation, Examiner, Metric, Scheme};
use crate::training::{ReadTokens, Task};
use crate::{
    EncoderConfig, EncoderInput, Encoding, Error, Labels, PackedBatch, Result, Split,
    TokenClassifier, Tokenizer,
};

/// The target of a token that has no tag of its own, as in PyTorch.
pub(crate) const IGNORED: i64 = -100;

/// A sentence as tokens, with the tags of its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedEncoding {
    /// The tokens.
    pub encoding: Encoding,
    /// The first token of each word; see [`Encoding::first_tokens`].
    pub firsts: Vec<Option<usize>>,
    /// The id of each word's tag.
    pub tags: Vec<u32>,
}

impl TaggedEncoding {
    /// How many words have a token, and so a tag that can be learnt.
    pub fn tagged(&self) -> usize {
        self.firsts.iter().flatten().count()
    }

    /// How many words lost their tokens because the sentence was cut.
    pub fn cut(&self) -> usize {
        if !self.encoding.truncated {
            return 0;
        }
        let kept = || self.encoding.words.iter().flatten().map(|&word| word as usize);
        let (from, to) = (kept().min().unwrap_or(usize::MAX), kept().max().unwrap_or(0));
        // A cut on the left may leave a word without its first token.
        let lost = |word: usize| self.firsts[word].is_none() && (word <= from || word > to);
        (0..self.firsts.len()).filter(|&word| lost(word)).count()
    }

    /// The target of each token: a tag's id for the first token of a word.
    fn targets(&self) -> Vec<i64> {
        let mut targets = vec![IGNORED; self.encoding.len()];
        for (first, tag) in self.firsts.iter().zip(&self.tags) {
            if let Some(first) = first {
                targets[*first] = i64::from(*tag);
            }
        }
        targets
    }
}

/// A split's sentences as tokens of at most `max_length`, with the ids of their words' tags.
///
/// # Errors
/// [`Error::Data`] with the line for a tag that is not among `labels`, and when a sentence cannot be
/// encoded.
pub fn encode_tagged(
    split: &Split<TaggedSentence>,
    labels: &Labels,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<Vec<TaggedEncoding>> {
    let encode = |(sentence, tags): (&TaggedSentence, Vec<u32>)| {
        let encoding = tokenizer
            .encode_words(&sentence.words, max_length)
            .map_err(|error| named(error, &split.path, sentence.line))?;
        let firsts = encoding.first_tokens(sentence.words.len());
        Ok(TaggedEncoding { encoding, firsts, tags })
    };
    let ids = split.tag_ids(labels)?;
    // All of them, so that the error is that of the first sentence.
    let encoded: Vec<Result<TaggedEncoding>> =
        split.examples.par_iter().zip(ids).map(encode).collect();
    encoded.into_iter().collect()
}

/// The error of a sentence, with its file and line.
fn named(error: Error, path: &Path, line: u64) -> Error {
    match error {
        Error::Input(why) => Error::data(path, Some(line), why),
        other => other,
    }
}

/// Tagging of words by a [`TokenClassifier`]. A word's tag is that of its first token; other tokens
/// have none.
pub struct Tagging {
    model: TokenClassifier,
    sentences: Vec<TaggedEncoding>,
    lengths: Vec<usize>,
    loss: CrossEntropy,
    labels: Labels,
    scheme: Scheme,
}

impl Tagging {
    /// The task of training `model` on sentences with tags among `labels`.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when a tag is none of the scheme.
    pub fn new(
        model: TokenClassifier,
        sentences: Vec<TaggedEncoding>,
        labels: Labels,
        scheme: Scheme,
        label_smoothing: f64,
    ) -> Result<Self> {
        scheme.check(labels.names())?;
        let lengths = sentences.iter().map(|sentence| sentence.encoding.len()).collect();
        let loss = CrossEntropy {
            label_smoothing,
            ignore_index: Some(IGNORED),
            ..CrossEntropy::default()
        };
        Ok(Tagging { model, sentences, lengths, loss, labels, scheme })
    }

    /// The model.
    pub fn model(&self) -> &TokenClassifier {
        &self.model
    }

    fn config(&self) -> &EncoderConfig {
        self.model.encoder().config()
    }

    /// Logits of some sentences' tokens, `[tokens, labels]`, with the tokens' targets.
    fn logits(
        &self,
        all: &[TaggedEncoding],
        batch: &[usize],
        forward: &Forward,
    ) -> Result<(Var, Tensor)> {
        let encodings = batch.iter().map(|&i| &all[i].encoding);
        let packed = PackedBatch::new(encodings, self.config())?;
        let device = self.model.encoder().device();
        let input = EncoderInput::new(&packed)?.to_device(device)?;
        let targets: Vec<i64> = batch.iter().flat_map(|&i| all[i].targets()).collect();
        let targets = Tensor::from_class_indices(&targets, &[targets.len()])?;
        Ok((self.model.forward(&input, forward)?, targets.to_device(device)?))
    }

    /// The names of a sentence's predicted tags: `O` for a word without a token.
    fn names(&self, words: &[Option<TaggedWord>]) -> Vec<&str> {
        let name =
            |word: &Option<TaggedWord>| word.and_then(|w| self.labels.name(w.tag)).unwrap_or("O");
        words.iter().map(name).collect()
    }
}

/// The tag that a model gives a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaggedWord {
    /// Its id.
    pub tag: u32,
    /// Its probability.
    pub probability: f32,
}

/// The tags of a sentence's words, from the logits of its tokens; `None` for a word without a token.
fn words(sentence: &TaggedEncoding, rows: &[f32], width: usize) -> Vec<Option<TaggedWord>> {
    let word = |first: usize| {
        let row = &rows[first * width..][..width];
        let (tag, top) = row
            .iter()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (i, &x)| if x > best.1 { (i, x) } else { best });
        let sum: f32 = row.iter().map(|logit| (logit - top).exp()).sum();
        TaggedWord { tag: tag as u32, probability: 1.0 / sum }
    };
    sentence.firsts.iter().map(|first| first.map(word)).collect()
}

const METRICS: [Metric; 4] = [
    Metric::percent("f1", "F1"),
    Metric::percent("precision", "precision"),
    Metric::percent("recall", "recall"),
    Metric::percent("accuracy", "accuracy"),
];

impl Task for Tagging {
    type Set = Vec<TaggedEncoding>;
    /// The tag of each word; `None` for one without a token.
    type Findings = Vec<Vec<Option<TaggedWord>>>;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn sequences(&self, batch: &[usize], _: &[String]) -> Vec<ReadTokens> {
        let read = |&i: &usize| {
            let (sentence, labels) = (&self.sentences[i], &self.labels);
            let tags = sentence.tags.iter().map(|&tag| labels.name(tag).unwrap_or("O"));
            ReadTokens {
                ids: sentence.encoding.ids.clone(),
                target: Some(tags.collect::<Vec<_>>().join(" ")),
            }
        };
        batch.iter().map(read).collect()
    }

    /// The words with a token.
    fn terms(&self, batch: &[usize]) -> f64 {
        batch.iter().map(|&i| self.sentences[i].tagged() as f64).sum()
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let (logits, targets) = self.logits(&self.sentences, batch, forward)?;
        Ok(logits.cross_entropy(&targets, &self.loss)?)
    }

    fn is_head(&self, name: &str) -> bool {
        crate::family::is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        &METRICS
    }

    /// Every word counts. One without a token is taken for `O`, and is no term of the loss.
    fn examine(
        &self,
        set: &Self::Set,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let lengths: Vec<usize> = set.iter().map(|sentence| sentence.encoding.len()).collect();
        let mut scores = EntityScores::new(self.scheme);
        let (mut loss, mut terms, mut found) = (0.0, 0, vec![Vec::new(); set.len()]);
        let sum = CrossEntropy {
            ignore_index: Some(IGNORED),
            reduction: Reduction::Sum,
            ..CrossEntropy::default()
        };
        // The loss of the batch, and the logits of its tokens.
        let compute = |batch: &[usize]| {
            let (logits, targets) = self.logits(set, batch, &Forward::inference())?;
            let loss = logits.tensor().cross_entropy(&targets, &sum)?.0.to_dtype(DType::F32)?;
            let rows = logits.tensor().to_dtype(DType::F32)?.contiguous()?;
            Ok([loss.to_vec::<f32>()?, rows.to_vec::<f32>()?].concat())
        };
        each_batch(&lengths, 64, examiner, compute, |batch, numbers| {
            let (own, rows) = numbers.split_at(1);
            loss += f64::from(own[0]);
            let tokens: usize = batch.iter().map(|&i| lengths[i]).sum();
            let width = rows.len() / tokens.max(1);
            let mut from = 0;
            for &i in batch {
                let sentence = &set[i];
                let to = from + sentence.encoding.len() * width;
                found[i] = words(sentence, &rows[from..to], width);
                let names = self.names(&found[i]);
                let truth = sentence.tags.iter().map(|&tag| self.labels.name(tag).unwrap_or("O"));
                scores.add(&truth.collect::<Vec<_>>(), &names);
                terms += sentence.tagged();
                from = to;
            }
            Ok(())
        })?;
        let micro = scores.micro();
        let values = [
            ("f1", micro.f1),
            ("precision", micro.precision),
            ("recall", micro.recall),
            ("accuracy", scores.accuracy()),
        ];
        Ok((Evaluation::new(set.len(), loss / terms.max(1) as f64, values), found))
    }
}
