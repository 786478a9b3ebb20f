//! The model as the scheduler runs it: sequences of tokens in, answers out.

use std::ops::Range;
use std::sync::Arc;

use gradus_models::pipelines::{self, Fill, SparseValue, Tag, WordLabel};
pub use gradus_models::pipelines::{Pipeline, Task};
use gradus_models::{Encoding, Error, ModelRef, Precision};
use gradus_tensor::Device;

use crate::scheduler::Model;

/// Where and how models compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    /// On which device.
    pub device: Device,
    /// In what precision.
    pub precision: Precision,
}

/// Opens a folder or a hub id, for batches that the scheduler makes.
///
/// # Errors
/// When it cannot be opened.
pub fn open(model: ModelRef, batch_tokens: usize, compute: Compute) -> Result<Pipeline, Error> {
    let mut pipeline = pipelines::open(model)?;
    if pipeline.task() == Task::Answer {
        let message = "it answers questions about texts, which the server does not do; `infer answer` \
                       does";
        return Err(Error::Input(message.into()));
    }
    pipeline.set_batch_size(usize::MAX)?;
    pipeline.set_batch_tokens(batch_tokens);
    pipeline.to_device(compute.device)?;
    pipeline.set_precision(compute.precision)?;
    Ok(pipeline)
}

/// What a request wants of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// The pooled vector.
    Vector,
    /// The last hidden states.
    States,
    /// The logits.
    Logits,
    /// This many words for each mask.
    Fills(usize),
    /// These tokens, by their ids, for each mask.
    Targets(Arc<[u32]>),
    /// The words, labelled in this way.
    Tags(WordLabel),
    /// The sparse vector.
    Sparse,
    /// What the tokens attend to.
    Attention(View),
}

/// Which attention a request wants: of all heads, of one layer, of one head in every layer, or of
/// one head in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    /// This layer only.
    pub layer: Option<usize>,
    /// This head only.
    pub head: Option<usize>,
}

impl View {
    /// The layers to show, of `all`.
    pub fn layers(self, all: usize) -> Range<usize> {
        self.layer.map_or(0..all, |layer| layer..layer + 1)
    }

    /// The heads to show, of `all`.
    pub fn heads(self, all: usize) -> Range<usize> {
        self.head.map_or(0..all, |head| head..head + 1)
    }
}

/// A sequence to compute.
pub struct Sequence {
    /// The text, if the answer needs it.
    pub text: String,
    /// Its tokens.
    pub encoding: Encoding,
    /// What the request wants of it.
    pub want: Want,
}

/// The answer to a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Want::Vector`], [`Want::States`], [`Want::Logits`].
    Numbers(Vec<f32>),
    /// To [`Want::Fills`], [`Want::Targets`]: one list per mask.
    Fills(Vec<Vec<Fill>>),
    /// To [`Want::Tags`].
    Tags(Vec<Tag>),
    /// To [`Want::Sparse`].
    Sparse(Vec<SparseValue>),
    /// To [`Want::Attention`].
    Attention {
        /// The text (the first of a pair) with the model's prompt before it.
        text: String,
        /// The tokens.
        encoding: Encoding,
        /// By layer and head: the probabilities, `tokens × tokens`, row by row.
        heads: Vec<Vec<Vec<f32>>>,
    },
}

fn attention(pipeline: &Pipeline, sequence: &Sequence) -> Result<Answer, Error> {
    let Want::Attention(view) = sequence.want else {
        return Err(Error::Input("no attention is wanted".into()));
    };
    let (config, tokens) = (pipeline.config(), sequence.encoding.len());
    let layers = view.layers(config.num_hidden_layers);
    let heads = view.heads(config.num_attention_heads);
    let shown = pipeline.attentions(&sequence.encoding, layers)?;
    let of_layer = |layer: Vec<f32>| {
        let all = layer.chunks(tokens * tokens).skip(heads.start).take(heads.len());
        all.map(<[f32]>::to_vec).collect()
    };
    let heads = shown.into_iter().map(of_layer).collect();
    let (text, encoding) = (sequence.text.clone(), sequence.encoding.clone());
    Ok(Answer::Attention { text, encoding, heads })
}

/// Computes sequences with the same kind of want.
fn compute(
    pipeline: &Pipeline,
    sequences: &[&Sequence],
    want: &Want,
) -> Result<Vec<Answer>, Error> {
    let encodings: Vec<&Encoding> = sequences.iter().map(|s| &s.encoding).collect();
    let texts = || sequences.iter().map(|s| s.text.as_str()).collect::<Vec<_>>();
    let numbers = |rows: Vec<Vec<f32>>| rows.into_iter().map(Answer::Numbers).collect();
    match (pipeline, want) {
        (Pipeline::Embed(p), Want::Vector) => p.pooled(&encodings).map(numbers),
        (Pipeline::Embed(p), Want::States) => p.states(&encodings).map(numbers),
        (Pipeline::Classify(p), Want::Logits) => p.logits(&encodings).map(numbers),
        (Pipeline::FillMask(p), Want::Fills(_)) => {
            let wants = sequences.iter().map(|s| &s.want);
            let most = wants.map(|w| if let Want::Fills(k) = w { *k } else { 0 }).max();
            let fills = p.fill_encoded(&texts(), &encodings, most.unwrap_or(1))?;
            Ok(fills.into_iter().map(Answer::Fills).collect())
        }
        (Pipeline::FillMask(p), Want::Targets(_)) => {
            let of = |s: &&Sequence| {
                if let Want::Targets(ids) = &s.want { ids.clone() } else { [].into() }
            };
            let targets: Vec<Arc<[u32]>> = sequences.iter().map(of).collect();
            let targets: Vec<&[u32]> = targets.iter().map(|ids| &**ids).collect();
            let fills = p.fill_targets(&texts(), &encodings, &targets)?;
            Ok(fills.into_iter().map(Answer::Fills).collect())
        }
        (Pipeline::FillMask(p), Want::Sparse) => {
            Ok(p.sparse_encoded(&encodings)?.into_iter().map(Answer::Sparse).collect())
        }
        (Pipeline::Tag(p), Want::Tags(_)) => {
            let of = |s: &&Sequence| {
                if let Want::Tags(label) = s.want { label } else { WordLabel::First }
            };
            let labels: Vec<WordLabel> = sequences.iter().map(of).collect();
            let tags = p.tag_encoded(&texts(), &encodings, &labels)?;
            Ok(tags.into_iter().map(Answer::Tags).collect())
        }
        (_, Want::Attention(_)) => sequences.iter().map(|s| attention(pipeline, s)).collect(),
        _ => {
            let task = pipeline.task().name();
            Err(Error::Input(format!("a model for {task} cannot do this")))
        }
    }
}

impl Model for Pipeline {
    type Input = Sequence;
    type Output = Answer;
    type Error = Arc<Error>;

    fn cost(&self, sequence: &Sequence) -> usize {
        sequence.encoding.len()
    }

    fn run(&self, batch: &[&Sequence]) -> Vec<Result<Answer, Arc<Error>>> {
        let same = |a: &Want, b: &Want| std::mem::discriminant(a) == std::mem::discriminant(b);
        let mut results: Vec<Option<Result<Answer, Arc<Error>>>> =
            batch.iter().map(|_| None).collect();
        while let Some(first) = results.iter().position(Option::is_none) {
            let want = &batch[first].want;
            let members: Vec<usize> = (first..batch.len())
                .filter(|&i| results[i].is_none() && same(&batch[i].want, want))
                .collect();
            let sequences: Vec<&Sequence> = members.iter().map(|&i| batch[i]).collect();
            match compute(self, &sequences, want) {
                Ok(answers) if answers.len() == members.len() => {
                    members.iter().zip(answers).for_each(|(&i, a)| results[i] = Some(Ok(a)));
                }
                Err(error) if members.len() == 1 => results[first] = Some(Err(Arc::new(error))),
                // One bad input must not fail its neighbours, so each is computed alone.
                _ => members.iter().for_each(|&i| {
                    let alone = compute(self, &[batch[i]], want).map_err(Arc::new);
                    results[i] = Some(alone.and_then(|mut answers| {
                        answers.pop().ok_or_else(|| {
                            Arc::new(Error::Input("the model gave no answer".into()))
                        })
                    }));
                }),
            }
        }
        results.into_iter().flatten().collect()
    }
}
