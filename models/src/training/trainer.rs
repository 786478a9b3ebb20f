//! The training loop: one step at a time.

use std::collections::HashSet;

use gradus_autograd::Gradients;
use gradus_nn::{
    Adam, AdamW, Ema, Forward, GradScaler, Optimizer, Parameter, Precision, Schedule, Sgd, Store,
    clip_grad_norm,
};
use gradus_tensor::Tensor;

use super::order::Order;
use super::selection::{freeze, groups};
use super::{Best, Metric, OptimizerKind, Recipe, RunMark, Task};
use crate::evaluation::LOSS;
use crate::{Base, Error, Result};

/// The results of one step. Loss and norm stay on the device until they are read.
#[derive(Clone)]
pub struct Step {
    /// Optimiser steps done, this one included.
    pub step: u64,
    /// Epochs done, in fractions.
    pub epoch: f64,
    /// Mean loss over the terms of the step's examples, a scalar; see [`Task::terms`].
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

/// The metric of a task that has no other.
const BY_LOSS: Metric = Metric::number(LOSS, "loss").lower_is_better();

/// The training loop over a [`Task`].
pub struct Trainer<T> {
    task: T,
    pub(super) store: Store,
    pub(super) recipe: Recipe,
    pub(super) optimizer: Box<dyn Optimizer + Send>,
    schedule: Schedule,
    /// In f16.
    pub(super) scaler: Option<GradScaler>,
    /// The averages of the trained weights, if the recipe has them.
    pub(super) ema: Option<Ema>,
    pub(super) step: u64,
    pub(super) total: u64,
    pub(super) steps_per_epoch: u64,
    pub(super) warmup: u64,
    pub(super) best: Option<Best>,
    pub(super) run: Option<RunMark>,
    /// The base of a low-rank adaptation.
    pub(super) base: Option<Base>,
    pub(super) order: Order,
    /// The metric that decides which model is best.
    pub(super) metric: Metric,
    without_gradient: Option<Vec<String>>,
}

impl<T: Task> Trainer<T> {
    /// A trainer at step 0 of `recipe`, over the parameters of `store`.
    ///
    /// # Errors
    /// When a field of the recipe is out of its range or names no parameter, there are no examples,
    /// or the device does not train in the recipe's precision.
    pub fn new(task: T, store: Store, recipe: Recipe) -> Result<Self> {
        recipe.validate()?;
        if task.examples() == 0 {
            return Err(Error::Input("the training set is empty".into()));
        }
        let batches = task.examples().div_ceil(recipe.batch_size) as u64;
        let steps_per_epoch = batches.div_ceil(recipe.accumulate as u64);
        let total = recipe.total_steps(steps_per_epoch);
        let warmup = recipe.warmup_steps(total);
        let schedule = Schedule::new(recipe.schedule, warmup, total)?;
        freeze(&store, &recipe, |name| task.is_head(name))?;
        let optimizer = optimizer(&store, &recipe, |name| task.is_head(name))?;
        let trained: Vec<Parameter> = trained(&store).collect();
        let ema = recipe.ema.map(|decay| Ema::new(&trained, decay)).transpose()?;
        let device = store.device();
        recipe.precision.check(device)?;
        recipe.precision.check_training()?;
        let scaler = match recipe.precision {
            Precision::F32 | Precision::Bf16 | Precision::Int8 => None,
            Precision::F16 => Some(GradScaler::new(device)?),
        };
        let metric = task.metrics().first().copied().unwrap_or(BY_LOSS);
        Ok(Trainer {
            task,
            store,
            recipe,
            optimizer,
            schedule,
            scaler,
            ema,
            step: 0,
            total,
            steps_per_epoch,
            warmup,
            best: None,
            run: None,
            base: None,
            order: Order::default(),
            metric,
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

    /// The loss scaling of a run in f16.
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

    /// Numbers in the trained parameters, and in all.
    pub fn parameter_counts(&self) -> (usize, usize) {
        let all = self.store.parameters().iter().map(Parameter::numel).sum();
        (trained(&self.store).map(|p| p.numel()).sum(), all)
    }

    /// Exchanges the weights with their moving averages, where the recipe has them: called twice,
    /// everything is as before.
    ///
    /// # Errors
    /// When a device cannot take the weights.
    pub fn swap_averages(&mut self) -> Result<()> {
        Ok(self.ema.as_mut().map_or(Ok(()), Ema::swap)?)
    }

    /// Trainable parameters that got no gradient in the first step; `None` before it. A parameter
    /// here is cut off by a severed graph, or not used by the model.
    pub fn without_gradient(&self) -> Option<&[String]> {
        self.without_gradient.as_deref()
    }

    /// The metric that decides which model is best.
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// Lets the metric of this name decide which model is best: one of the task's, or `loss`.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the names of all when it is none of them.
    pub fn set_metric(&mut self, name: &str) -> Result<()> {
        let metrics = || self.task.metrics().iter().chain([&BY_LOSS]);
        let Some(metric) = metrics().find(|metric| metric.name == name) else {
            let names: Vec<&str> = metrics().map(|metric| metric.name).collect();
            let requirement = format!("it must be one of {}", names.join(", "));
            return Err(Error::recipe("metric", name, requirement));
        };
        self.metric = *metric;
        Ok(())
    }

    /// One optimiser step; `None` when the run is over.
    ///
    /// # Errors
    /// When an operation fails, for example because the device's memory is exhausted.
    pub fn step(&mut self) -> Result<Option<Step>> {
        if self.step >= self.total {
            return Ok(None);
        }
        // One entry into the thread pool for the whole step.
        rayon::scope(|_| self.one_step()).map(Some)
    }

    fn one_step(&mut self) -> Result<Step> {
        let batches = self.order.next(&mut self.task, &self.recipe)?;
        let lengths = self.task.lengths();
        let tokens = batches.iter().flatten().map(|&i| lengths[i]).sum();
        let (loss, grads) = self.gradients(&batches)?;

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
        if let Some(ema) = &mut self.ema {
            ema.update_warming_up(self.step)?;
        }
        Ok(Step {
            step: self.step,
            epoch: self.epochs_done(),
            loss,
            grad_norm: clip.norm,
            verdict: scaled.then_some(clip.scale),
            lr: self.recipe.lr * factor,
            examples: batches.iter().map(Vec::len).sum(),
            tokens,
            ends_epoch: self.order.at_start_of_epoch(),
        })
    }

    /// Epochs done, in fractions.
    pub(super) fn epochs_done(&self) -> f64 {
        match self.task.windows() {
            1 => self.step as f64 / self.steps_per_epoch as f64,
            windows => self.order.epochs_done(windows),
        }
    }

    /// The mean loss over the terms of all batches, and its gradients.
    fn gradients(&self, batches: &[Vec<usize>]) -> Result<(Tensor, Gradients)> {
        let terms: Vec<f64> = batches.iter().map(|batch| self.task.terms(batch)).collect();
        let all: f64 = terms.iter().sum();
        let mut grads = Gradients::default();
        let mut loss: Option<Tensor> = None;
        for (i, batch) in batches.iter().enumerate() {
            let micro = self.step * self.recipe.accumulate as u64 + i as u64;
            let forward = Forward::training(self.recipe.seed, micro)
                .with_checkpointing(self.recipe.activation_checkpointing);
            if terms[i] == 0.0 {
                continue; // nothing in it to learn from
            }
            // Weighted by the terms: the sum is the mean over the whole step.
            let share = terms[i] / all;
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
        let loss = loss.ok_or_else(|| {
            Error::Input("no example of the step has anything to learn from".into())
        })?;
        Ok((loss, grads))
    }
}

/// The parameters that training changes.
pub(super) fn trained(store: &Store) -> impl Iterator<Item = Parameter> {
    store.parameters().into_iter().filter(Parameter::trainable)
}

/// The optimiser of a recipe over the trained parameters.
fn optimizer(
    store: &Store,
    recipe: &Recipe,
    is_head: impl Fn(&str) -> bool,
) -> Result<Box<dyn Optimizer + Send>> {
    let groups = groups(&store.parameters(), recipe, is_head);
    Ok(match recipe.optimizer {
        OptimizerKind::AdamW => Box::new(AdamW::with_groups(groups)?),
        OptimizerKind::Adam => Box::new(Adam::with_groups(groups)?),
        OptimizerKind::Sgd => Box::new(Sgd::with_groups(groups)?.momentum(0.9)?),
    })
}

fn without_gradient(parameters: &[Parameter], grads: &Gradients) -> Vec<String> {
    let mut seen = HashSet::new();
    parameters
        .iter()
        .filter(|p| p.trainable() && grads.get(&p.var()).is_none() && seen.insert(p.name()))
        .map(|p| p.name().to_string())
        .collect()
}
