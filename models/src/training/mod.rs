//! Training: a recipe, a task, and a loop that goes step by step.
//!
//! A [`Trainer`] makes one step at a time (`while let Some(step) = trainer.step()? { … }`). A
//! [`Session`] is the whole course of a run around it: evaluations, the best model, checkpoints,
//! early stopping, interruption; who watches it gets [`Event`]s. Everything that a step depends on
//! is (seed, step): resuming from a saved state gives the parameters that an uninterrupted run
//! would have given, bit for bit.

mod best;
mod classify;
mod session;
mod state;

use std::collections::HashSet;

use gradus_autograd::{Gradients, Var};
use gradus_nn::{
    Adam, AdamW, Forward, GradScaler, Optimizer, Parameter, Precision, Schedule, Sgd, Store,
    clip_grad_norm, param_groups,
};
use gradus_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::batch::bucketed_batches;
use crate::{Error, Result};

pub use crate::evaluation::Evaluation;
pub use best::Best;
pub use classify::{Classification, encode_split};
pub use session::{
    Destination, Ended, Event, Finished, LossScaling, Session, SessionOptions, StepNumbers,
};
pub use state::{
    Resumed, RunMark, has_checkpoints, latest_checkpoint, remove_foreign_checkpoints,
    remove_old_checkpoints,
};

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW (Loshchilov & Hutter, arXiv:1711.05101).
    #[default]
    AdamW,
    /// Adam, weight decay as part of the gradient (Kingma & Ba, arXiv:1412.6980).
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// How the rate goes over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Down to 0 in a straight line.
    #[default]
    Linear,
    /// Down to 0 along half a cosine.
    Cosine,
    /// As it is.
    Constant,
}

/// Everything that decides the course of a training run, besides model and data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: usize,
    /// Optimiser steps; overrides `epochs`.
    pub steps: Option<u64>,
    /// Examples of one batch.
    pub batch_size: usize,
    /// Batches of one optimiser step.
    pub accumulate: usize,
    /// Rate of the encoder (and of the head, unless it has its own).
    pub lr: f64,
    /// Rate of the head.
    pub head_lr: Option<f64>,
    /// Steps of warm-up, or their share of all steps if below 1.
    pub warmup: f64,
    /// What follows the warm-up.
    pub schedule: ScheduleKind,
    /// Weight decay of weight matrices (biases and LayerNorms have none).
    pub weight_decay: f64,
    /// Largest global norm of the gradients; 0 for no limit.
    pub clip_norm: f64,
    /// The optimiser.
    pub optimizer: OptimizerKind,
    /// Seed of the order of examples and of dropout.
    pub seed: u64,
    /// In what precision the model computes; f16 with dynamic loss scaling.
    #[serde(default)]
    pub precision: Precision,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            epochs: 3,
            steps: None,
            batch_size: 32,
            accumulate: 1,
            lr: 5e-5,
            head_lr: None,
            warmup: 0.1,
            schedule: ScheduleKind::Linear,
            weight_decay: 0.01,
            clip_norm: 1.0,
            optimizer: OptimizerKind::AdamW,
            seed: 0,
            precision: Precision::F32,
        }
    }
}

impl Recipe {
    /// Checks every number; the error names the flag.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Input(message));
        for (name, value) in [
            ("lr", self.lr),
            ("head-lr", self.head_lr.unwrap_or(0.0)),
            ("warmup", self.warmup),
            ("weight-decay", self.weight_decay),
            ("clip-norm", self.clip_norm),
        ] {
            if !value.is_finite() || value < 0.0 {
                return fail(format!("--{name} is {value}; it must be 0 or more"));
            }
        }
        for (name, value) in [("batch-size", self.batch_size), ("accumulate", self.accumulate)] {
            if value == 0 {
                return fail(format!("--{name} is 0; it must be 1 or more"));
            }
        }
        if self.steps.map_or(self.epochs == 0, |s| s == 0) {
            return fail("no steps to train: give --epochs or --steps of 1 or more".into());
        }
        Ok(())
    }

    /// Optimiser steps of the whole run.
    fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        self.steps.unwrap_or(self.epochs as u64 * steps_per_epoch)
    }

    fn warmup_steps(&self, total: u64) -> u64 {
        if self.warmup < 1.0 { (self.warmup * total as f64) as u64 } else { self.warmup as u64 }
    }
}

/// What is trained: examples, and a loss over some of them.
pub trait Task: Send + Sync {
    /// Tokens of every training example; the batches are bucketed by it.
    fn lengths(&self) -> &[usize];
    /// The mean loss over the examples `batch`, a scalar.
    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var>;
    /// Whether a parameter belongs to the head, which may have a rate of its own.
    fn is_head(&self, name: &str) -> bool;
}

/// A [`Task`] that can be evaluated: what a [`Session`] needs besides steps.
pub trait Evaluate: Task {
    /// Examples with their answers.
    type Set;

    /// How well the model does on `set` now. `progress` is called with the number of examples done,
    /// and that of all.
    fn evaluate_on(
        &self,
        set: &Self::Set,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation>;
}

/// What one step did. Loss and norm stay on the device until somebody reads them.
#[derive(Clone)]
pub struct Step {
    /// Optimiser steps done, this one included.
    pub step: u64,
    /// Epochs done, in fractions.
    pub epoch: f64,
    /// Mean loss over the step's examples, a scalar.
    pub loss: Tensor,
    /// Global norm of the gradients before clipping, a scalar. Not finite where the step was
    /// skipped.
    pub grad_norm: Tensor,
    /// In f16, the verdict of loss scaling; see [`Tensor::loss_scale_`].
    pub verdict: Option<Tensor>,
    /// Rate of the encoder in this step.
    pub lr: f64,
    /// Examples seen in this step.
    pub examples: usize,
    /// Tokens seen in this step.
    pub tokens: usize,
    /// Whether this step was the last of an epoch.
    pub ends_epoch: bool,
}

/// The training loop over a [`Task`].
pub struct Trainer<T> {
    task: T,
    store: Store,
    recipe: Recipe,
    optimizer: Box<dyn Optimizer + Send>,
    schedule: Schedule,
    /// In f16.
    scaler: Option<GradScaler>,
    step: u64,
    total: u64,
    steps_per_epoch: u64,
    warmup: u64,
    best: Option<Best>,
    run: Option<RunMark>,
    /// The batches of one epoch, kept while it lasts.
    epoch: Option<(u64, Vec<Vec<usize>>)>,
    without_gradient: Option<Vec<String>>,
}

impl<T: Task> Trainer<T> {
    /// A trainer at step 0 of `recipe`, over the parameters of `store`.
    pub fn new(task: T, store: Store, recipe: Recipe) -> Result<Self> {
        recipe.validate()?;
        if task.lengths().is_empty() {
            return Err(Error::Input("the training set is empty".into()));
        }
        let batches = task.lengths().len().div_ceil(recipe.batch_size) as u64;
        let steps_per_epoch = batches.div_ceil(recipe.accumulate as u64);
        let total = recipe.total_steps(steps_per_epoch);
        let warmup = recipe.warmup_steps(total);
        let schedule = match recipe.schedule {
            ScheduleKind::Linear => Schedule::linear(warmup, total),
            ScheduleKind::Cosine => Schedule::cosine(warmup, total),
            ScheduleKind::Constant => Schedule::constant(warmup),
        };
        let groups = param_groups(
            &store.parameters(),
            recipe.lr,
            recipe.head_lr,
            |name| task.is_head(name),
            recipe.weight_decay,
        );
        let optimizer: Box<dyn Optimizer + Send> = match recipe.optimizer {
            OptimizerKind::AdamW => Box::new(AdamW::with_groups(groups)?),
            OptimizerKind::Adam => Box::new(Adam::with_groups(groups)?),
            OptimizerKind::Sgd => Box::new(Sgd::with_groups(groups)?.momentum(0.9)?),
        };
        let device = store.device();
        recipe.precision.check(device)?;
        recipe.precision.check_training()?;
        let scaler = match recipe.precision {
            Precision::F32 | Precision::Bf16 | Precision::Int8 => None,
            Precision::F16 => Some(GradScaler::new(device)?),
        };
        Ok(Trainer {
            task,
            store,
            recipe,
            optimizer,
            schedule,
            scaler,
            step: 0,
            total,
            steps_per_epoch,
            warmup,
            best: None,
            run: None,
            epoch: None,
            without_gradient: None,
        })
    }

    /// The task.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// The parameters.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The loss scaling of a run in f16, to look at or to change its settings.
    pub fn scaler_mut(&mut self) -> Option<&mut GradScaler> {
        self.scaler.as_mut()
    }

    /// Optimiser steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Optimiser steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.total
    }

    /// Optimiser steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// Steps of warm-up.
    pub fn warmup_steps(&self) -> u64 {
        self.warmup
    }

    /// Trainable parameters that the first step gave no gradient: `None` before it. A name here is
    /// a severed graph, or a parameter that the model does not use.
    pub fn without_gradient(&self) -> Option<&[String]> {
        self.without_gradient.as_deref()
    }

    /// The batches of the step about to be made.
    fn next_batches(&mut self) -> Result<Vec<Vec<usize>>> {
        let epoch = self.step / self.steps_per_epoch;
        if self.epoch.as_ref().is_none_or(|(e, _)| *e != epoch) {
            let recipe = &self.recipe;
            let batches =
                bucketed_batches(self.task.lengths(), recipe.batch_size, recipe.seed, epoch)?;
            self.epoch = Some((epoch, batches));
        }
        let (_, batches) = self.epoch.as_ref().expect("made above");
        let from = (self.step % self.steps_per_epoch) as usize * self.recipe.accumulate;
        Ok(batches[from..batches.len().min(from + self.recipe.accumulate)].to_vec())
    }

    /// One optimiser step; `None` when the run is over.
    pub fn step(&mut self) -> Result<Option<Step>> {
        if self.step >= self.total {
            return Ok(None);
        }
        // One entry into the thread pool for the whole step.
        rayon::scope(|_| self.one_step()).map(Some)
    }

    fn one_step(&mut self) -> Result<Step> {
        let batches = self.next_batches()?;
        let examples: usize = batches.iter().map(Vec::len).sum();
        let lengths = self.task.lengths();
        let tokens = batches.iter().flatten().map(|&i| lengths[i]).sum();

        let mut grads = Gradients::default();
        let mut loss: Option<Tensor> = None;
        for (i, batch) in batches.iter().enumerate() {
            let micro = self.step * self.recipe.accumulate as u64 + i as u64;
            let forward = Forward::training(self.recipe.seed, micro);
            // Weighted by the examples: the sum is the mean over the whole step.
            let share = batch.len() as f64 / examples as f64;
            let part = self.recipe.precision.run(|| self.task.loss(batch, &forward))?;
            let part = part.mul_scalar(share)?;
            grads.accumulate(match &self.scaler {
                Some(scaler) => scaler.backward(&part)?,
                None => part.backward()?,
            })?;
            match &mut loss {
                Some(sum) => sum.add_(part.tensor(), 1.0)?,
                None => loss = Some(part.into_tensor()),
            }
        }

        let parameters = self.store.parameters();
        if self.without_gradient.is_none() {
            self.without_gradient = Some(without_gradient(&parameters, &grads));
        }
        let limit = if self.recipe.clip_norm > 0.0 { self.recipe.clip_norm } else { f64::INFINITY };
        let clip = match &mut self.scaler {
            Some(scaler) => scaler.clip_grad_norm(&grads, &parameters, limit)?,
            None => clip_grad_norm(&grads, &parameters, limit)?,
        };
        let scaled = self.scaler.is_some();
        let scale = (self.recipe.clip_norm > 0.0 || scaled).then_some(&clip.scale);
        let factor = self.schedule.factor(self.step);
        self.optimizer.step_scaled(&grads, factor, scale)?;
        self.step += 1;
        Ok(Step {
            step: self.step,
            epoch: self.step as f64 / self.steps_per_epoch as f64,
            loss: loss.expect("a step has at least one batch"),
            grad_norm: clip.norm,
            verdict: scaled.then_some(clip.scale),
            lr: self.recipe.lr * factor,
            examples,
            tokens,
            ends_epoch: self.step.is_multiple_of(self.steps_per_epoch),
        })
    }
}

fn without_gradient(parameters: &[Parameter], grads: &Gradients) -> Vec<String> {
    let mut seen = HashSet::new();
    parameters
        .iter()
        .filter(|p| p.trainable() && grads.get(&p.var()).is_none() && seen.insert(p.name()))
        .map(|p| p.name().to_string())
        .collect()
}
