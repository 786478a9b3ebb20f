//! What happens in a run.

use std::path::Path;

use super::ranks::{Mark, Traffic};
use super::{Evaluation, Inspection, TracedStep};

/// The numbers of one step.
#[derive(Clone, Debug)]
pub struct StepNumbers {
    /// Optimiser steps done, this one included.
    pub step: u64,
    /// Epochs done, in fractions.
    pub epoch: f64,
    /// Rate of the encoder.
    pub lr: f64,
    /// Mean loss over the step's examples.
    pub loss: f64,
    /// Global norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Whether the step was skipped, because its loss or gradients are not finite or a spike.
    pub skipped: bool,
    /// Steps skipped so far, this one included.
    pub skipped_steps: u64,
    /// In f16, the scale of the loss.
    pub loss_scale: Option<f64>,
    /// Tokens of this step.
    pub tokens: usize,
    /// Examples of all steps of this session.
    pub examples: usize,
    /// Seconds that this step took.
    pub seconds: f64,
    /// Seconds of training in this session, without evaluations and checkpoints.
    pub training_seconds: f64,
}

impl StepNumbers {
    /// Whether something is wrong with the step: it was skipped, or its loss is not a number.
    ///
    /// In f16 gradients may overflow: the step was skipped, and the scale is lower in the next. At
    /// a scale below 1 the scale is not to blame.
    pub fn failed(&self) -> bool {
        let overflowed = self.loss_scale.is_some_and(|scale| scale >= 1.0);
        !self.loss.is_finite() || (self.skipped && !overflowed)
    }
}

/// An event of a run.
pub enum Event<'a> {
    /// The first step gave these trainable parameters no gradient.
    WithoutGradient(&'a [String]),
    /// The memory did not suffice for a step's batches: from this step on, batches of more tokens
    /// than these are cut. The examples of a step and its gradients stay the same, but for the
    /// order of sums and the dropout.
    Cut {
        /// The step.
        step: u64,
        /// Tokens of the largest batch.
        tokens: usize,
    },
    /// A step of [`SessionOptions::trace_steps`](super::SessionOptions::trace_steps) is done. Its
    /// numbers follow as [`Event::Step`].
    Traced {
        /// The step, with all that its operations computed.
        traced: &'a TracedStep,
        /// The names of the labels.
        labels: &'a [String],
    },
    /// A step is done. On a GPU the next one may already be under way.
    Step(&'a StepNumbers),
    /// An evaluation on the dev set is about to be made: the weights, and the gradients of the last
    /// step.
    Inspected(&'a Inspection<'a>),
    /// An evaluation is under way.
    Evaluating {
        /// `dev` or `test`.
        split: &'static str,
        /// Examples done.
        done: usize,
        /// Examples of the split.
        of: usize,
    },
    /// An evaluation is done.
    Evaluated {
        /// `dev` or `test`.
        split: &'static str,
        /// The step after which it was made.
        step: u64,
        /// Epochs done, in fractions.
        epoch: f64,
        /// How well the model did.
        result: &'a Evaluation,
        /// The best evaluation of the run on the dev set so far; of the test set `None`.
        best: Option<&'a Evaluation>,
    },
    /// A checkpoint is written.
    Saved(&'a Path),
    /// The memory of another rank did not suffice for its batches: from this step on it cuts them,
    /// and the run is that of one process but for the order of sums and the dropout.
    CutElsewhere {
        /// The step.
        step: u64,
    },
    /// What the ranks have done since the last time, after each evaluation on the dev set and at the
    /// end.
    Ranks {
        /// The step.
        step: u64,
        /// A rank each, in their order.
        traffic: &'a [Traffic],
    },
    /// What each rank did, and when, in the last step, which was recorded.
    Timeline(&'a [Mark]),
    /// The dev set's evaluations no longer improve; the run ends.
    StoppedEarly,
}
