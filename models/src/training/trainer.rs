//! The training loop: one step at a time.

use std::collections::HashSet;

use gradus_autograd::{Gradients, Var, no_grad};
use gradus_nn::{
    Adam, AdamW, Ema, Forward, GradScaler, Optimizer, Parameter, Schedule, Sgd, Store,
};
use gradus_tensor::Tensor;

use super::guard::Guard;
use super::micro::{Piece, is_exhausted, pieces, smaller};
use super::order::Order;
use super::selection::{freeze, groups};
use super::{Best, Metric, OptimizerKind, Recipe, RunMark, StepLoss, Task};
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
    /// Global norm of the gradients before clipping, a scalar.
    pub grad_norm: Tensor,
    /// Whether the step was skipped, and in f16 the loss scale; see [`Tensor::loss_scale_`].
    pub verdict: Tensor,
    /// Rate of the encoder in this step.
    pub lr: f64,
    /// Examples seen in this step.
    pub examples: usize,
    /// Tokens seen in this step.
    pub tokens: usize,
    /// Whether this step was the last of an epoch.
    pub ends_epoch: bool,
    /// The tokens of the largest batch from now on, if the memory did not suffice for this step's
    /// batches: larger ones are cut.
    pub cut_to: Option<usize>,
}

/// The metric of a task that has no other.
const BY_LOSS: Metric = Metric::number(LOSS, "loss").lower_is_better();

/// The training loop over a [`Task`].
pub struct Trainer<T: Task> {
    task: T,
    pub(super) store: Store,
    /// Those of the model, and those that the task trains beside it.
    parameters: Vec<Parameter>,
    pub(super) recipe: Recipe,
    pub(super) optimizer: Box<dyn Optimizer + Send>,
    schedule: Schedule,
    pub(super) guard: Guard,
    /// The averages of the trained weights, if the recipe has them.
    pub(super) ema: Option<Ema>,
    /// The tokens of the largest batch that fits in memory, once one did not fit.
    fits: Option<usize>,
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
    /// Whether the next step keeps its gradients.
    pub(super) keeps_gradients: bool,
    /// The gradients of the last step, if it kept them.
    pub(super) kept: Option<Gradients>,
    /// What the evaluation on the test set found.
    pub(super) findings: Option<T::Findings>,
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
        check_batches(&task, &recipe)?;
        let batches = task.examples().div_ceil(recipe.batch_size) as u64;
        let steps_per_epoch = batches.div_ceil(recipe.accumulate as u64);
        let total = recipe.total_steps(steps_per_epoch);
        let warmup = recipe.warmup_steps(total);
        let schedule = Schedule::new(recipe.schedule, warmup, total)?;
        freeze(&store, &recipe, |name| task.is_head(name))?;
        let parameters = parameters(&task, &store)?;
        let optimizer = optimizer(&parameters, &recipe, |name| task.is_head(name))?;
        let trained: Vec<Parameter> =
            parameters.iter().filter(|p| p.trainable()).cloned().collect();
        let ema = recipe.ema.map(|decay| Ema::new(&trained, decay)).transpose()?;
        let device = store.device();
        recipe.precision.check(device)?;
        recipe.precision.check_training()?;
        let guard = Guard::new(&recipe, device)?;
        let metric = task.metrics().first().copied().unwrap_or(BY_LOSS);
        Ok(Trainer {
            task,
            store,
            parameters,
            recipe,
            optimizer,
            schedule,
            guard,
            ema,
            fits: None,
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
            keeps_gradients: false,
            kept: None,
            findings: None,
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
        self.guard.scales.then_some(&mut self.guard.scaler)
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
        let trained = self.store.parameters().into_iter().filter(Parameter::trainable);
        (trained.map(|p| p.numel()).sum(), all)
    }

    /// The parameters that training changes, those beside the model among them.
    pub(super) fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|p| p.trainable())
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

    /// What the evaluation on the test set found of each example, which a session makes at its end;
    /// `None` when it has been taken.
    pub fn take_findings(&mut self) -> Option<T::Findings> {
        self.findings.take()
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
        self.kept = None;
        let (loss, grads, cut_to) = self.fitting_gradients(&batches)?;

        if self.without_gradient.is_none() {
            self.without_gradient = Some(without_gradient(&self.parameters, &grads));
        }
        let clip = self.guard.judge(&grads, &self.parameters)?;
        let factor = self.schedule.factor(self.step);
        self.optimizer.step_scaled(&grads, factor, Some(&clip.scale))?;
        self.kept = self.keeps_gradients.then_some(grads);
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update_warming_up(self.step)?;
        }
        Ok(Step {
            step: self.step,
            epoch: self.epochs_done(),
            loss,
            grad_norm: clip.norm,
            verdict: clip.scale,
            lr: self.recipe.lr * factor,
            examples: batches.iter().map(Vec::len).sum(),
            tokens,
            ends_epoch: self.order.at_start_of_epoch(),
            cut_to,
        })
    }

    /// Epochs done, in fractions.
    pub(super) fn epochs_done(&self) -> f64 {
        match self.task.windows() {
            1 => self.step as f64 / self.steps_per_epoch as f64,
            windows => self.order.epochs_done(windows),
        }
    }

    /// The loss of a step and its gradients. Where the memory does not suffice, batches are cut
    /// smaller, in this step and in later ones; then the result says how small.
    fn fitting_gradients(
        &mut self,
        batches: &[Vec<usize>],
    ) -> Result<(Tensor, Gradients, Option<usize>)> {
        let before = self.fits;
        loop {
            let lengths = self.task.lengths();
            let pieces = pieces(batches, lengths, self.fits);
            match self.gradients(&pieces) {
                Ok((loss, grads)) => {
                    return Ok((loss, grads, self.fits.filter(|_| self.fits != before)));
                }
                Err(error) if is_exhausted(&error) && self.task.can_split() => {
                    self.fits = Some(smaller(&pieces, lengths).ok_or(error)?);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The loss of a step of these pieces, and its gradients.
    fn gradients(&self, pieces: &[Piece]) -> Result<(Tensor, Gradients)> {
        match self.task.step_loss() {
            Some(joint) if pieces.len() > 1 => self.joint_gradients(joint, pieces),
            _ => self.mean_gradients(pieces),
        }
    }

    /// A training pass over a piece of the step.
    fn forward(&self, piece: &Piece) -> Forward {
        let first = self.step * self.recipe.accumulate as u64;
        Forward::training(self.recipe.seed, piece.stream(first))
            .with_checkpointing(self.recipe.activation_checkpointing)
    }

    /// The loss over all pieces together, and its gradients; see [`StepLoss`].
    fn joint_gradients(
        &self,
        joint: &dyn StepLoss,
        pieces: &[Piece],
    ) -> Result<(Tensor, Gradients)> {
        let precision = self.recipe.precision;
        let represent = |piece: &Piece| {
            precision.run(|| joint.represent(&piece.examples, &self.forward(piece)))
        };
        let leaf = |piece| Ok(Var::leaf(no_grad(|| represent(piece))?.into_tensor()));
        let leaves: Vec<Var> = pieces.iter().map(leaf).collect::<Result<_>>()?;
        let batches: Vec<&[usize]> = pieces.iter().map(|piece| &piece.examples[..]).collect();
        let loss = precision.run(|| joint.loss_of(&batches, &leaves))?;
        let mut toward = self.guard.backward(&loss)?;
        let mut grads = Gradients::default();
        for (piece, leaf) in pieces.iter().zip(&leaves) {
            if let Some(grad) = toward.remove(leaf) {
                let part = represent(piece)?.backward_with(Some(grad), Default::default())?;
                grads.accumulate(part)?;
            }
        }
        Ok((loss.into_tensor(), grads))
    }

    /// The mean loss over the terms of all pieces, and its gradients.
    fn mean_gradients(&self, pieces: &[Piece]) -> Result<(Tensor, Gradients)> {
        let terms: Vec<f64> = pieces.iter().map(|piece| self.task.terms(&piece.examples)).collect();
        let all: f64 = terms.iter().sum();
        let mut grads = Gradients::default();
        let mut loss: Option<Tensor> = None;
        for (piece, terms) in pieces.iter().zip(terms) {
            if terms == 0.0 {
                continue; // nothing in it to learn from
            }
            let forward = self.forward(piece);
            let part = self.recipe.precision.run(|| self.task.loss(&piece.examples, &forward))?;
            // Weighted by the terms: the sum is the mean over the whole step.
            let part = part.mul_scalar(terms / all)?;
            grads.accumulate(self.guard.backward(&part)?)?;
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

/// The parameters of the model, and those that the task trains beside it.
fn parameters<T: Task>(task: &T, store: &Store) -> Result<Vec<Parameter>> {
    let mut all = store.parameters();
    for parameter in task.beside().map(Store::parameters).unwrap_or_default() {
        if store.get(parameter.name()).is_some() {
            return Err(Error::Input(format!(
                "`{}` is a parameter of the model and one beside it; each needs a name of its own",
                parameter.name()
            )));
        }
        all.push(parameter);
    }
    Ok(all)
}

/// The optimiser of a recipe over the trained parameters.
fn optimizer(
    parameters: &[Parameter],
    recipe: &Recipe,
    is_head: impl Fn(&str) -> bool,
) -> Result<Box<dyn Optimizer + Send>> {
    let groups = groups(parameters, recipe, is_head);
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
