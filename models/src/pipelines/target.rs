//! The loss of what a model says of a text, from a right answer in words.

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Reduction, losses};
use gradus_tensor::{DType, Tensor};

use super::{FillMask, Pipeline, TextClassifier, TokenTagger};
use crate::error::listed;
use crate::tasks::{IGNORED, Problem};
use crate::{Encoding, Error, Result};

/// From an output to its loss.
pub(super) type Loss = Box<dyn Fn(&Var) -> Result<Var> + Sync>;

impl Pipeline {
    /// The loss of an output whose right answer is `target`.
    pub(super) fn loss_of(&self, target: &str, encoding: &Encoding) -> Result<Loss> {
        match self {
            Pipeline::Classify(p) => p.loss_of(target),
            Pipeline::Tag(p) => p.loss_of(target, encoding),
            Pipeline::FillMask(p) => p.loss_of(target, encoding),
            Pipeline::Embed(_) | Pipeline::Answer(_) => Err(Error::Input(format!(
                "a target is the label of a classifier, the tags of all words of a tagger, or the \
                 word of a mask; this model is for {}, and shows the way forward only",
                self.task().name()
            ))),
        }
    }
}

impl TextClassifier {
    fn loss_of(&self, target: &str) -> Result<Loss> {
        if self.problem() == Problem::Regression {
            let number: f32 = target.parse().map_err(|_| {
                Error::Input(format!("the model gives a number, and the target is {target:?}"))
            })?;
            return Ok(Box::new(move |output| {
                let right = Tensor::full(output.shape(), f64::from(number), DType::F32)?;
                let right = Var::constant(right.to_device(output.device())?);
                Ok(losses::mse(output, &right, Reduction::Mean)?)
            }));
        }
        let id = place_of(target, self.labels())?;
        if self.problem() == Problem::Multi {
            return Ok(Box::new(move |output| {
                let mut right = vec![0f32; output.numel()];
                right[id] = 1.0;
                let right = Tensor::from_slice(&right, output.shape())?;
                let right = right.to_device(output.device())?;
                Ok(losses::bce_with_logits(output, &right, None, Reduction::Mean)?)
            }));
        }
        Ok(cross_entropy(vec![id as i64]))
    }
}

impl TokenTagger {
    /// `target` has a tag for each word, as the tokenizer cuts the text into words.
    fn loss_of(&self, target: &str, encoding: &Encoding) -> Result<Loss> {
        let words = encoding.words.iter().flatten().max().map_or(0, |&last| last as usize + 1);
        let tags: Vec<&str> = target.split_whitespace().collect();
        if tags.len() != words {
            return Err(Error::Input(format!(
                "the target has {} tags, and the text {words} words as the tokenizer counts them; \
                 give a tag for each, with blanks between: \"O O B-PER\"",
                tags.len()
            )));
        }
        let mut classes = vec![IGNORED; encoding.len()];
        for (first, tag) in encoding.first_tokens(words).into_iter().zip(tags) {
            let id = place_of(tag, self.labels())?;
            if let Some(first) = first {
                classes[first] = id as i64;
            }
        }
        Ok(cross_entropy(classes))
    }
}

impl FillMask {
    /// `target` is a word of one token, the right one for every mask.
    fn loss_of(&self, target: &str, encoding: &Encoding) -> Result<Loss> {
        let word = self.token_of(target)?;
        let is_mask = |&id: &u32| id == self.mask_id();
        if !encoding.ids.iter().any(is_mask) {
            return Err(Error::Input(format!(
                "the target {target:?} is the word of a mask, and the text has none; write {} where \
                 a word is missing",
                self.mask()
            )));
        }
        let class = |id: &u32| if is_mask(id) { i64::from(word) } else { IGNORED };
        Ok(cross_entropy(encoding.ids.iter().map(class).collect()))
    }
}

/// The place of a label.
fn place_of(label: &str, labels: &[String]) -> Result<usize> {
    labels.iter().position(|name| name == label).ok_or_else(|| {
        Error::Input(format!("the model has no label {label:?}; it has {}", listed(labels)))
    })
}

/// The mean cross-entropy of the rows of an output, without those that are [`IGNORED`].
fn cross_entropy(classes: Vec<i64>) -> Loss {
    Box::new(move |output| {
        let right = Tensor::from_class_indices(&classes, &[classes.len()])?;
        let options = CrossEntropy { ignore_index: Some(IGNORED), ..CrossEntropy::default() };
        Ok(losses::cross_entropy(output, &right.to_device(output.device())?, &options)?)
    })
}
