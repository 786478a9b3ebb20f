//! What each task of a model answers.

use std::sync::Arc;

use gradus_models::Encoding;
use gradus_models::pipelines::{ClassificationFunction, Fill, Score, SparseValue, Tag, WordLabel};

use super::asked::Asked;
use crate::error::{Kind, Problem, Result};
use crate::pipeline::{Answer, Pipeline, Task, View, Want};
use crate::question::Question;
use crate::served::Served;

/// The tokens of a text and what they attend to.
#[derive(Debug)]
pub struct Attended {
    /// The text (the first of a pair) with the model's prompt before it.
    pub text: String,
    /// The tokens.
    pub encoding: Encoding,
    /// By layer and head: the probabilities, `tokens × tokens`, row by row.
    pub heads: Vec<Vec<Vec<f32>>>,
}

/// How logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// As the model says.
    Model,
    /// As the request says.
    By(ClassificationFunction),
}

impl Served {
    /// Embeddings with the first `dimensions` numbers of each (all when `None`). With `normalize`
    /// they have length 1.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model does not embed, or has fewer dimensions.
    pub async fn embed(
        self: &Arc<Self>,
        question: Question,
        normalize: bool,
        dimensions: Option<usize>,
    ) -> Result<Asked<Vec<f32>>> {
        self.require(Task::Embed)?;
        let hidden = self.pipeline().width();
        if let Some(wanted) = dimensions.filter(|n| !(1..=hidden).contains(n)) {
            let message = format!("is {wanted}; the model has from 1 to {hidden}");
            return Err(Problem::field("dimensions", message));
        }
        self.ask(question, Want::Vector).await?.map(|answer| {
            let mut vector = numbers(answer)?;
            vector.truncate(dimensions.unwrap_or(hidden));
            if normalize {
                scale_to_unit(&mut vector);
            }
            Ok(vector)
        })
    }

    /// The last hidden state of every token.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model does not embed.
    pub async fn embed_tokens(
        self: &Arc<Self>,
        question: Question,
    ) -> Result<Asked<Vec<Vec<f32>>>> {
        self.require(Task::Embed)?;
        let hidden = self.pipeline().config().hidden_size;
        self.ask(question, Want::States)
            .await?
            .map(|answer| Ok(numbers(answer)?.chunks(hidden).map(<[f32]>::to_vec).collect()))
    }

    /// The scores of all labels, in the order of their ids.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model does not classify.
    pub async fn scores(
        self: &Arc<Self>,
        question: Question,
        scores: Scores,
    ) -> Result<Asked<Vec<f32>>> {
        let Pipeline::Classify(classifier) = self.pipeline() else {
            return Err(self.wrong_task(Task::Classify.name()));
        };
        self.ask(question, Want::Logits).await?.map(|answer| {
            let logits = numbers(answer)?;
            let scores = match scores {
                Scores::Model => classifier.scores(&logits),
                Scores::By(function) => classifier.scores_by(&logits, function),
            };
            scores.map_err(|e| Problem::new(Kind::Internal, e.to_string()))
        })
    }

    /// The labels with their scores, best first.
    ///
    /// # Errors
    /// As [`Served::scores`].
    pub async fn classify(
        self: &Arc<Self>,
        question: Question,
        scores: Scores,
    ) -> Result<Asked<Vec<Score>>> {
        self.scores(question, scores).await?.map(|scores| Ok(self.ranked(&scores)))
    }

    /// The labels with these scores, best first. Labels with equal scores keep the order of their
    /// ids.
    pub fn ranked(&self, scores: &[f32]) -> Vec<Score> {
        let labels = self.pipeline().labels().iter().zip(scores);
        let mut ranked: Vec<Score> =
            labels.map(|(label, &score)| Score { label: label.clone(), score }).collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }

    /// The `top_k` words for each mask of each text, among all words or among `targets`.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model fills no masks, or a text has none.
    pub async fn fill_mask(
        self: &Arc<Self>,
        question: Question,
        top_k: usize,
        targets: Option<Arc<[u32]>>,
    ) -> Result<Asked<Vec<Vec<Fill>>>> {
        self.require(Task::FillMask)?;
        let want = targets.map_or(Want::Fills(top_k), Want::Targets);
        self.ask(question, want).await?.map(|answer| match answer {
            // A batch computes as many words as the largest `top_k` in it.
            Answer::Fills(mut masks) => {
                masks.iter_mut().for_each(|fills| fills.truncate(top_k));
                Ok(masks)
            }
            _ => Err(unexpected()),
        })
    }

    /// The sparse vectors.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model has no masked-LM head.
    pub async fn embed_sparse(
        self: &Arc<Self>,
        question: Question,
    ) -> Result<Asked<Vec<SparseValue>>> {
        self.require(Task::FillMask)?;
        self.ask(question, Want::Sparse).await?.map(|answer| match answer {
            Answer::Sparse(values) => Ok(values),
            _ => Err(unexpected()),
        })
    }

    /// The words of each text with their labels.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model tags no words.
    pub async fn tag(
        self: &Arc<Self>,
        question: Question,
        label: WordLabel,
    ) -> Result<Asked<Vec<Tag>>> {
        self.require(Task::Tag)?;
        self.ask(question, Want::Tags(label)).await?.map(|answer| match answer {
            Answer::Tags(tags) => Ok(tags),
            _ => Err(unexpected()),
        })
    }

    /// What the tokens of each text attend to.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model has no such layer or head, or the answer would have more
    /// than [`MAX_ATTENTION`](super::MAX_ATTENTION) numbers.
    pub async fn attention(
        self: &Arc<Self>,
        question: Question,
        view: View,
    ) -> Result<Asked<Attended>> {
        let asked = self.ask(question, Want::Attention(view)).await?;
        asked.map(|answer| match answer {
            Answer::Attention { text, encoding, heads } => Ok(Attended { text, encoding, heads }),
            _ => Err(unexpected()),
        })
    }

    fn require(&self, task: Task) -> Result<()> {
        match self.task() == task {
            true => Ok(()),
            false => Err(self.wrong_task(task.name())),
        }
    }
}

/// Scales a vector to length 1. A vector of zeros stays.
fn scale_to_unit(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = squares.sqrt().max(1e-12);
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}

/// The cosine of two vectors of length 1.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

fn numbers(answer: Answer) -> Result<Vec<f32>> {
    match answer {
        Answer::Numbers(numbers) => Ok(numbers),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Problem {
    Problem::new(Kind::Internal, "the model gave the wrong kind of answer, which is a bug")
}
