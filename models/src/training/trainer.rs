//! The training loop: one step at a time.

use std::collections::HashSet;

use gradus_autograd::{BackwardOptions, Gradients, Var, no_grad};
use gradus_nn::{
    Adam, AdamW, Forward, GradScaler, Optimizer, Parameter, Precision, Schedule, Sgd, Store,
    clip_grad_norm, param_groups,
};
use gradus_tensor::Tensor;

use super::order::Order;
use super::{Best, Metric, OptimizerKind, Recipe, RunMark, StepLoss, Task};
use crate::evaluation::LOSS;
use crate::{Error, Result};

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
    pub(super) step: u64,
    pub(super) total: u64,
    pub(super) steps_per_epoch: u64,
    pub(super) warmup: u64,
    pub(super) best: Option<Best>,
    pub(super) run: Option<RunMark>,
    pub(super) order: Order,
    /// The metric that decides which model is best.
    pub(super) metric: Metric,
    without_gradient: Option<Vec<String>>,
}

impl<T: Task> Trainer<T> {
    /// A trainer at step 0 of `recipe`, over the parameters of `store`.
    ///
    /// # Errors
    /// When a field of the recipe is out of its range, there are no examples, or the device does not
    /// train in the recipe's precision.
    pub fn new(task: T, store: Store, recipe: Recipe) -> Result<Self> {
        recipe.validate()?;
        if task.examples() == 0 {
            return Err(Error::Input("the training set is empty".into()));
        }
        check_batches(&task, &recipe)?;
        let batches = task.examples().div_ceil(recipe.batch_size) as u64;
        let steps_per_epoch = batches.div_ceil(recipe.accumulate as u64);
        let total = recipe.total_steps(steps_per_epoch);
        let warmup = recipe.warmup_steps(total);
        let schedule = Schedule::new(recipe.schedule, warmup, total)?;
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
        let metric = task.metrics().first().copied().unwrap_or(BY_LOSS);
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

    /// The loss of a step of these batches, and its gradients.
    fn gradients(&self, batches: &[Vec<usize>]) -> Result<(Tensor, Gradients)> {
        match self.task.step_loss() {
            Some(joint) if batches.len() > 1 => self.joint_gradients(joint, batches),
            _ => self.mean_gradients(batches),
        }
    }

    /// A pass over batch `i` of the step.
    fn forward(&self, i: usize) -> Forward {
        let micro = self.step * self.recipe.accumulate as u64 + i as u64;
        Forward::training(self.recipe.seed, micro)
    }

    fn backward(&self, loss: &Var) -> Result<Gradients> {
        Ok(match &self.scaler {
            Some(scaler) => scaler.backward(loss)?,
            None => loss.backward()?,
        })
    }

    /// The loss over all batches together, and its gradients; see [`StepLoss`].
    fn joint_gradients(
        &self,
        joint: &dyn StepLoss,
        batches: &[Vec<usize>],
    ) -> Result<(Tensor, Gradients)> {
        let precision = self.recipe.precision;
        let represent = |i: usize| precision.run(|| joint.represent(&batches[i], &self.forward(i)));
        let leaf = |i| Ok(Var::leaf(no_grad(|| represent(i))?.into_tensor()));
        let leaves: Vec<Var> = (0..batches.len()).map(leaf).collect::<Result<_>>()?;
        let loss = precision.run(|| joint.loss_of(batches, &leaves))?;
        let mut toward = self.backward(&loss)?;
        let mut grads = Gradients::default();
        for (i, leaf) in leaves.iter().enumerate() {
            if let Some(grad) = toward.remove(leaf) {
                let part = represent(i)?.backward_with(Some(grad), BackwardOptions::default())?;
                grads.accumulate(part)?;
            }
        }
        Ok((loss.into_tensor(), grads))
    }

    /// The mean loss over the terms of all batches, and its gradients.
    fn mean_gradients(&self, batches: &[Vec<usize>]) -> Result<(Tensor, Gradients)> {
        let terms: Vec<f64> = batches.iter().map(|batch| self.task.terms(batch)).collect();
        let all: f64 = terms.iter().sum();
        let mut grads = Gradients::default();
        let mut loss: Option<Tensor> = None;
        for (i, batch) in batches.iter().enumerate() {
            let forward = self.forward(i);
            if terms[i] == 0.0 {
                continue; // nothing in it to learn from
            }
            // Weighted by the terms: the sum is the mean over the whole step.
            let share = terms[i] / all;
            let part = self.recipe.precision.run(|| self.task.loss(batch, &forward))?;
            let part = part.mul_scalar(share)?;
            grads.accumulate(self.backward(&part)?)?;
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

/// Checks that the batches are not too small for the task.
fn check_batches<T: Task>(task: &T, recipe: &Recipe) -> Result<()> {
    let (least, examples) = (task.least_batch(), task.examples());
    if recipe.batch_size < least {
        let requirement = format!(
            "it must be {least} or more, because an example learns from the others of its batch"
        );
        return Err(Error::recipe("batch_size", recipe.batch_size, requirement));
    }
    if examples < least {
        return Err(Error::Input(format!(
            "an example learns from the others of its batch, which needs {least} of them, but the \
             training set has {examples}"
        )));
    }
    Ok(())
}

fn without_gradient(parameters: &[Parameter], grads: &Gradients) -> Vec<String> {
    let mut seen = HashSet::new();
    parameters
        .iter()
        .filter(|p| p.trainable() && grads.get(&p.var()).is_none() && seen.insert(p.name()))
        .map(|p| p.name().to_string())
        .collect()
}
