//! The training loop: one step at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use gradus_autograd::Gradients;
use gradus_nn::{
    Adam, AdamW, Ema, GradScaler, Optimizer, Parameter, Schedule, Sgd, Store, total_norm,
};
use gradus_tensor::{DType, Device, Tensor};
use xxhash_rust::xxh3::Xxh3;

use super::guard::Guard;
use super::order::Order;
use super::ranks::{Communicator, Doing, Mark, RankOptions, Ranks, Traffic};
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
    /// The numbers of these examples, batch by batch in the order in which they were read; see
    /// [`Task`].
    pub read: Vec<Vec<usize>>,
    /// Whether this step was the last of an epoch.
    pub ends_epoch: bool,
    /// The tokens of the largest batch from now on, if the memory did not suffice for this step's
    /// batches: larger ones are cut.
    pub cut_to: Option<usize>,
}

/// The settings of the optimisers, where a group of parameters has none of its own: PyTorch's for
/// Adam and AdamW, and the momentum of SGD.
pub(super) const BETAS: (f64, f64) = (0.9, 0.999);
pub(super) const EPS: f64 = 1e-8;
pub(super) const MOMENTUM: f64 = 0.9;

/// The metric of a task that has no other.
const BY_LOSS: Metric = Metric::number(LOSS, "loss").lower_is_better();

/// The training loop over a [`Task`].
pub struct Trainer<T: Task> {
    pub(super) task: T,
    pub(super) store: Store,
    /// Those of the model, and those that the task trains beside it.
    parameters: Vec<Parameter>,
    pub(super) recipe: Recipe,
    pub(super) optimizer: Box<dyn Optimizer + Send>,
    pub(super) schedule: Schedule,
    pub(super) guard: Guard,
    /// The averages of the trained weights, if the recipe has them.
    pub(super) ema: Option<Ema>,
    /// The tokens of the largest batch that fits in memory, once one did not fit.
    pub(super) fits: Option<usize>,
    /// The ranks that train together, if there are several.
    pub(super) ranks: Option<Ranks>,
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
            ranks: None,
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

    /// Makes this trainer one of several ranks, each of which has a trainer of the same task, recipe
    /// and weights. See [`ranks`](super::ranks).
    ///
    /// # Errors
    /// [`Error::Recipe`] when a step has fewer micro-batches than there are ranks.
    pub fn set_ranks(
        &mut self,
        communicator: Arc<dyn Communicator>,
        options: RankOptions,
    ) -> Result<()> {
        let (ranks, accumulate) = (communicator.size(), self.recipe.accumulate);
        if accumulate < ranks {
            let requirement = format!(
                "{ranks} ranks need a micro-batch each in a step: it must be {ranks} or more, or \
                 start fewer ranks"
            );
            return Err(Error::recipe("accumulate", accumulate, requirement));
        }
        let mut seen = HashSet::new();
        let trained = self.trained().filter(|p| seen.insert(p.id())).cloned().collect();
        self.ranks = Some(Ranks::new(communicator, options, trained)?);
        Ok(())
    }

    /// Whether this trainer is the one that prints and writes: rank 0, or the only one.
    pub fn leads(&self) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| ranks.rank() == 0)
    }

    /// The ranks that train together; `None` for one process.
    pub fn communicator(&self) -> Option<&dyn Communicator> {
        self.ranks.as_ref().map(Ranks::communicator)
    }

    /// A hash of all weights, those beside the model among them: ranks must begin with the same.
    ///
    /// # Errors
    /// When a device cannot be read.
    pub fn hash_of_weights(&self) -> Result<String> {
        let mut hash = Xxh3::new();
        for parameter in &self.parameters {
            hash.update(parameter.name().as_bytes());
            let tensor = parameter.tensor().to_device(Device::Cpu)?.to_dtype(DType::F32)?;
            hash.update(bytemuck::cast_slice(&tensor.contiguous()?.to_vec::<f32>()?));
        }
        Ok(format!("{:032x}", hash.digest128()))
    }

    /// Of each question whether any rank says yes. All ranks must ask.
    ///
    /// # Errors
    /// When a rank has failed.
    pub fn agreed<const N: usize>(&self, yes: [bool; N]) -> Result<[bool; N]> {
        self.ranks.as_ref().map_or(Ok(yes), |ranks| ranks.any(yes))
    }

    /// What each rank has done since the last call, in their order; nothing for one process. All
    /// ranks must ask.
    ///
    /// # Errors
    /// When a rank has failed.
    pub fn take_traffic(&self) -> Result<Vec<Traffic>> {
        self.ranks.as_ref().map_or(Ok(Vec::new()), Ranks::take_traffic)
    }

    /// What all ranks did in the last step, if they have recorded it ([`RankOptions::timeline`]).
    /// All ranks must ask.
    ///
    /// # Errors
    /// When a rank has failed.
    pub fn take_timeline(&self) -> Result<Option<Vec<Mark>>> {
        self.ranks.as_ref().map_or(Ok(None), Ranks::take_timeline)
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
        let begin = Instant::now();
        if let Some(ranks) = &self.ranks {
            ranks.begin_step(self.step + 1);
        }
        // One entry into the thread pool for the whole step.
        let step = rayon::scope(|_| self.one_step())?;
        if let Some(ranks) = &self.ranks {
            ranks.end_step(begin);
        }
        Ok(Some(step))
    }

    fn one_step(&mut self) -> Result<Step> {
        let batches = self.order.next(&mut self.task, &self.recipe)?;
        let lengths = self.task.lengths();
        let tokens = batches.iter().flatten().map(|&i| lengths[i]).sum();
        self.kept = None;
        let whole = self.keeps_gradients || self.without_gradient.is_none();
        let (loss, grads, cut_to) = self.fitting_gradients(&batches, whole)?;
        let begin = Instant::now();

        if self.without_gradient.is_none() {
            self.without_gradient = Some(without_gradient(&self.parameters, &grads));
        }
        let norm = match self.shards().filter(|_| !whole) {
            Some(ranks) => ranks.norm(&grads, self.store.device())?,
            None => total_norm(&grads, &self.parameters)?,
        };
        let clip = self.guard.judge(&norm)?;
        let factor = self.schedule.factor(self.step);
        let own = self.shards().map(|ranks| ranks.own_gradients(&grads));
        self.optimizer.step_scaled(own.as_ref().unwrap_or(&grads), factor, Some(&clip.scale))?;
        if let Some(ranks) = self.shards() {
            ranks.gather_values(&grads)?;
        }
        self.kept = self.keeps_gradients.then_some(grads);
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update_warming_up(self.step)?;
        }
        if let Some(ranks) = &self.ranks {
            ranks.note(Doing::Update, "all", None, [begin, Instant::now()]);
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
            read: batches,
            ends_epoch: self.order.at_start_of_epoch(),
            cut_to,
        })
    }

    /// The ranks, if each has a part of the optimiser's state.
    pub(super) fn shards(&self) -> Option<&Ranks> {
        self.ranks.as_ref().filter(|ranks| ranks.options.shard_optimizer)
    }

    /// Bytes of the optimiser's state on this rank, and on all together.
    pub fn optimizer_bytes(&self) -> (usize, usize) {
        let tensors = match self.recipe.optimizer {
            OptimizerKind::AdamW | OptimizerKind::Adam => 2,
            OptimizerKind::Sgd => 1,
        };
        let all: usize = self.trained().map(Parameter::numel).sum();
        let own = self.shards().map_or(all, Ranks::own_numel);
        (4 * tensors * own, 4 * tensors * all)
    }

    /// Epochs done, in fractions.
    pub(super) fn epochs_done(&self) -> f64 {
        match self.task.windows() {
            1 => self.step as f64 / self.steps_per_epoch as f64,
            windows => self.order.epochs_done(windows),
        }
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
        OptimizerKind::AdamW => {
            Box::new(AdamW::with_groups(groups)?.betas(BETAS.0, BETAS.1)?.eps(EPS)?)
        }
        OptimizerKind::Adam => {
            Box::new(Adam::with_groups(groups)?.betas(BETAS.0, BETAS.1)?.eps(EPS)?)
        }
        OptimizerKind::Sgd => Box::new(Sgd::with_groups(groups)?.momentum(MOMENTUM)?),
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
